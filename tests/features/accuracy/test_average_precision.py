"""Equal to pycocotools run by hand, and small cases whose AP is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation, evaluate
from qviz.features.accuracy.ap import APResult, AveragePrecision, VariantLoss, average_precision
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.detection.models import LoadedModel
from qviz.structures import Category, Dataset, DatasetImage, Detections
from tests.conftest import ROOT, SCHEMES, Sample
from tests.features.accuracy import plain_ap

COCO = ROOT.parent / "shared" / "coco"
STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def assert_same(result: AveragePrecision, model: Path, images: Path, annotations: Path) -> None:
    plain = plain_ap.evaluate(model, images, annotations)
    values = [*(getattr(result, name) for name in STATS), result.ar]
    stats = [*plain.stats[:6], plain.stats[8]]
    assert values == pytest.approx([None if value < 0 else value for value in stats], abs=1e-9)
    by_class = {row.label: row.ap for row in result.per_class if row.ap is not None}
    assert by_class == pytest.approx(plain_ap.ap_by_class(plain, annotations), abs=1e-9)


@pytest.fixture(scope="module")
def on_the_sample(loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine) -> Evaluation:
    return evaluate(Context(engine), list(loaded.values()), read_coco(sample.annotations, sample.images))


@pytest.mark.parametrize("name", SCHEMES)
def test_ap_equals_pycocotools(name: str, on_the_sample: Evaluation, sample: Sample) -> None:
    result = on_the_sample.models[SCHEMES.index(name)]
    assert result.ap is not None
    assert result.ap > 0.03
    assert_same(result, sample.models[name], sample.images, sample.annotations)


@pytest.mark.slow
@pytest.mark.skipif(not COCO.is_dir(), reason="needs the 80 images of COCO val2017")
def test_ap_equals_pycocotools_on_coco(loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine) -> None:
    annotations, images = COCO / "instances_val2017.json", COCO / "images"
    result = evaluate(Context(engine), [loaded["float32"], loaded["int8"]], read_coco(annotations, images))
    assert (result.images, result.annotations) == (80, 815)
    for name, model in zip(("float32", "int8"), result.models, strict=True):
        assert_same(model, sample.models[name], images, annotations)


def test_json_of_an_evaluation(on_the_sample: Evaluation, sample: Sample) -> None:
    document = json.loads(sample.annotations.read_text())
    assert (on_the_sample.images, on_the_sample.annotations) == (27, len(document["annotations"]))
    assert on_the_sample.skipped == ()
    reference, wrong = on_the_sample.models[0], on_the_sample.models[-1]
    assert on_the_sample.losses[-1].variant == wrong.name
    assert on_the_sample.losses[-1].ap.value == pytest.approx(reference.ap - wrong.ap)
    assert on_the_sample.losses[-1].ap.value > 0.1  # the planted fault of the sample
    assert len(on_the_sample.to_frame()) == 5 * 80
    assert json.dumps(on_the_sample.to_json(), allow_nan=False)


CATEGORIES = (Category(3, "cat"), Category(7, "dog"))
CLASSES = {0: 3, 1: 7}


def image(number: int, *truths: tuple[float, int], crowd: bool = False) -> DatasetImage:
    """Boxes 100 x 100 on one line: (left edge, category)."""
    boxes = np.array([[left, 0, left + 100, 100] for left, _ in truths], np.float64).reshape(-1, 4)
    ids = np.array([category for _, category in truths], np.int64)
    return DatasetImage(number, "x", b"", boxes, ids, np.full(len(ids), crowd), np.full(len(ids), 1e4))


def detected(*objects: tuple[float, int, float]) -> Detections:
    boxes = [[left, 0, left + 100, 100] for left, *_ in objects]
    return Detections.of(boxes, [score for *_, score in objects], [class_id for _, class_id, _ in objects])


ONE = (image(1, (0, 3)),)
CASES = [
    # truths, detections by image -> AP of cats, AP of dogs
    (ONE, {1: detected((0, 0, 0.9))}, 1.0, None),
    (ONE, {1: detected((0, 1, 0.9))}, 0.0, None),  # the wrong class, which has no truths
    (ONE, {1: detected()}, 0.0, None),  # no detection at all
    (ONE, {}, 0.0, None),
    (ONE, {1: detected((0, 0, 0.9), (0, 0, 0.8))}, 1.0, None),  # a duplicate with a lower score does not change AP
    (ONE, {1: detected((200, 0, 0.9), (0, 0, 0.8))}, 0.5, None),  # a false positive with a higher score halves it
    (ONE, {1: detected((30, 0, 0.9))}, 0.1, None),  # IoU .538 passes .50 of ten thresholds
    (ONE, {1: detected((0, 5, 0.9), (0, 0, 0.8))}, 1.0, None),  # class 5 is no category here
    ((image(1, (0, 3)), image(2, (0, 3))), {1: detected((0, 0, 0.9)), 2: detected()}, 51 / 101, None),
    ((image(1, (0, 3), (300, 7)),), {1: detected((0, 0, 0.9))}, 1.0, 0.0),
    ((image(1), image(2)), {1: detected((0, 0, 0.9))}, None, None),  # no annotations
    ((image(1, (0, 3), crowd=True),), {1: detected((0, 0, 0.9))}, None, None),  # a crowd is not a truth
]


@pytest.mark.parametrize(("images", "detections", "cats", "dogs"), CASES)
def test_cases_with_known_ap(
    images: tuple[DatasetImage, ...], detections: dict[int, Detections], cats: float | None, dogs: float | None
) -> None:
    result = average_precision("m", Dataset("d", images, CATEGORIES), detections, CLASSES).figures
    assert [row.label for row in result.per_class] == ["cat", "dog"]
    assert [row.ap for row in result.per_class] == pytest.approx([cats, dogs], abs=1e-6)
    values = [ap for ap in (cats, dogs) if ap is not None]
    assert result.ap == pytest.approx(np.mean(values) if values else None)


def test_truths_and_images_are_counted_per_class() -> None:
    images = (image(1, (0, 3), (200, 3)), image(2, (0, 3)), image(3, (0, 3), crowd=True), image(4))
    cat, dog = average_precision("m", Dataset("d", images, CATEGORIES), {}, CLASSES).figures.per_class
    assert (cat.truths, cat.images, cat.ap) == (3, 2, 0.0)
    assert (dog.truths, dog.images, dog.ap) == (0, 0, None)


def loss_of(reference: APResult, variant: APResult) -> VariantLoss:
    return Bootstrap(reference.tables).loss(reference.figures, variant.figures, variant.tables)


def test_losses_are_positive_and_sorted_worst_first() -> None:
    dataset = Dataset("d", (image(1, (0, 3), (300, 7)),), CATEGORIES)
    reference = average_precision("r", dataset, {1: detected((0, 0, 0.9), (300, 1, 0.9))}, CLASSES)
    variant = average_precision("v", dataset, {1: detected((0, 0, 0.9))}, CLASSES)
    loss = loss_of(reference, variant)
    assert (loss.variant, loss.ap.value) == ("v", pytest.approx(0.5))
    assert [(row.label, row.loss.value) for row in loss.per_class] == [("dog", pytest.approx(1)), ("cat", 0)]
    assert loss_of(variant, reference).ap.value == pytest.approx(-0.5)


def test_a_class_without_truths_has_no_loss() -> None:
    result = average_precision("m", Dataset("d", ONE, CATEGORIES), {}, CLASSES)
    assert [row.label for row in loss_of(result, result).per_class] == ["cat"]
    empty = average_precision("m", Dataset("d", (image(1),), CATEGORIES), {}, CLASSES)
    assert loss_of(empty, empty).ap.value is None
