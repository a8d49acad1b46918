"""The reference's detections as ground truth: its own AP is 1, and a variant's AP measures agreement."""

from __future__ import annotations

import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images, unannotated, unannotated_images
from qviz.detector import PAGE_SCORE
from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation, evaluate
from qviz.features.accuracy.truth import REMARK, as_truths
from qviz.features.detection.models import LoadedModel
from qviz.structures import Dataset
from tests.conftest import Sample
from tests.features.accuracy.scenes import dataset, detected, image

NAMES = ("cat_chelsea.jpg", "dog_shepherd.jpg", "hens.jpg")


def test_reference_detections_above_the_threshold_become_ground_truth(loaded: dict[str, LoadedModel]) -> None:
    inspection = loaded["float32"].inspection
    labels = list(inspection.labels)
    cat, dog = labels.index("cat"), labels.index("dog")
    detections = {
        1: detected((0, cat, 0.9), (200, dog, PAGE_SCORE - 0.01), (400, dog, PAGE_SCORE + 0.01)),
        2: detected(),
    }
    truths = as_truths(dataset(image(1, (0, 3)), image(2)), detections, inspection)
    labelled, empty = truths.images
    assert [(category.id, category.name) for category in truths.categories] == [(cat, "cat"), (dog, "dog")]
    assert labelled.category_ids.tolist() == [cat, dog]
    assert labelled.boxes.tolist() == [[0, 0, 100, 100], [400, 0, 500, 100]]
    assert (labelled.areas.tolist(), labelled.is_crowd.tolist()) == ([1e4, 1e4], [False, False])
    assert len(empty.boxes) == 0


@pytest.fixture(scope="module")
def agreed(sample: Sample, engine: LocalEngine, loaded: dict[str, LoadedModel]) -> Evaluation:
    models = [loaded[name] for name in ("float32", "float16", "int8_wrong_range")]
    paths = [sample.images / name for name in NAMES]
    return evaluate(Context(engine), models, unannotated(sample.images, paths), reference_as_truth=True)


def test_the_reference_has_an_ap_of_one(agreed: Evaluation) -> None:
    reference, float16, wrong = agreed.models
    assert reference.figures()[:3] == pytest.approx((1.0, 1.0, 1.0))
    assert float16.ap is not None and wrong.ap is not None
    assert wrong.ap < 0.5 < 0.9 < float16.ap < 1 + 1e-9
    assert agreed.losses[1].ap.value == pytest.approx(1 - wrong.ap)


def test_a_remark_explains_the_figures(agreed: Evaluation) -> None:
    assert agreed.reference_as_truth
    assert agreed.skipped[-1] == REMARK
    assert agreed.to_json()["dataset"]["reference_as_truth"] is True
    assert agreed.annotations > 0


def test_images_in_memory_are_the_same_dataset(
    sample: Sample, engine: LocalEngine, loaded: dict[str, LoadedModel], agreed: Evaluation
) -> None:
    images = list(load_images([sample.images / name for name in NAMES]))
    in_memory: Dataset = unannotated_images("Loaded images", images)
    assert [row.name for row in in_memory.images] == list(NAMES)
    assert [row.encoded().digest for row in in_memory.images] == [row.digest for row in images]
    models = [loaded[name] for name in ("float32", "float16", "int8_wrong_range")]
    again = evaluate(Context(engine), models, in_memory, reference_as_truth=True)
    assert [model.ap for model in again.models] == [model.ap for model in agreed.models]


def test_annotations_are_ignored(sample: Sample, engine: LocalEngine, loaded: dict[str, LoadedModel]) -> None:
    annotated = read_coco(sample.annotations, sample.images)
    few = Dataset(annotated.name, annotated.images[:2], annotated.categories)
    models = [loaded["int8_wrong_range"], loaded["float32"]]
    assert evaluate(Context(engine), models, few, reference_as_truth=True).models[0].ap == pytest.approx(1.0)
    assert evaluate(Context(engine), models, few).models[0].ap < 0.9
