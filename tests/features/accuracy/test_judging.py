"""Judging in parts, here and in workers, gives the same figures bit for bit as judging all images at once."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.features.accuracy import ModelAccuracy, model_accuracy
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
