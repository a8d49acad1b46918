"""Equal to pycocotools, decision by decision, in difficult cases: ties, crowds, sizes, many overlaps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from qviz.features.accuracy.ap import accumulated, average_precision
from qviz.features.accuracy.coco import matching as coco_matching
from qviz.features.accuracy.coco import tables as match_tables
from qviz.features.accuracy.coco.matching import MAX_DETECTIONS, SIZES, match, result_rows
from qviz.features.accuracy.coco.tables import ClassTable
from qviz.structures import Category, Dataset, DatasetImage, Detections
from tests.features.accuracy import plain_ap

CATEGORIES = tuple(Category(number, f"class {number}") for number in (2, 3, 5, 90))
CLASSES = {0: 5, 1: 2, 2: 90, 7: 3, 8: 4}
"""Not in order; category 4 is none of the dataset's, and class 3 is none of the model's."""


def grid(rng: np.random.Generator, count: int, step: int) -> np.ndarray:
    """Boxes on a coarse grid: many overlap in the same way, to the last bit."""
    corners, sides = rng.integers(0, 8, (count, 2)) * step, rng.integers(1, 5, (count, 2)) * step
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float64)


def crowded(seed: int, images: int, truths: int, detections: int, step: int) -> tuple[Dataset, dict[int, Detections]]:
    """Images in no order of their ids, some of them empty; a fifth crowds; few different scores."""
    rng = np.random.default_rng(seed)
    rows, dt = [], {}
    for number in rng.permutation(3 * images)[:images] + 1:
        boxes = grid(rng, int(rng.integers(0, truths + 1)), step)
        ids = rng.choice([2, 3, 5, 90], len(boxes))
        areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) * rng.choice([1, 0.6], len(boxes))
        crowds = rng.random(len(boxes)) < 0.2
        rows.append(DatasetImage(int(number), "x", b"", boxes, ids, crowds, areas))
        if rng.random() < 0.9:
            boxes_dt = grid(rng, int(rng.integers(0, detections + 1)), step)
            scores = rng.integers(1, 9, len(boxes_dt)) / 10
            dt[int(number)] = Detections.of(boxes_dt, scores, rng.choice([0, 1, 2, 3, 7, 8], len(boxes_dt)))
    return Dataset("d", tuple(rows), CATEGORIES), dt


CROWDED = {
    "small boxes": (12, 10, 25, 9),
    "boxes of all sizes": (12, 10, 25, 24),
    "more than count": (2, 6, 3000, 24),
    "one image": (1, 30, 60, 16),
    "no detection": (3, 5, 0, 16),
    "no truth": (3, 0, 10, 16),
}


@pytest.mark.parametrize("name", CROWDED)
@pytest.mark.parametrize("seed", range(4))
def test_equal_to_pycocotools(name: str, seed: int) -> None:
    dataset, dt = crowded(seed, *CROWDED[name])
    rows = result_rows(dt, CLASSES)
    plain = plain_ap.of_rows(dataset, rows)
    tables = match(dataset, rows)
    for position, size in enumerate(SIZES):
        precision, recall = accumulated(tables[size])
        assert_same(precision, plain.eval["precision"][:, :, :, position, 2].transpose(2, 0, 1))
        assert_same(recall, plain.eval["recall"][:, :, position, 2].T)
        for k, table in enumerate(tables[size].classes):
            assert decisions(table) == plain_decisions(plain, k, position)
    figures = average_precision("m", dataset, dt, CLASSES).figures
    values = figures.ap, figures.ap50, figures.ap75, figures.ap_small, figures.ap_medium, figures.ap_large, figures.ar
    assert_same(np.array([np.nan if value is None else value for value in values]), plain.stats[[0, 1, 2, 3, 4, 5, 8]])


def assert_same(values: np.ndarray, plain: np.ndarray) -> None:
    """Equal figures, where pycocotools has -1 for NaN."""
    assert np.where(np.isnan(values), -1, values) == pytest.approx(plain, abs=1e-9)


def decisions(table: ClassTable) -> Mapping[int, object]:
    """Image -> (scores, true positives, ignored, number of truths that are not ignored)."""
    return {
        image: (
            table.scores[in_image].tolist(),
            table.true[:, in_image].tolist(),
            table.ignored[:, in_image].tolist(),
            int(table.truths[image]),
        )
        for image in range(len(table.truths))
        if (in_image := table.images == image).any() or table.truths[image]
    }


def plain_decisions(plain: plain_ap.COCOeval, k: int, position: int) -> Mapping[int, object]:
    images, sizes = len(plain.params.imgIds), len(plain.params.areaRng)
    rows = {}
    for image, row in enumerate(plain.evalImgs[(k * sizes + position) * images :][:images]):
        if row is None:
            continue
        ignored, matched = np.asarray(row["dtIgnore"], bool), np.asarray(row["dtMatches"]) > 0
        truths = int(np.sum(np.asarray(row["gtIgnore"]) == 0))
        if truths or row["dtScores"]:
            rows[image] = (row["dtScores"], (matched & ~ignored).tolist(), ignored.tolist(), truths)
    return rows


def test_large_overlap_matrices_are_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, dt = crowded(11, 6, 20, 60, 24)
    rows = result_rows(dt, CLASSES)
    whole = match(dataset, rows)
    monkeypatch.setattr("qviz.features.accuracy.coco.rule.PAIRS_AT_ONCE", 7)
    parts = match(dataset, rows)
    for size in SIZES:
        for first, second in zip(whole[size].classes, parts[size].classes, strict=True):
            assert decisions(first) == decisions(second)


def test_only_the_best_100_detections_per_class_count() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 250, np.float64)
    truth = DatasetImage(1, "x", b"", boxes[:1].copy(), np.array([2]), np.zeros(1, bool), np.full(1, 100.0))
    boxes[:120] += 500  # the hundred best of class 2 are elsewhere
    dt = {1: Detections.of(boxes, np.linspace(0.9, 0.1, 250), [1] * 180 + [2] * 70)}
    dataset, rows = Dataset("d", (truth,), CATEGORIES), result_rows(dt, CLASSES)
    table = match(dataset, rows, ("all",))["all"].classes[0]
    assert (len(table.scores), table.true.any()) == (MAX_DETECTIONS, False)
    assert plain_ap.of_rows(dataset, rows).stats[0] == 0


@pytest.mark.parametrize("hits", [0, 1, 15, 16, 17, 48, 50, 64, 97])
def test_sums_and_maxima_in_rows_equal_numpys(hits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.features.accuracy.coco.tables.BLOCK", 3 * 48)  # of three resamples
    values = np.random.default_rng(hits).integers(0, 9, (hits, 3)).astype(np.float64)
    sums = match_tables._accumulated(np.add, values.copy())
    np.testing.assert_array_equal(sums, np.add.accumulate(values))
    maxima = match_tables._accumulated(np.maximum, values.copy()[::-1])
    np.testing.assert_array_equal(maxima, np.maximum.accumulate(values[::-1]))


@pytest.mark.parametrize("lowest", [0, -3])
@pytest.mark.parametrize("odd", [0.5, 0.1, -0.25, -0.0, np.inf, np.nan])
def test_detections_are_sorted_as_by_lexsort(odd: float, lowest: int) -> None:
    draw = np.random.default_rng(3)
    scores = np.append(draw.integers(0, 50, 2_000) / 64, odd)  # many are equal
    groups = draw.integers(lowest, 40, len(scores))
    np.testing.assert_array_equal(coco_matching.falling(scores, groups), np.lexsort((-scores, groups)))
