"""Judging in parts, here and in workers, gives the same figures bit for bit as judging all images at once."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.features.accuracy import ModelAccuracy, model_accuracy
from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.bootstrap import Bootstrap
from qviz.features.accuracy.truth import with_classes
from qviz.structures import Dataset, Detections
from tests.features.accuracy.test_significance import CLASSES, scene

IMAGES = 43


@pytest.fixture(scope="module")
def tied() -> tuple[Dataset, dict[int, Detections]]:
    """A scene in which many scores are equal, so that the order of the images matters; one image has no detections."""
    dataset, detections = scene(IMAGES, seed=9)
    rounded = {
        number: Detections.of(one.boxes, np.round(one.scores, 1), one.class_ids) for number, one in detections.items()
    }
    del rounded[7]
    return dataset, rounded


def assert_same(first: ModelAccuracy, second: ModelAccuracy) -> None:
    assert first.ap.figures == second.ap.figures
    assert (first.errors, first.reliability, first.confusions) == (second.errors, second.reliability, second.confusions)
    np.testing.assert_array_equal(first.ap.curves, second.ap.curves)
    for one, other in zip(first.ap.tables.classes, second.ap.tables.classes, strict=True):
        for name in one.__slots__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("images_at_once", [1, 10, IMAGES - 1])
def test_any_number_of_parts_gives_the_same_figures(
    images_at_once: int,
    tied: tuple[Dataset, dict[int, Detections]],
    engine: LocalEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = model_accuracy("m", *tied, CLASSES)
    monkeypatch.setattr("qviz.features.accuracy.coco.matching.IMAGES_AT_ONCE", images_at_once)
    assert_same(whole, model_accuracy("m", *tied, CLASSES))
    assert_same(whole, model_accuracy("m", *tied, CLASSES, Context(engine)))


def test_resamples_in_workers_give_the_same_losses(
    tied: tuple[Dataset, dict[int, Detections]], engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, detections = tied
    first = average_precision("a", dataset, detections, CLASSES)
    second = average_precision("b", dataset, {n: one[::2] for n, one in detections.items()}, CLASSES)
    here = Bootstrap(first.tables, 100).loss(first.figures, second.figures, second.tables)
    monkeypatch.setattr("qviz.features.accuracy.bootstrap.IMAGES_AT_ONCE", 1)
    monkeypatch.setattr("qviz.features.accuracy.bootstrap.DRAWN_AT_ONCE", 1)  # four parts of each class
    workers = Bootstrap(first.tables, 100, context=Context(engine))
    assert workers.loss(first.figures, second.figures, second.tables) == here
    assert here.ap.low is not None and here.ap.low < here.ap.high


def test_what_a_lost_worker_leaves_is_computed_here(
    tied: tuple[Dataset, dict[int, Detections]], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = with_classes(tied[0], ["class 1"]), tied[1], {0: 1}
    whole = model_accuracy("m", *one)
    here = Bootstrap(whole.ap.tables, 40).loss(whole.ap.figures, whole.ap.figures, whole.ap.tables)
    monkeypatch.setattr("qviz.features.accuracy.coco.matching.IMAGES_AT_ONCE", IMAGES - 1)
    monkeypatch.setattr("qviz.features.accuracy.bootstrap.IMAGES_AT_ONCE", 1)
    with LocalEngine(1, time_limit=1e-6) as too_slow:
        assert_same(whole, model_accuracy("m", *one, Context(too_slow)))
        bootstrap = Bootstrap(whole.ap.tables, 40, context=Context(too_slow))
        assert bootstrap.loss(whole.ap.figures, whole.ap.figures, whole.ap.tables) == here
