"""COCO's matching of detections to truths, all images and classes at once, kept as compact tables.

The detections and truths are brought into pycocotools' order here; who takes whom is said in `coco_rule`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qviz.analysis.coco_rule import Boxes, CocoRule
from qviz.analysis.match_tables import ClassTable, MatchTables
from qviz.structures import Dataset, Detections

SIZES = ("all", "small", "medium", "large")
"""pycocotools' area ranges, in its order."""
MOST = 100
"""Detections of a class and image."""


def match(dataset: Dataset, rows: np.ndarray, sizes: Sequence[str] = SIZES) -> dict[str, MatchTables]:
    """size -> tables of the dataset's categories by rising id. rows: as `result_rows` makes them."""
    rule = CocoRule.of(sizes)
    places = _Places.of(dataset)
    truths, crowds = places.truths(dataset)
    found, scores = places.found(rows)
    true, ignored = rule.match(found, truths, crowds)
    images, classes = places.apart(found.groups)
    order = np.lexsort((-scores, classes))  # stable: equal scores stay in the order of the images
    ends = np.searchsorted(classes[order], np.arange(len(places.categories) + 1))
    scores, images, true, ignored = scores[order], images[order].astype(np.int32), true[order], ignored[order]
    counted = ~rule.ignored(truths, crowds)
    tables = {}
    for place, size in enumerate(sizes):
        hits, out = rule.table(true, place), rule.table(ignored, place)
        counts = places.counts(truths.groups[rule.table(counted, place)[0]])
        by_class = [
            ClassTable(scores[a:b], images[a:b], hits[:, a:b], out[:, a:b], counts[k])
            for k, (a, b) in enumerate(pairwise(ends))
        ]
        tables[size] = MatchTables(tuple(by_class), rule.recalls, len(places.images))
    return tables


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Ids of images and categories, rising. A group is an image and class: image's place * classes + class's place."""

    images: np.ndarray
    categories: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset) -> _Places:
        return cls(
            np.sort(np.array([image.id for image in dataset.images], np.int64)),
            np.sort(np.array([category.id for category in dataset.categories], np.int64)),
        )

    def apart(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(places of images, places of categories)."""
        return np.divmod(groups, max(1, len(self.categories)))

    def counts(self, groups: np.ndarray) -> np.ndarray:
        """(categories, images) how often each is there."""
        shape = len(self.images), len(self.categories)
        counts = np.bincount(groups, minlength=shape[0] * shape[1]).reshape(shape)
        return np.ascontiguousarray(counts.T.astype(np.uint16))

    def truths(self, dataset: Dataset) -> tuple[Boxes, np.ndarray]:
        """(truths by group, in a group as they are annotated; which of them are crowds)."""
        images = dataset.images
        groups, known = self._groups(
            np.repeat([image.id for image in images], [len(image.category_ids) for image in images]),
            np.concatenate([np.empty(0, np.int64), *(image.category_ids for image in images)]),
        )
        boxes = np.concatenate([np.empty((0, 4)), *(image.boxes for image in images)])
        boxes[:, 2:] -= boxes[:, :2]
        areas = np.concatenate([np.empty(0), *(image.areas for image in images)])
        crowds = np.concatenate([np.empty(0, bool), *(image.is_crowd for image in images)])
        order = np.flatnonzero(known)[np.argsort(groups[known], kind="stable")]
        return Boxes(groups[order], boxes[order], areas[order]), crowds[order]

    def found(self, rows: np.ndarray) -> tuple[Boxes, np.ndarray]:
        """(detections by group, in a group by falling score, not more than count; their scores)."""
        groups, known = self._groups(rows[:, 0], rows[:, 6])
        order = np.flatnonzero(known)
        order = order[np.lexsort((-rows[order, 5], groups[order]))]
        groups = groups[order]
        rank = np.arange(len(groups)) - np.searchsorted(groups, groups)
        order, groups = order[rank < MOST], groups[rank < MOST]
        boxes = rows[order, 1:5]
        return Boxes(groups, boxes, boxes[:, 2] * boxes[:, 3]), rows[order, 5]

    def _groups(self, images: np.ndarray, categories: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(groups, whether image and category are of the dataset)."""
        (image, seen), (category, known) = _place(images, self.images), _place(categories, self.categories)
        return image * len(self.categories) + category, seen & known


def _place(values: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(places in a rising array, whether they are there)."""
    if not len(among):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    place = np.minimum(np.searchsorted(among, values), len(among) - 1)
    return place, among[place] == values


def result_rows(detections: Mapping[int, Detections], classes: Mapping[int, int]) -> np.ndarray:
    """(n, 7) image id, x, y, w, h, score, category id, as `COCO.loadRes` takes them; unknown classes left out."""
    found = list(detections.values())
    ids = np.concatenate([np.empty(0, np.int32), *(one.class_ids for one in found)])
    category, known = _categories(ids, classes)
    images = np.repeat(list(detections), [len(one) for one in found])
    boxes = np.concatenate([np.empty((0, 4)), *(one.boxes for one in found)])
    boxes[:, 2:] -= boxes[:, :2]
    scores = np.concatenate([np.empty(0), *(one.scores for one in found)])
    return np.column_stack([images, boxes, scores, category])[known]


def _categories(class_ids: np.ndarray, classes: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(category ids, whether the class has one)."""
    named = np.array(sorted(classes), np.int64)
    place, known = _place(class_ids, named)
    return np.array([classes[int(k)] for k in named] or [0], np.int64)[place], known
