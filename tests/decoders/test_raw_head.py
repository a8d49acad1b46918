"""The same network with and without NMS in the file must see the same objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qviz.engine import LocalEngine
from qviz.features.comparison.matching import match_detections
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.tensorflow_models.runtime import tensorflow
from tests.conftest import Sample

IMAGES = ("horses_nokota.jpg", "berlin_street.jpg", "dogs_window.jpg")


def converted_raw_head(folder: str) -> bytes:
    """Runs in a worker, so that no other test runs with TensorFlow loaded."""
    with tensorflow() as tf:
        return bytes(tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["raw_head"]).convert())


@pytest.fixture(scope="module")
def raw(
    sample: Sample, engine: LocalEngine, workers: LocalEngine, tmp_path_factory: pytest.TempPathFactory
) -> LoadedModel:
    path = tmp_path_factory.mktemp("raw") / "raw_head.tflite"
    path.write_bytes(workers.submit(converted_raw_head, str(sample.folder / "saved_model")).result())
    (model,) = Session(path, engine=engine, cache=False).models
    return model


@pytest.mark.slow
def test_a_raw_head_is_recognized_without_settings(raw: LoadedModel) -> None:
    assert raw.inspection.decoder == "ssd_raw"
    assert set(raw.inspection.sources.values()) == {"default", "class count"}
    assert raw.inspection.label(0) == "person"


@pytest.mark.slow
@pytest.mark.parametrize("name", IMAGES)
def test_detections_equal_those_of_the_post_process_operator(
    name: str, raw: LoadedModel, loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine
) -> None:
    path: Path = sample.images / name
    models = [loaded["float32"], raw]
    result = Session(*models, images=path, engine=engine, cache=False).detect(score=0.3)
    inside, outside = (images[name] for images in result.values())
    assert len(inside) == len(outside) > 0
    pairs = match_detections(inside, outside, iou=0.95).pairs
    assert len(pairs) == len(inside)
    first, second = inside[pairs[:, 0]], outside[pairs[:, 1]]
    assert first.class_ids.tolist() == second.class_ids.tolist()
    assert np.abs(first.scores - second.scores).max() < 1e-3
