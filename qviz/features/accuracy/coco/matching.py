"""COCO's matching of detections to ground truth, for all images and classes at once, stored as compact tables.

Rule (pycocotools, `cocoeval.py: evaluateImg` and `maskApi.c: bbIou`): in the order of falling scores, each detection
is matched with a free object whose IoU reaches the threshold: the one with the highest IoU, or the last one if several
tie. Objects that count are preferred to objects that do not (crowds and other sizes), whatever the IoU. A crowd can be
matched repeatedly; the IoU with a crowd is the share of the detection that it covers. A detection without a match is
ignored if it has another size.

The code is fast for two reasons. Only the few pairs that reach the lowest threshold can match, and one pass over all
images finds them. Each pair is then decided for all thresholds and sizes at once, as the bits of one integer.

Images are matched independently of each other, so large datasets are matched part by part: the `CocoMatches` of all
parts are concatenated, and only then sorted into tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from qviz.features.accuracy.coco.rule import Boxes, CocoRule
from qviz.features.accuracy.coco.tables import NONE, ClassTable, MatchTables
from qviz.structures import Dataset, Detections

SIZES = ("all", "small", "medium", "large")
"""The area ranges of pycocotools, in its order."""
MAX_DETECTIONS = 100
"""Maximum number of detections that count, per class and image."""
IMAGES_AT_ONCE = 500
"""Number of images in a part of a dataset: matching one takes a fraction of a second and some ten megabytes."""


@dataclass(frozen=True, slots=True, eq=False)
class CocoMatches:
    """The matches of some images, whose ids rise: n detections and m objects.

    Attributes:
        count: Number of images.
        images, classes: (n,) position of each detection's image among these images, and of its category among the
            sorted ids of all categories.
        scores: (n,) float64.
        true, ignored, ious: (n,) the decisions of `CocoRule.match`.
        object_images, object_classes: (m,) as `images` and `classes`.
        object_ignored: (m,) the decisions of `CocoRule.ignored`.
    """

    count: int
    images: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    ious: np.ndarray
    object_images: np.ndarray
    object_classes: np.ndarray
    object_ignored: np.ndarray

    @classmethod
    def of(cls, dataset: Dataset, rows: np.ndarray, sizes: Sequence[str] = SIZES) -> CocoMatches:
        """The matches of all images of a dataset. `rows` is the result of `result_rows`."""
        rule, ids = CocoRule.of(sizes), _Ids.of(dataset)
        gt, crowds = ids.ground_truth(dataset)
        dt, scores = ids.detections(rows)
        columns = *ids.split(dt.groups), scores, *rule.match(dt, gt, crowds)
        return cls(len(ids.images), *columns, *ids.split(gt.groups), rule.ignored(gt, crowds))

    @classmethod
    def merged(cls, parts: Sequence[CocoMatches]) -> CocoMatches:
        """The matches of all images of the parts; the ids of each part's images exceed those of the part before it."""
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(part.count for part in parts[:-1])]).astype(np.int32)
        columns = []
        for name in cls.__slots__[1:]:
            arrays = [getattr(part, name) for part in parts]
            if name.endswith("images"):
                arrays = [array + first for array, first in zip(arrays, before, strict=True)]
            columns.append(np.concatenate(arrays))
        return cls(sum(part.count for part in parts), *columns)

    def tables(self, categories: int, sizes: Sequence[str] = SIZES) -> dict[str, MatchTables]:
        """Size -> one table for each of this many categories."""
        rule = CocoRule.of(sizes)
        order = falling(self.scores, self.classes)  # equal scores keep the order of the images
        ends = np.searchsorted(self.classes[order], np.arange(categories + 1))
        scores, images, ious = self.scores[order], self.images[order], self.ious[order]
        tables = {}
        for index, size in enumerate(sizes):
            true, ignored = rule.bits(self.true, index)[order], rule.bits(self.ignored, index)[order]
            truths = self._truths(categories, rule.bits(self.object_ignored, index) & 1 == 0)
            by_class = (
                ClassTable(
                    scores[a:b],
                    images[a:b],
                    true[a:b],
                    ignored[a:b],
                    truths[k],
                    len(rule.thresholds),
                    ious[a:b] if index == 0 else NONE,
                )
                for k, (a, b) in enumerate(pairwise(ends))
            )
            tables[size] = MatchTables(tuple(by_class), rule.recalls, self.count)
        return tables

    def _truths(self, categories: int, counted: np.ndarray) -> np.ndarray:
        """(categories, images) number of counted objects."""
        groups = self.object_classes[counted].astype(np.int64) * self.count + self.object_images[counted]
        counts = np.bincount(groups, minlength=categories * self.count)
        return counts.astype(np.uint16).reshape(categories, self.count)


def in_parts(dataset: Dataset) -> list[Dataset]:
    """The dataset in parts of `IMAGES_AT_ONCE` images, by rising id; at least one part."""
    images = sorted(dataset.images, key=lambda image: image.id)
    starts = range(0, max(1, len(images)), IMAGES_AT_ONCE)
    return [replace(dataset, images=tuple(images[start : start + IMAGES_AT_ONCE])) for start in starts]


def matches_of(dataset: Dataset, detections: Mapping[int, Detections], classes: Mapping[int, int]) -> CocoMatches:
    """The matches of a model, computed part by part.

    Args:
        detections: Image id -> detections in pixels of the original image.
        classes: Class id -> category id.
    """
    parts = []
    for part in in_parts(dataset):
        chosen = {image.id: detections[image.id] for image in part.images if image.id in detections}
        parts.append(CocoMatches.of(part, result_rows(chosen, classes)))
    return CocoMatches.merged(parts)


def match(dataset: Dataset, rows: np.ndarray, sizes: Sequence[str] = SIZES) -> dict[str, MatchTables]:
    """Size -> tables of the dataset's categories, by ascending id. `rows` is the result of `result_rows`."""
    return CocoMatches.of(dataset, rows, sizes).tables(len(dataset.categories), sizes)


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
        """(indices of the images, indices of the categories) of these groups, as int32."""
        images, categories = np.divmod(groups, max(1, len(self.categories)))
        return images.astype(np.int32), categories.astype(np.int32)

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
        order = order[falling(rows[order, 5], groups[order])]
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


def falling(scores: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """`np.lexsort((-scores, groups))`, but two to eight times as fast if all scores are float32 values.

    Read as an integer, the bits of a non-negative float32 rise with its value, so group and score make one integer.
    """
    short = scores.astype(np.float32)
    if not (short == scores).all() or np.signbit(short).any() or not _in_32_bits(groups):
        return np.lexsort((-scores, groups))
    falling = np.uint64(0xFFFFFFFF) - short.view(np.uint32)
    return np.argsort((groups.astype(np.uint64) << np.uint64(32)) | falling, kind="stable")


def _in_32_bits(values: np.ndarray) -> bool:
    return bool(values.min(initial=0) >= 0 and values.max(initial=0) < 1 << 32)


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
