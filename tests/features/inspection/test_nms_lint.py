"""The class that TensorFlow Lite's NMS never detects with several threads, and the warning about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy import evaluate
from qviz.features.cost import profile
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import lost_by_threads, lost_class, nms_warnings
from qviz.features.inspection.lint import lint_all
from tests.conftest import Sample


@pytest.mark.parametrize("threads", [2, 4])
def test_the_class_equal_to_the_thread_count_is_never_detected(
    threads: int, engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample
) -> None:
    """If this fails, TensorFlow Lite has been fixed and the warning can be removed."""
    model, label = loaded["float32"], {2: "car", 4: "airplane"}[threads]
    scenes = read_coco(sample.folder / "scenes" / "annotations.json", sample.folder / "scenes")
    (category,) = (row.id for row in scenes.categories if row.name == label)
    shown = [image.encoded() for image in scenes.images if category in image.category_ids][:6]
    one = detect_images(Context(engine), [model], shown, len(shown), 0.05)
    many = detect_images(Context(engine, threads=threads), [model], shown, len(shown), 0.05)
    for digest in (image.digest for image in shown):
        alone, together = (run.inferences[model.digest, digest].detections for run in (one, many))
        assert np.sum(together.class_ids == threads) == 0
        assert np.sum(alone.class_ids != threads) <= len(together)  # all other classes are detected
    assert sum(np.sum(one.inferences[model.digest, image.digest].detections.class_ids == threads) for image in shown)
    assert lost_class(model.inspection, threads) == repr(label)


def test_the_warning(loaded: dict[str, LoadedModel]) -> None:
    inspection = loaded["int8"].inspection
    (hint,) = nms_warnings(inspection, "net")
    assert hint.advice
    assert "'car' with 2, 'airplane' with 4, 'boat' with 8 threads" in hint.message
    (warning,) = nms_warnings(inspection, "net", threads=4)
    assert (warning.code, warning.advice) == ("class_lost_by_threads", False)
    assert "net never detects 'airplane' with 4 threads" in warning.message


def test_cases_without_a_lost_class(loaded: dict[str, LoadedModel]) -> None:
    inspection = loaded["float32"].inspection
    fast = replace(inspection, post_process={**inspection.post_process, "use_regular_nms": 0.0})
    outside = replace(inspection, post_process={})
    few = replace(inspection, post_process={**inspection.post_process, "num_classes": 2.0})
    for spared in (fast, outside, few):
        assert nms_warnings(spared, "net") == nms_warnings(spared, "net", threads=2) == []
    shifted = replace(inspection, settings=replace(inspection.settings, class_offset=1))
    assert lost_class(shifted, 2) == repr(inspection.labels[1])


def test_a_latency_measurement_with_threads_has_a_remark(loaded: dict[str, LoadedModel], engine: LocalEngine) -> None:
    models = [loaded["float32"], loaded["int8"]]
    (sentence,) = lost_by_threads(models, [1, 2])
    assert sentence.startswith("With 2 threads, 'car' is never detected by all 2 models, because of a bug in")
    assert f"by {models[0].name}," in lost_by_threads(models[:1], [2])[0]
    assert sentence in profile(Context(engine), models, threads=(1, 2), runs=2).remarks


def test_an_evaluation_with_threads_has_the_warning(
    loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine
) -> None:
    models = [loaded["float32"], loaded["int8"]]
    codes = [(warning.code, warning.model, warning.advice) for warning in lint_all(Context(engine, threads=2), models)]
    assert codes.count(("class_lost_by_threads", models[1].name, False)) == 1
    evaluation = evaluate(Context(engine, threads=2), models[:1], read_coco(sample.annotations, sample.images))
    (row,) = [warning for warning in evaluation.warnings if warning.code == "class_lost_by_threads"]
    assert (row.advice, row.model) == (False, models[0].name)
