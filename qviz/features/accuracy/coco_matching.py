"""COCO's matching of detections to ground truth, for all images and classes at once, stored as compact tables.

Rule (pycocotools, `cocoeval.py: evaluateImg` and `maskApi.c: bbIou`): in the order of falling scores, each detection
is matched with a free object whose IoU reaches the threshold: the one with the highest IoU, or the last one if several
tie. Objects that count are preferred to objects that do not (crowds and other sizes), whatever the IoU. A crowd can be
matched repeatedly; the IoU with a crowd is the share of the detection that it covers. A detection without a match is
ignored if it has another size.

The code is fast for two reasons. Only the few pairs that reach the lowest threshold can match, and one pass over all
images finds them. Each pair is then decided for all thresholds and sizes at once, as the bits of one integer.

The tables store the matches by image, so that the AP of any resample of the images is a sum. A resample is given as one
weight per image (how often it was drawn). The AP of weighted images equals pycocotools' AP of images repeated that
often, because copies of a detection are neighbours in the order of scores, are all true or all false positives, and the
interpolated precision takes the value after the last of them. Size "all", at most 100 detections per image.

Precision is only needed at the hits (right detections), where recall grows. Resamples are the last axis of an array,
which numpy processes fastest. Sums and maxima along the hits are computed in rows of ROW hits: first within all rows at
once, then over the rows.

Shapes: T IoU thresholds, D detections of a class by falling score, I images, R resamples, H hits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from qviz.features.accuracy.coco_rule import Boxes, CocoRule
from qviz.structures import Dataset, Detections

SIZES = ("all", "small", "medium", "large")
"""The area ranges of pycocotools, in its order."""
MAX_DETECTIONS = 100
"""Maximum number of detections that count, per class and image."""
NONE = np.empty(0, np.float32)
ELEMENTS_AT_ONCE = 250_000
"""Maximum elements of an (H, R) array. Resamples are processed in parts, so that an array fits into the cache."""
ROW = 16
"""Number of hits in a row; 8 and 32 are about as fast."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """The matches of one class.

    Attributes:
        scores: (D,) scores of the detections, in descending order.
        images: (D,) position of each detection's image among the sorted image ids.
        true, ignored: (T, D) bool, whether each detection matches an object that counts, or is ignored.
        truths: (I,) number of objects that count, per image.
        ious: (D,) float32 IoU with the object that is matched at the lowest threshold, 0 if there is none. Only the
            table of the first size has it; it is empty in the others.
    """

    scores: np.ndarray
    images: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray
    ious: np.ndarray = field(default_factory=lambda: NONE)


@dataclass(frozen=True, slots=True, eq=False)
class MatchTables:
    """One table per class, by ascending category id. `recalls` are the recall levels over which AP is averaged."""

    classes: tuple[ClassTable, ...]
    recalls: np.ndarray
    images: int

    def class_ap(self, weights: np.ndarray) -> np.ndarray:
        """(R, classes) AP of resamples with `weights` (R, I); NaN if a resample contains no object of the class."""
        return np.stack([_class_ap(table, weights, self.recalls) for table in self.classes], axis=1)


def mean_ap(class_ap: np.ndarray) -> np.ndarray:
    """(R,) mean AP over the classes in each resample, as in pycocotools; NaN for a resample without any object."""
    shown = ~np.isnan(class_ap)
    count = shown.sum(axis=1)
    total = np.where(shown, class_ap, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(class_ap), np.nan), where=count > 0)


def _class_ap(table: ClassTable, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,) AP of one class in resamples with `weights` (R, I); NaN if a resample contains no object of the class."""
    if not table.truths.any():
        return np.full(len(weights), np.nan)
    hits = np.flatnonzero(table.true.any(axis=0))
    if not len(hits):
        return np.where(weights @ table.truths > 0, 0.0, np.nan)
    curves = _Curves(table, hits, recalls)
    widest = max(len(hits), len(curves.images), int(table.truths.sum()))
    part = max(1, ELEMENTS_AT_ONCE // widest)
    parts = (weights[start : start + part, curves.images].T for start in range(0, len(weights), part))
    rows = [curves.ap(np.ascontiguousarray(some, np.float64)) for some in parts]
    return np.concatenate(rows) if rows else np.empty(0)


class _Curves:
    """What the precision of one class in all resamples is computed from.

    Attributes:
        images: Indices of the images that have an object of the class, or a detection up to the last hit.
    """

    def __init__(self, table: ClassTable, hits: np.ndarray, recalls: np.ndarray) -> None:
        before = table.images[: hits[-1] + 1]
        self.images = np.union1d(before, np.flatnonzero(table.truths))
        self._truths = table.truths[self.images].astype(np.float64)
        self._recalls, self._thresholds = recalls, len(table.true)
        self._hit_images = np.searchsorted(self.images, table.images[hits])
        self._of_detections = np.searchsorted(self.images, before)
        self._every = self._between(np.ones(len(before), bool), hits)
        self._rows = []
        for true, ignored, repeats in _distinct_rows(table):
            columns = np.flatnonzero(true[hits])
            if len(columns):
                without = self._between(ignored[: len(before)], hits[columns]) if ignored.any() else None
                self._rows.append((columns, without, repeats))

    def _between(self, counts: np.ndarray, ends: np.ndarray) -> Any:
        """Sparse (ends, images) matrix: for each image, number of counted detections after one end, up to the next."""
        from scipy.sparse import csr_matrix

        indices = np.flatnonzero(counts)
        segment = np.searchsorted(ends, indices)  # the first end at or after each detection
        inside = segment < len(ends)
        position = segment[inside], self._of_detections[indices[inside]]
        return csr_matrix((np.ones(len(position[0])), position), (len(ends), len(self.images)))

    def ap(self, weights: np.ndarray) -> np.ndarray:
        """(R,) AP of resamples with `weights` (images, R), float64."""
        objects = self._truths @ weights
        levels = _Levels(objects, self._recalls)
        every = _accumulated(np.add, self._every @ weights)
        drawn = weights[self._hit_images]
        ap = np.zeros(len(objects))
        for columns, ignored, repeats in self._rows:
            counted = every[columns]
            if ignored is not None:
                counted -= _accumulated(np.add, ignored @ weights)
            ap += repeats * _averaged(_accumulated(np.add, drawn[columns]), counted, levels)
        return np.where(objects > 0, ap / self._thresholds, np.nan)


class _Levels:
    """A table: resample and number of true positives -> number of recall levels that are reached."""

    def __init__(self, objects: np.ndarray, recalls: np.ndarray) -> None:
        numbers = np.arange(int(objects.max()) + 1)
        recall = numbers / np.maximum(objects, 1)[:, None]
        self._table = _levels(recall, recalls).astype(np.int16).ravel()
        self._starts = np.arange(len(objects)) * len(numbers)
        self.count = len(recalls)

    def reached(self, true: np.ndarray) -> np.ndarray:
        """(H, R) number of levels at or below the recall of `true` (H, R) true positives."""
        return self._table[true.astype(np.intp) + self._starts]


def _distinct_rows(table: ClassTable) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(true, ignored, number of thresholds with these rows) for each distinct pair of rows.

    Several thresholds often have equal rows, because well placed boxes pass all of them.
    """
    rows = [(true.tobytes(), ignored.tobytes()) for true, ignored in zip(table.true, table.ignored, strict=True)]
    for row, repeats in Counter(rows).items():
        index = rows.index(row)
        yield table.true[index], table.ignored[index], repeats


def _accumulated(ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
    """`ufunc.accumulate` along the first axis of (H, R) values; changes `values` in place if they are contiguous."""
    whole = len(values) // ROW * ROW
    rows = values[:whole].reshape(-1, ROW, values.shape[1])
    for position in range(1, ROW):
        ufunc(rows[:, position], rows[:, position - 1], out=rows[:, position])
    for row in range(1, len(rows)):
        ufunc(rows[row], rows[row - 1, -1], out=rows[row])
    for position in range(max(whole, 1), len(values)):
        ufunc(values[position], values[position - 1], out=values[position])
    return values


def _averaged(true: np.ndarray, counted: np.ndarray, levels: _Levels) -> np.ndarray:
    """(R,) interpolated precision, averaged over the recall levels.

    true, counted: (H, R) number of true positives, and of detections that count, up to and including each hit.
    """
    steps = levels.reached(true)
    steps[1:] = np.diff(steps, axis=0)
    counted += np.spacing(1)
    precision = np.divide(true, counted, out=counted)
    best = _accumulated(np.maximum, precision[::-1])[::-1]
    return np.einsum("ij,ij->j", best, steps) / levels.count


def _levels(recall: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """`np.searchsorted(recalls, recall, side="right")` for evenly spaced levels from 0 to 1, but faster."""
    last = len(recalls) - 1
    guess = np.minimum((recall * last).astype(np.int32), last)
    above = np.append(recalls, np.inf)
    return guess + 1 + (above[guess + 1] <= recall) - (recalls[guess] > recall)


def match(dataset: Dataset, rows: np.ndarray, sizes: Sequence[str] = SIZES) -> dict[str, MatchTables]:
    """Size -> tables of the dataset's categories, by ascending id. `rows` is the result of `result_rows`."""
    rule = CocoRule.of(sizes)
    ids = _Ids.of(dataset)
    gt, crowds = ids.ground_truth(dataset)
    dt, scores = ids.detections(rows)
    true, ignored, ious = rule.match(dt, gt, crowds)
    images, classes = ids.split(dt.groups)
    order = _falling(scores, classes)  # equal scores keep the order of the images
    ends = np.searchsorted(classes[order], np.arange(len(ids.categories) + 1))
    scores, images, ious = scores[order], images[order].astype(np.int32), ious[order]
    true, ignored = true[order], ignored[order]
    counted = ~rule.ignored(gt, crowds)
    tables = {}
    for index, size in enumerate(sizes):
        hits, out = rule.table(true, index), rule.table(ignored, index)
        counts = ids.counts(gt.groups[rule.table(counted, index)[0]])
        by_class = [
            ClassTable(
                scores[a:b], images[a:b], hits[:, a:b], out[:, a:b], counts[k], ious[a:b] if index == 0 else NONE
            )
            for k, (a, b) in enumerate(pairwise(ends))
        ]
        tables[size] = MatchTables(tuple(by_class), rule.recalls, len(ids.images))
    return tables


@dataclass(frozen=True, slots=True, eq=False)
class _Ids:
    """Sorted ids of images and categories. A group is one image and class: image index * classes + class index."""

    images: np.ndarray
    categories: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset) -> _Ids:
        return cls(
            np.sort(np.array([image.id for image in dataset.images], np.int64)),
            np.sort(np.array([category.id for category in dataset.categories], np.int64)),
        )

    def split(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(indices of the images, indices of the categories) of these groups."""
        return np.divmod(groups, max(1, len(self.categories)))

    def counts(self, groups: np.ndarray) -> np.ndarray:
        """(categories, images) number of entries in each group."""
        shape = len(self.images), len(self.categories)
        counts = np.bincount(groups, minlength=shape[0] * shape[1]).reshape(shape)
        return np.ascontiguousarray(counts.T.astype(np.uint16))

    def ground_truth(self, dataset: Dataset) -> tuple[Boxes, np.ndarray]:
        """(objects sorted by group and then in the order of annotation, which of them are crowds)."""
        images = dataset.images
        groups, valid = self._groups(
            np.repeat([image.id for image in images], [len(image.category_ids) for image in images]),
            np.concatenate([np.empty(0, np.int64), *(image.category_ids for image in images)]),
        )
        boxes = np.concatenate([np.empty((0, 4)), *(image.boxes for image in images)])
        boxes[:, 2:] -= boxes[:, :2]
        areas = np.concatenate([np.empty(0), *(image.areas for image in images)])
        crowds = np.concatenate([np.empty(0, bool), *(image.is_crowd for image in images)])
        order = np.flatnonzero(valid)[np.argsort(groups[valid], kind="stable")]
        return Boxes(groups[order], boxes[order], areas[order]), crowds[order]

    def detections(self, rows: np.ndarray) -> tuple[Boxes, np.ndarray]:
        """(detections, their scores), sorted by group and then by falling score, at most `MAX_DETECTIONS` per group."""
        groups, valid = self._groups(rows[:, 0], rows[:, 6])
        order = np.flatnonzero(valid)
        order = order[_falling(rows[order, 5], groups[order])]
        groups = groups[order]
        first = np.flatnonzero(np.diff(groups, prepend=-1))
        rank = np.arange(len(groups)) - np.repeat(first, np.diff(first, append=len(groups)))
        order, groups = order[rank < MAX_DETECTIONS], groups[rank < MAX_DETECTIONS]
        boxes = rows[order, 1:5]
        return Boxes(groups, boxes, boxes[:, 2] * boxes[:, 3]), rows[order, 5]

    def _groups(self, images: np.ndarray, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(groups, whether both image and category belong to the dataset)."""
        image, has_image = _index_of(images, self.images)
        category, has_category = _index_of(categories, self.categories)
        return image * len(self.categories) + category, has_image & has_category


def _falling(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`np.lexsort((-scores, groups))`, but two to eight times as fast if all scores are float32 values.

    Read as an integer, the bits of a non-negative float32 rise with its value, so group and score make one integer.
    """
    short = scores.astype(np.float32)
    if not (short == scores).all() or np.signbit(short).any() or groups.max(initial=0) >= 1 << 32:
        return np.lexsort((-scores, groups))
    falling = np.uint64(0xFFFFFFFF) - short.view(np.uint32)
    return np.argsort((groups.astype(np.uint64) << np.uint64(32)) | falling, kind="stable")


def _index_of(values: np.ndarray, rising: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(index of each value in the sorted array `rising`, whether the value is in it)."""
    if not len(rising):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    index = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    return index, rising[index] == values


def result_rows(detections: Mapping[int, Detections], classes: Mapping[int, int]) -> np.ndarray:
    """(n, 7) image id, x, y, w, h, score, category id of each detection, as `COCO.loadRes` expects.

    Detections of classes without a category are left out.
    """
    by_image = list(detections.values())
    class_ids = np.concatenate([np.empty(0, np.int32), *(one.class_ids for one in by_image)])
    category, has_category = _categories(class_ids, classes)
    images = np.repeat(list(detections), [len(one) for one in by_image])
    boxes = np.concatenate([np.empty((0, 4)), *(one.boxes for one in by_image)])
    boxes[:, 2:] -= boxes[:, :2]
    scores = np.concatenate([np.empty(0), *(one.scores for one in by_image)])
    return np.column_stack([images, boxes, scores, category])[has_category]


def _categories(class_ids: np.ndarray, classes: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(category ids, whether each class has one)."""
    rising = np.array(sorted(classes), np.int64)
    index, has_category = _index_of(class_ids, rising)
    return np.array([classes[int(k)] for k in rising] or [0], np.int64)[index], has_category
