"""oLRP and LaECE against a plain count of their definitions, and where their values are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.features.accuracy.ap import average_precision
from qviz.structures import Dataset, DatasetImage, Detections
from qviz.structures.boxes import iou_matrix
from tests.features.accuracy.test_significance import CLASSES, scene


def matched(dataset: Dataset, detections: dict[int, Detections], category: int) -> list[tuple[float, float]]:
    """(score, IoU or 0) of each detection of a class that counts, by the plain rule: none on crowds or inside out."""
    rows = []
    for image in dataset.images:
        one = detections[image.id]
        of_class = one[[CLASSES[int(k)] == category for k in one.class_ids]]
        truths = [k for k in np.flatnonzero(image.category_ids == category) if not image.is_crowd[k]]
        crowds = np.flatnonzero((image.category_ids == category) & image.is_crowd)
        free = set(truths)
        for index in np.argsort(-of_class.scores, kind="stable")[:100]:
            box = of_class.boxes[index : index + 1].astype(np.float64)
            overlap = iou_matrix(box, image.boxes.astype(np.float64))[0]
            best = max(free, key=lambda k: (overlap[k], k), default=None)
            if best is not None and overlap[best] >= 0.5:
                free.discard(best)
                rows.append((float(of_class.scores[index]), float(overlap[best])))
            elif (box[0, 2:] - box[0, :2]).prod() >= 0 and not any(
                _covered(box[0], image.boxes[k]) >= 0.5 for k in crowds
            ):
                rows.append((float(of_class.scores[index]), 0.0))
    return rows


def _covered(box: np.ndarray, crowd: np.ndarray) -> float:
    sides = np.minimum(box[2:], crowd[2:]) - np.maximum(box[:2], crowd[:2])
    return float(np.maximum(sides, 0).prod() / (box[2:] - box[:2]).prod())


def plain(dataset: Dataset, detections: dict[int, Detections]) -> tuple[float, float]:
    """(oLRP, LaECE) as the papers define them, with loops."""
    lrps, errors = [], []
    for category in (row.id for row in dataset.categories):
        rows = matched(dataset, detections, category)
        objects = sum(int(((image.category_ids == category) & ~image.is_crowd).sum()) for image in dataset.images)
        if not objects:
            continue
        values = [1.0]
        for threshold in {score for score, _ in rows}:
            ious = [iou for score, iou in rows if score >= threshold]
            right = [iou for iou in ious if iou]
            false, missed = len(ious) - len(right), objects - len(right)
            values.append((sum((1 - iou) / 0.5 for iou in right) + false + missed) / (len(right) + false + missed))
        lrps.append(min(values))
        counted = [(score, iou) for score, iou in rows if score >= 0.05]
        distance = 0.0
        for number in range(25):
            inside = [(s, iou) for s, iou in counted if number <= 25 * s < number + 1 or (number == 24 and s >= 1)]
            right = [iou for _, iou in inside if iou]
            if inside:
                fit = len(right) / len(inside) * (float(np.mean(right)) if right else 0.0)
                distance += len(inside) * abs(float(np.mean([s for s, _ in inside])) - fit)
        if counted:
            errors.append(distance / len(counted))
    return float(np.mean(lrps)), float(np.mean(errors))


@pytest.mark.parametrize("seed", [1, 7])
def test_values_equal_a_plain_count(seed: int) -> None:
    dataset, detections = scene(12, seed=seed)
    crowds = [replace(image, is_crowd=np.arange(len(image.boxes)) % 5 == 0) for image in dataset.images]
    dataset = replace(dataset, images=tuple(crowds))
    rounded = {n: replace(one, scores=one.scores.round(1)) for n, one in detections.items()}  # equal scores
    for rows in (detections, rounded):
        figures = average_precision("a", dataset, rows, CLASSES).figures
        assert (figures.olrp, figures.laece) == pytest.approx(plain(dataset, rows), abs=1e-5)


def one_image(boxes: list[list[float]]) -> Dataset:
    dataset, _ = scene(1, seed=1)
    count = len(boxes)
    image = DatasetImage(
        1,
        "x",
        b"",
        np.array(boxes, np.float64).reshape(-1, 4),
        np.ones(count, int),
        np.zeros(count, bool),
        np.full(count, 9.0),
    )
    return replace(dataset, images=(image,))


def test_known_values() -> None:
    dataset = one_image([[0, 0, 10, 10], [20, 20, 30, 30]])
    half = Detections.of([[0, 0, 10, 8]], [0.8], [next(k for k, v in CLASSES.items() if v == 1)])
    figures = average_precision("a", dataset, {1: half}, CLASSES).figures
    assert figures.olrp == pytest.approx((0.2 / 0.5 + 1) / 2)  # one box with an IoU of .8, one missed
    assert figures.laece == pytest.approx(0, abs=1e-6)  # confidence .8 = precision 1 x IoU .8
    perfect = Detections.of([[0, 0, 10, 10], [20, 20, 30, 30]], [1, 1], half.class_ids.tolist() * 2)
    figures = average_precision("a", dataset, {1: perfect}, CLASSES).figures
    assert (figures.olrp, figures.laece) == (0, 0)
    without = average_precision("a", dataset, {1: Detections.none()}, CLASSES).figures
    assert (without.olrp, without.laece) == (1, None)
