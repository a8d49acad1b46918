"""The same network with and without NMS in the file must see the same objects."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qviz.engine import LocalEngine
from qviz.features.comparison.matching import match_detections
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from tests.conftest import Sample

CONVERT = """
import sys
import tensorflow as tf
made = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1], signature_keys=["raw_head"])
open(sys.argv[2], "wb").write(made.convert())
"""

IMAGES = ("horses_nokota.jpg", "berlin_street.jpg", "dogs_window.jpg")


@pytest.fixture(scope="module")
def raw(sample: Sample, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path = tmp_path_factory.mktemp("raw") / "raw_head.tflite"
    # in a process of its own, so that no other test runs with TensorFlow loaded
    arguments = [sys.executable, "-c", CONVERT, str(sample.folder / "saved_model"), str(path)]
    subprocess.run(arguments, check=True, capture_output=True)
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
