"""How much AP each kind of error costs: TIDE's Cls, Loc, Both, Dupe, Bkg and Miss.

Source: Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors (ECCV 2020). The values equal
those of its package tidecv (x100 there, in [0, 1] here). A false positive is of the first kind that fits:
Loc    right class, IoU with an object of .1 to .5
Cls    wrong class, IoU of .5 and more
Dupe   right class and position, but another detection is matched with the object
Bkg    no object reaches an IoU of .1
Both   anything else: wrong class and badly placed
Miss   an object that is not detected, and that is not the target of one of the errors above
dAP is the AP (at an IoU of .50) gained by correcting all errors of one kind and nothing else; it is never below 0. The
dAPs of two kinds do not add up, and those of two models cannot simply be subtracted, because the same error costs more
in a better model. As in tidecv, AP is averaged over all classes that are annotated or detected. A class that a model
reports but that has no annotated object therefore counts as 0; pycocotools leaves it out, which gives a higher AP.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.accuracy.coco.matching import falling
from qviz.features.accuracy.coco.rule import overlaps as paired_overlaps
from qviz.structures import Dataset, DatasetImage, Detections

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
MATCH, BACKGROUND = 0.5, 0.1
MAX_DETECTIONS = 100
"""Maximum number of detections that count, per image."""
RIGHT = -1
"""The kind of a detection that is not an error. The kind of an error is its index in `KINDS`."""
KINDS_HELP = (
    "Cls: wrong class. Loc: right class, badly placed (IoU .1 to .5). Both: wrong and badly placed. Dupe: found twice."
    " Bkg: nothing is there. Miss: not found at all."
)


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """One kind of error: how many errors there are, and their cost as dAP in [0, 1]."""

    kind: str
    count: int
    cost: float


@dataclass(frozen=True, slots=True, eq=False)
class DetectionErrors:
    """What is wrong with the detections of some images, as (n,) arrays in their order, and with the objects.

    Attributes:
        classes: Category of each detection, int64.
        scores: float32.
        kinds: int8 index in `KINDS`, or `RIGHT`.
        counted: Whether a detection counts; an unmatched detection on a crowd does not.
        corrected: The class to which a detection would be corrected; -1 if correcting the error removes the detection.
        truths: Class of each object.
        missed: Class of each missed object.
    """

    classes: np.ndarray
    scores: np.ndarray
    kinds: np.ndarray
    counted: np.ndarray
    corrected: np.ndarray
    truths: np.ndarray
    missed: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> DetectionErrors:
        """The errors on all images of a dataset.

        Args:
            detections: Image id -> detections in pixels of the original image.
            classes: Class id -> category id.
        """
        none = Detections.none()
        return cls.merged([_image_errors(image, detections.get(image.id, none), classes) for image in dataset.images])

    @classmethod
    def merged(cls, parts: Sequence[DetectionErrors]) -> DetectionErrors:
        """The errors on the images of all parts."""
        dtypes = (np.int64, np.float32, np.int8, bool, np.int64, np.int64, np.int64)
        empty = cls(*(np.empty(0, dtype) for dtype in dtypes))
        return cls(*(np.concatenate([getattr(part, name) for part in (empty, *parts)]) for name in cls.__slots__))


def error_costs(errors: DetectionErrors) -> tuple[ErrorCost, ...]:
    """The cost of each kind of error."""
    counted, none_missed = errors.counted, errors.missed[:0]
    base = _mean_ap(
        errors.classes[counted], errors.scores[counted], errors.kinds[counted] == RIGHT, errors.truths, none_missed
    )
    return tuple(
        ErrorCost(name, _count(errors, kind), max(0.0, _corrected_ap(errors, kind) - base))
        for kind, name in enumerate(KINDS)
    )


def _image_errors(image: DatasetImage, detections: Detections, classes: Mapping[int, int]) -> DetectionErrors:
    detections = detections[np.isin(detections.class_ids, list(classes))].by_score()[:MAX_DETECTIONS]
    ids = np.array([classes[int(class_id)] for class_id in detections.class_ids], np.int64)
    truths = image.category_ids[~image.is_crowd].astype(np.int64)
    overlaps = _overlaps(detections.boxes, image.boxes[~image.is_crowd])  # [n, m]
    same = ids[:, None] == truths[None, :]
    matched = _matched(overlaps * same)
    is_matched = np.isin(np.arange(len(truths)), matched)
    kinds, targets = _kinds(overlaps, same, is_matched)
    kinds[matched >= 0], targets[matched >= 0] = RIGHT, -1
    correctable = np.flatnonzero(targets >= 0)
    correctable = correctable[~is_matched[targets[correctable]]]
    objects, first = np.unique(targets[correctable], return_index=True)  # by falling score: the first is the best
    corrected = np.full(len(ids), -1)
    corrected[correctable[first]] = truths[objects]
    missed = ~is_matched
    missed[objects] = False
    counted = ~(_on_crowd(detections.boxes, ids, image) & (matched < 0))
    return DetectionErrors(ids, detections.scores, kinds.astype(np.int8), counted, corrected, truths, truths[missed])


def _matched(overlaps: np.ndarray) -> np.ndarray:
    """(n,) index of the object that each detection is matched with, or -1.

    In the order of falling scores, each detection is matched with the free object that has the highest IoU.
    """
    left, matched = overlaps.copy(), np.full(len(overlaps), -1)
    for n in np.flatnonzero((overlaps >= MATCH).any(axis=1)):
        truth = int(left[n].argmax())
        if left[n, truth] >= MATCH:
            matched[n] = truth
            left[:, truth] = 0
    return matched


def _kinds(overlaps: np.ndarray, same: np.ndarray, is_matched: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(kinds, targets) of the detections, both (n,).

    The kind says what error the detection is if it is a false positive. The target is the index of the object that it
    would detect if the error were corrected, or -1.
    """
    if not overlaps.size:
        return np.full(len(overlaps), KINDS.index("Bkg")), np.full(len(overlaps), -1)
    same_class, other = overlaps * same, overlaps * ~same
    best = same_class.max(axis=1)
    hits = {
        "Loc": (best >= BACKGROUND) & (best <= MATCH),
        "Cls": other.max(axis=1) >= MATCH,
        "Dupe": (same_class * is_matched).max(axis=1) >= MATCH,
        "Bkg": overlaps.max(axis=1) <= BACKGROUND,
    }
    kinds = np.select(list(hits.values()), [KINDS.index(name) for name in hits], KINDS.index("Both"))
    placed, named = kinds == KINDS.index("Loc"), kinds == KINDS.index("Cls")
    return kinds, np.select([placed, named], [same_class.argmax(axis=1), other.argmax(axis=1)], -1)


