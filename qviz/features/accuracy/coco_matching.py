"""COCO's matching of detections to ground truth, for all images and classes at once, stored as compact tables.

Rule (pycocotools, `cocoeval.py: evaluateImg` and `maskApi.c: bbIou`): in the order of falling scores, each detection
takes the unmatched object with the highest IoU that reaches the threshold, or the last one if several tie. An object
that counts is preferred to one that does not (a crowd, or one of another size), whatever the IoU. A crowd can be
matched repeatedly, and the IoU with it is the share of the detection that it covers. A detection without a match is
ignored if it has another size.

It is fast for two reasons. Only the few pairs that reach the lowest threshold can match, and one pass over all images
finds them. Each of these pairs is then decided for all thresholds and sizes at once, as the bits of one integer.

The tables store the matches by image, so that the AP of any resample of the images is a sum. A resample is given as one
weight per image (how often it was drawn). The AP of weighted images equals pycocotools' AP of images repeated that
often, because copies of a detection are neighbours in the order of scores, are all true or all false positives, and the
interpolated precision takes the value after the last of them. Size "all", at most 100 detections per image.

Shapes: T IoU thresholds, D detections of a class by falling score, I images, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from qviz.features.accuracy.coco_rule import Boxes, CocoRule
from qviz.structures import Dataset, Detections

SIZES = ("all", "small", "medium", "large")
"""pycocotools' area ranges, in its order."""
MAX_DETECTIONS = 100
"""Per class and image."""
NONE = np.empty(0, np.float32)
ELEMENTS_AT_ONCE = 250_000
"""Of one (R, D) table: resamples are processed in parts, so that memory stays bounded."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """The matches of one class.

    Attributes:
        scores: (D,) scores of the detections, in descending order.
        images: (D,) position of each detection's image among the sorted image ids.
        true, ignored: (T, D) bool, whether each detection matches an object that counts, or is ignored.
        truths: (I,) number of objects that count, per image.
        ious: (D,) float32 IoU with the object matched at the lowest threshold, 0 without one; empty in the tables of
            all but the first size.
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
    """(R,) mean AP over the classes in each resample, as in pycocotools; NaN if it contains no object of any class."""
    shown = ~np.isnan(class_ap)
    count = shown.sum(axis=1)
    total = np.where(shown, class_ap, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(class_ap), np.nan), where=count > 0)


def _class_ap(table: ClassTable, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,) AP of one class in each resample."""
    if not table.truths.any():
        return np.full(len(weights), np.nan)
    hits = np.flatnonzero(table.true.any(axis=0))  # precision matters only where recall grows
    if not len(hits):
        return np.where(weights @ table.truths > 0, 0.0, np.nan)
    part = max(1, ELEMENTS_AT_ONCE // max(1, len(hits), weights.shape[1], len(table.images) // 8))
    parts = (weights[i : i + part].astype(np.float64) for i in range(0, len(weights), part))
    rows = [_resampled_ap(table, hits, some, recalls) for some in parts]
    return np.concatenate(rows) if rows else np.empty(0)


def _resampled_ap(table: ClassTable, hits: np.ndarray, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,) AP of one class. `hits` are the indices of the detections that are true at any threshold."""
    objects = weights @ table.truths  # (R,)
    ap = np.zeros(len(weights))
    every = _cumulative(table.images, np.ones(len(table.images), bool), hits, weights)
    drawn = weights[:, table.images[hits]]  # (R, hits)
    for true, ignored, repeats in _distinct_rows(table):
        columns = true[hits]
        counted = every[:, columns]
        if ignored.any():
            counted = counted - _cumulative(table.images, ignored, hits[columns], weights)
        ap += repeats * _averaged(drawn[:, columns], counted, objects, recalls)
    return np.where(objects > 0, ap / len(table.true), np.nan)


def _distinct_rows(table: ClassTable) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(true, ignored, number of thresholds with these rows) for each distinct pair of rows.

    Several thresholds often have equal rows, because well placed boxes pass all of them.
    """
    rows = [(true.tobytes(), ignored.tobytes()) for true, ignored in zip(table.true, table.ignored, strict=True)]
    for row, repeats in Counter(rows).items():
        index = rows.index(row)
        yield table.true[index], table.ignored[index], repeats


def _cumulative(images: np.ndarray, counts: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, ends) number of drawn detections that count, up to and including each position in `ends`."""
    from scipy.sparse import csr_matrix

    indices = np.flatnonzero(counts)
    segment = np.searchsorted(ends, indices)  # the first end at or after each detection
    inside = segment < len(ends)
    shape = (weights.shape[1], len(ends))
    rows = csr_matrix((np.ones(int(inside.sum())), (images[indices[inside]], segment[inside])), shape)
    between = np.ascontiguousarray((rows.T @ weights.T).T)
    return np.cumsum(between, axis=1, out=between)


def _averaged(drawn: np.ndarray, counted: np.ndarray, objects: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,) interpolated precision, averaged over the recall levels.

    `drawn` and `counted`, both (R, true positives), say how often each true positive was drawn, and how many detections
    count up to it.
    """
    if not drawn.shape[1]:
        return np.zeros(len(objects))
    true = np.cumsum(drawn, axis=1, dtype=np.float64)
    precision = np.divide(true, counted + np.spacing(1), out=np.zeros_like(true), where=counted > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true / np.maximum(objects, 1)[:, None]
    reached = _levels(recall, recalls)  # number of levels at or below each recall
    steps = np.diff(reached, axis=1, prepend=0)
    return np.einsum("ij,ij->i", best, steps) / len(recalls)


def _levels(recall: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """Same as `np.searchsorted(recalls, recall, side="right")`, but only for evenly spaced levels from 0 to 1."""
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
    order = np.lexsort((-scores, classes))  # stable: equal scores keep the order of the images
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
        order = order[np.lexsort((-rows[order, 5], groups[order]))]
        groups = groups[order]
        rank = np.arange(len(groups)) - np.searchsorted(groups, groups)
        order, groups = order[rank < MAX_DETECTIONS], groups[rank < MAX_DETECTIONS]
        boxes = rows[order, 1:5]
        return Boxes(groups, boxes, boxes[:, 2] * boxes[:, 3]), rows[order, 5]

    def _groups(self, images: np.ndarray, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(groups, whether both image and category belong to the dataset)."""
        image, has_image = _index_of(images, self.images)
        category, has_category = _index_of(categories, self.categories)
        return image * len(self.categories) + category, has_image & has_category


def _index_of(values: np.ndarray, rising: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(indices in a sorted array, whether each value is in it)."""
    if not len(rising):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    index = np.minimum(np.searchsorted(rising, values), len(rising) - 1)
    return index, rising[index] == values


def result_rows(detections: Mapping[int, Detections], classes: Mapping[int, int]) -> np.ndarray:
    """(n, 7) image id, x, y, w, h, score, category id, as `COCO.loadRes` expects them, without unknown classes."""
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
