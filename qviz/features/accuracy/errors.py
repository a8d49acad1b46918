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

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from qviz.structures import Dataset, DatasetImage, Detections

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
MATCH, BACKGROUND = 0.5, 0.1
MOST = 100
"""Detections an image."""
RIGHT = -1
"""The kind of a detection that is no error; else its place in `KINDS`."""
KINDS_HELP = (
    "Cls: wrong class. Loc: right class, badly placed (IoU .1 to .5). Both: wrong and badly placed. Dupe: found twice."
    " Bkg: nothing is there. Miss: not found at all."
)


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """One kind of error: its number and what it costs, dAP in [0, 1]."""

    kind: str
    count: int
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Detections in their order (n,). counted: not left aside on a crowd; corrected: the class as which one would be
    right, -1 if it would only be dropped. truths, missed: the class of each object, and of each that nothing above
    could be corrected to."""

    classes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray
    counted: np.ndarray
    corrected: np.ndarray
    truths: np.ndarray
    missed: np.ndarray

    @classmethod
    def of(cls, parts: list[_Found]) -> _Found:
        """All images."""
        none = cls(
            np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, bool),
            np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64),
        )  # fmt: skip
        return cls(*(np.concatenate([getattr(part, name) for part in (none, *parts)]) for name in cls.__slots__))


def error_costs(
    dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]
) -> tuple[ErrorCost, ...]:
    """A row a kind. detections: by image id, in pixels of the original; classes: class id -> category id."""
    found = _Found.of([_one(image, detections.get(image.id, Detections.none()), classes) for image in dataset.images])
    own = found.counted
    base = _mean_ap(found.classes[own], found.scores[own], found.kinds[own] == RIGHT, found.truths, found.missed[:0])
    return tuple(
        ErrorCost(name, _count(found, kind), max(0.0, _corrected_ap(found, kind) - base))
        for kind, name in enumerate(KINDS)
    )


def _one(image: DatasetImage, seen: Detections, classes: Mapping[int, int]) -> _Found:
    known = np.isin(seen.class_ids, list(classes))
    seen = seen[known].by_score()[:MOST]
    ids = np.array([classes[int(class_id)] for class_id in seen.class_ids], np.int64)
    truths = image.category_ids[~image.is_crowd].astype(np.int64)
    overlaps = _overlaps(seen.boxes, image.boxes[~image.is_crowd])  # [n, m]
    same = ids[:, None] == truths[None, :]
    matched = _matched(overlaps * same)
    taken = np.isin(np.arange(len(truths)), matched)
    kinds, places = _kinds(overlaps, same, taken)
    kinds[matched >= 0], places[matched >= 0] = RIGHT, -1
    wanted = np.flatnonzero(places >= 0)
    wanted = wanted[~taken[places[wanted]]]
    corrected, first = np.unique(places[wanted], return_index=True)  # scores fall: the first is the best
    right_as = np.full(len(ids), -1)
    right_as[wanted[first]] = truths[corrected]
    missed = ~taken
    missed[corrected] = False
    counted = ~(_on_crowd(seen.boxes, ids, image) & (matched < 0))
    return _Found(ids, seen.scores, kinds, counted, right_as, truths, truths[missed])


def _matched(overlaps: np.ndarray) -> np.ndarray:
    """(n,) the truth of each detection, or -1: the best one that is left, by falling score."""
    left, matched = overlaps.copy(), np.full(len(overlaps), -1)
    for n in np.flatnonzero((overlaps >= MATCH).any(axis=1)):
        truth = int(left[n].argmax())
        if left[n, truth] >= MATCH:
            matched[n] = truth
            left[:, truth] = 0
    return matched


def _kinds(overlaps: np.ndarray, same: np.ndarray, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,), (n,): the kind of each detection as a false positive, and the truth it could be corrected to, or -1."""
    if not overlaps.size:
        return np.full(len(overlaps), KINDS.index("Bkg")), np.full(len(overlaps), -1)
    own, other = overlaps * same, overlaps * ~same
    best = own.max(axis=1)
    hits = {
        "Loc": (best >= BACKGROUND) & (best <= MATCH),
        "Cls": other.max(axis=1) >= MATCH,
        "Dupe": (own * taken).max(axis=1) >= MATCH,
        "Bkg": overlaps.max(axis=1) <= BACKGROUND,
    }
    kinds = np.select(list(hits.values()), [KINDS.index(name) for name in hits], KINDS.index("Both"))
    placed, named = kinds == KINDS.index("Loc"), kinds == KINDS.index("Cls")
    return kinds, np.select([placed, named], [own.argmax(axis=1), other.argmax(axis=1)], -1)


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


def _count(found: _Found, kind: int) -> int:
    return len(found.missed) if KINDS[kind] == "Miss" else int(np.count_nonzero(found.kinds == kind))


def _corrected_ap(found: _Found, kind: int) -> float:
    """AP with the errors of one kind corrected; equal scores are ordered as in tidecv: errors first."""
    mended = (found.kinds == kind) & (found.corrected >= 0)
    wrong = (found.kinds != kind) & (found.kinds != RIGHT) & found.counted
    order = np.concatenate([np.flatnonzero(mended | wrong), np.flatnonzero(found.kinds == RIGHT)])
    classes = np.where(mended, found.corrected, found.classes)[order]
    less = found.missed if KINDS[kind] == "Miss" else found.missed[:0]
    return _mean_ap(classes, found.scores[order], ~wrong[order], found.truths, less)


def _mean_ap(classes: np.ndarray, scores: np.ndarray, true: np.ndarray, truths: np.ndarray, less: np.ndarray) -> float:
    """Over the classes of the truths that are left and of the detections (n,). less: truths that are taken away."""
    counts = Counter(truths.tolist())
    counts.subtract(less.tolist())
    order = np.lexsort((-scores, classes))
    shown, starts = np.unique(classes[order], return_index=True)
    parts = dict(zip(shown.tolist(), np.split(true[order], starts[1:]), strict=False))
    there = {category for category, count in counts.items() if count} | set(parts)
    values = [_ap(parts.get(category, true[:0]), counts[category]) for category in sorted(there)]
    return float(np.mean(values)) if values else 0.0


def _ap(true: np.ndarray, truths: int) -> float:
    """Interpolated precision, averaged over 101 levels of recall. true: of the detections by falling score."""
    if truths <= 0 or not len(true):
        return 0.0
    found = np.cumsum(true)
    precision = np.maximum.accumulate((found / np.arange(1, len(found) + 1))[::-1])[::-1]
    reached = np.searchsorted(found / truths, np.arange(101) / 100)
    return float(np.append(precision, 0.0)[reached].mean())