def _overlaps(boxes: np.ndarray, truths: np.ndarray, crowd: bool = False) -> np.ndarray:
    """(n, m) IoU of xyxy boxes as pycocotools computes it; for crowds, the share of the detection that they cover."""
    pairs = np.repeat(_sized(boxes), len(truths), axis=0), np.tile(_sized(truths), (len(boxes), 1))
    return paired_overlaps(*pairs, np.full(len(pairs[0]), crowd)).reshape(len(boxes), len(truths))


def _sized(boxes: np.ndarray) -> np.ndarray:
    """Convert xyxy boxes to x, y, width, height."""
    sized = boxes.astype(np.float64)
    sized[:, 2:] -= sized[:, :2]
    return sized


def _on_crowd(boxes: np.ndarray, ids: np.ndarray, image: DatasetImage) -> np.ndarray:
    covered = _overlaps(boxes, image.boxes[image.is_crowd], crowd=True) > MATCH
    return (covered & (ids[:, None] == image.category_ids[image.is_crowd][None, :])).any(axis=1)


def _count(errors: DetectionErrors, kind: int) -> int:
    return len(errors.missed) if KINDS[kind] == "Miss" else int(np.count_nonzero(errors.kinds == kind))


def _corrected_ap(errors: DetectionErrors, kind: int) -> float:
    """AP with the errors of one kind corrected. Among equal scores, errors come first, as in tidecv."""
    corrected = (errors.kinds == kind) & (errors.corrected >= 0)
    wrong = (errors.kinds != kind) & (errors.kinds != RIGHT) & errors.counted
    order = np.concatenate([np.flatnonzero(corrected | wrong), np.flatnonzero(errors.kinds == RIGHT)])
    classes = np.where(corrected, errors.corrected, errors.classes)[order]
    removed = errors.missed if KINDS[kind] == "Miss" else errors.missed[:0]
    return _mean_ap(classes, errors.scores[order], ~wrong[order], errors.truths, removed)


def _mean_ap(
    classes: np.ndarray, scores: np.ndarray, true: np.ndarray, truths: np.ndarray, removed: np.ndarray
) -> float:
    """Mean AP over all classes that are detected or annotated.

    Args:
        classes, scores, true: (n,) of the detections.
        truths: Class of each object.
        removed: Class of each object that does not count.
    """
    counts = Counter(truths.tolist())
    counts.subtract(removed.tolist())
    order = falling(scores, classes)
    detected, starts = np.unique(classes[order], return_index=True)
    parts = dict(zip(detected.tolist(), np.split(true[order], starts[1:]), strict=False))
    categories = {category for category, count in counts.items() if count} | set(parts)
    values = [_ap(parts.get(category, true[:0]), counts[category]) for category in sorted(categories)]
    return float(np.mean(values)) if values else 0.0


def _ap(true: np.ndarray, truths: int) -> float:
    """Interpolated precision, averaged over 101 levels of recall.

    `true` says whether each detection is right, in the order of falling scores; `truths` is the number of objects.
    """
    if truths <= 0 or not len(true):
        return 0.0
    hits = np.cumsum(true)
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    reached = np.searchsorted(hits / truths, np.arange(101) / 100)
    return float(np.append(precision, 0.0)[reached].mean())
