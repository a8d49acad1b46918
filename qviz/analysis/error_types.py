"""What kind of mistake costs how much AP: TIDE's Cls, Loc, Both, Dupe, Bkg and Miss.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020), and its package
tidecv, whose figures these equal (x100 there, in [0, 1] here). A false positive has the first kind that fits:
Loc    right class, IoU with a truth of .1 to .5
Cls    wrong class, IoU of .5 and more
Dupe   right class and place, but another detection has that truth
Bkg    no truth reaches an IoU of .1
Both   anything else: wrong class and badly placed
Miss   a truth that nothing above could be corrected to
dAP is the AP (at an IoU of .50) gained by correcting all errors of one kind and nothing else, never below 0. dAPs of
two kinds do not add up, and those of two models do not simply subtract: the same error costs more in a better model.
As in tidecv, AP is averaged over the classes that are annotated or detected, so that a class without any truth that a
model reports counts as 0; pycocotools leaves it out and is higher.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qviz.structures import Dataset, DatasetImage, Detections

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
MATCH, BACKGROUND = 0.5, 0.1
MOST = 100
"""Detections an image."""
RIGHT, IGNORED = "", "ignored"
"""Kinds of detections that are no error, and that lie on a crowd."""
KINDS_TOLD = (
    "Cls: wrong class. Loc: right class, badly placed (IoU .1 to .5). Both: wrong and badly placed. Dupe: found twice."
    " Bkg: nothing is there. Miss: not found at all."
)


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """One kind of error: its number and what it costs, dAP in [0, 1]."""

    kind: str
    count: int
    cost: float


@dataclass(slots=True)
class _Row:
    """A detection. corrected: the class as which it would be right, None if it would only be dropped."""

    class_id: int
    score: float
    kind: str
    counted: bool
    corrected: int | None = None


@dataclass(slots=True)
class _Found:
    """All images: detections in their order, truths and missed ones by class."""

    rows: list[_Row]
    truths: dict[int, int]
    missed: dict[int, int]


def error_costs(
    dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]
) -> tuple[ErrorCost, ...]:
    """A row a kind. detections: by image id, in pixels of the original; classes: class id -> category id."""
    found = _Found([], {}, {})
    for image in dataset.images:
        _take_in(found, image, detections.get(image.id, Detections.none()), classes)
    base = _mean_ap([(row.class_id, row.score, row.kind == RIGHT) for row in found.rows if row.counted], found.truths)
    return tuple(ErrorCost(kind, _count(found, kind), max(0.0, _corrected_ap(found, kind) - base)) for kind in KINDS)


def _take_in(found: _Found, image: DatasetImage, seen: Detections, classes: Mapping[int, int]) -> None:
    known = np.isin(seen.class_ids, list(classes))
    seen = seen[known].by_score()[:MOST]
    ids = np.array([classes[int(class_id)] for class_id in seen.class_ids], np.int64)
    truths = image.category_ids[~image.is_crowd]
    for category in truths:
        found.truths[int(category)] = found.truths.get(int(category), 0) + 1
    overlaps = _overlaps(seen.boxes, image.boxes[~image.is_crowd])  # [n, m]
    same = ids[:, None] == truths[None, :]
    matched = _matched(overlaps * same)
    taken = np.isin(np.arange(len(truths)), matched)
    on_crowd = _on_crowd(seen.boxes, ids, image) & (matched < 0)
    best: dict[int, _Row] = {}  # truth -> the detection that would be corrected to it
    for n in range(len(seen)):
        kind, truth = (RIGHT, -1) if matched[n] >= 0 else _kind(overlaps[n], same[n], taken)
        row = _Row(int(ids[n]), float(seen.scores[n]), kind, not on_crowd[n])
        found.rows.append(row)
        if truth >= 0 and not taken[truth] and truth not in best:  # scores fall: the first is the best
            best[truth] = row
            row.corrected = int(truths[truth])
    for truth, category in enumerate(truths):
        if not taken[truth] and truth not in best:
            found.missed[int(category)] = found.missed.get(int(category), 0) + 1


def _matched(overlaps: np.ndarray) -> np.ndarray:
    """(n,) the truth of each detection, or -1: the best one that is left, by falling score."""
    left, matched = overlaps.copy(), np.full(len(overlaps), -1)
    if not overlaps.shape[1]:
        return matched
    for n in range(len(left)):
        truth = int(left[n].argmax())
        if left[n, truth] >= MATCH:
            matched[n] = truth
            left[:, truth] = 0
    return matched


def _kind(overlaps: np.ndarray, same: np.ndarray, taken: np.ndarray) -> tuple[str, int]:
    """(kind, the truth it could be corrected to, or -1) of one false positive."""
    if not len(overlaps):
        return "Bkg", -1
    own, other = overlaps * same, overlaps * ~same
    if BACKGROUND <= own.max() <= MATCH:
        return "Loc", int(own.argmax())
    if other.max() >= MATCH:
        return "Cls", int(other.argmax())
    if (own * taken).max() >= MATCH:
        return "Dupe", -1
    return ("Bkg" if overlaps.max() <= BACKGROUND else "Both"), -1


def _overlaps(boxes: np.ndarray, truths: np.ndarray, crowd: bool = False) -> np.ndarray:
    """(n, m) IoU as pycocotools computes it; against a crowd the share of the detection that lies on it."""
    from pycocotools import mask

    if not len(boxes) or not len(truths):
        return np.zeros((len(boxes), len(truths)))
    return np.asarray(mask.iou(_sized(boxes), _sized(truths), [int(crowd)] * len(truths)))


def _sized(boxes: np.ndarray) -> np.ndarray:
    """xyxy to x, y, width, height."""
    sized = boxes.astype(np.float64)
    sized[:, 2:] -= sized[:, :2]
    return sized


def _on_crowd(boxes: np.ndarray, ids: np.ndarray, image: DatasetImage) -> np.ndarray:
    covered = _overlaps(boxes, image.boxes[image.is_crowd], crowd=True) > MATCH
    return (covered & (ids[:, None] == image.category_ids[image.is_crowd][None, :])).any(axis=1)


def _count(found: _Found, kind: str) -> int:
    if kind == "Miss":
        return sum(found.missed.values())
    return sum(row.kind == kind for row in found.rows)


def _corrected_ap(found: _Found, kind: str) -> float:
    """AP with the errors of one kind corrected; equal scores are ordered as in tidecv: errors first."""
    rows = []
    for row in found.rows:
        if row.kind == kind:
            if row.corrected is not None:
                rows.append((row.corrected, row.score, True))
        elif row.kind != RIGHT and row.counted:
            rows.append((row.class_id, row.score, False))
    rows += [(row.class_id, row.score, True) for row in found.rows if row.kind == RIGHT]
    less = found.missed if kind == "Miss" else {}
    return _mean_ap(rows, {category: count - less.get(category, 0) for category, count in found.truths.items()})


def _mean_ap(rows: list[tuple[int, float, bool]], truths: Mapping[int, int]) -> float:
    by_class: dict[int, list[tuple[float, bool]]] = {category: [] for category, count in truths.items() if count}
    for category, score, true in rows:
        by_class.setdefault(category, []).append((score, true))
    values = [_ap(points, truths.get(category, 0)) for category, points in by_class.items()]
    return float(np.mean(values)) if values else 0.0


def _ap(points: list[tuple[float, bool]], truths: int) -> float:
    """Interpolated precision, averaged over 101 levels of recall."""
    if truths <= 0 or not points:
        return 0.0
    scores, true = np.array([score for score, _ in points]), np.array([right for _, right in points])
    found = np.cumsum(true[np.argsort(-scores, kind="stable")])
    precision = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    reached = np.searchsorted(found / truths, np.arange(101) / 100)
    return float(np.append(precision, 0.0)[reached].mean())
