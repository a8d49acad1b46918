"""COCO's matching of detections to truths, all images and classes at once, kept as compact tables.

The detections and truths are brought into pycocotools' order here; who takes whom is said in `coco_rule`.

Which truth a detection takes: COCO's rule (pycocotools, `cocoeval.py: evaluateImg` and `maskApi.c: bbIou`).

Detections by falling score take the truth of the highest IoU that is left and reaches the threshold, the last one of
equals; one that counts goes before one that does not (a crowd, or of another size), whatever its IoU. A crowd may be
taken again and again, and the IoU with it is the share of the detection that it covers. A detection without a truth is
ignored where it is of another size.

Two things make it quick. Only pairs that reach the lowest threshold can match, which are few and found in one sweep
over all images. And such a pair is decided for all thresholds and sizes at once, which are the bits of one integer.

What COCOeval matched, kept by image, so that AP of any resample of the images is a sum and not another evaluation.

A resample is a weight an image (how often it was drawn). AP of weighted images equals pycocotools' AP of the images
repeated so often: copies of one detection are neighbours in the order of scores, all true or all false positives, and
the interpolated precision takes the value behind the last of them. Area "all", at most 100 detections an image.

Shapes: T IoU thresholds, D detections of a class by falling score, I images, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from qviz.structures import Dataset, Detections

PAIRS_AT_ONCE = 1_000_000
"""Overlaps that are held at a time: crowded images have many."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """groups (n,) the image and class of each, rising; boxes (n, 4) x, y, width, height in pixels; areas (n,)."""

    groups: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CocoRule:
    """thresholds: rising IoU; recalls: levels that AP is averaged over; ranges: (lowest, highest) area of each size.

    A decision is an integer with a bit a size and threshold: bit s * thresholds + t.
    """

    thresholds: np.ndarray
    recalls: np.ndarray
    ranges: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, sizes: Sequence[str]) -> CocoRule:
        """pycocotools' own levels; the sizes by its names."""
        from pycocotools.cocoeval import Params

        said = Params("bbox")
        ranges = tuple((float(low), float(high)) for low, high in said.areaRng)
        chosen = tuple(ranges[said.areaRngLbl.index(size)] for size in sizes)
        return cls(np.asarray(said.iouThrs), np.asarray(said.recThrs), chosen)

    def ignored(self, truths: Boxes, crowds: np.ndarray) -> np.ndarray:
        """(n,) for which sizes a truth does not count."""
        return np.where(crowds, self._every(), self._outside(truths.areas))

    def match(self, found: Boxes, truths: Boxes, crowds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n,), (n,): where each detection takes a truth that counts; and where it is ignored itself.

        Detections fall in score, truths are in the order of annotation, each in its group.
        """
        who, whom, passed = self._pairs(found, truths, crowds)
        ignored = self.ignored(truths, crowds)
        asked = np.concatenate([passed & ~ignored[whom], passed & ignored[whom]])  # those that count first
        turn = np.concatenate([2 * who, 2 * who + 1])
        order = np.argsort(turn, kind="stable")
        order = order[asked[order] != 0]
        pair = order % max(1, len(who))
        won = _taken(who[pair], whom[pair], asked[order], crowds[whom[pair]])
        true, taken = np.zeros(len(found.groups), np.int64), np.zeros(len(found.groups), np.int64)
        counts = order < len(who)
        np.bitwise_or.at(true, who[pair[counts]], won[counts])
        np.bitwise_or.at(taken, who[pair], won)
        return true, (taken & ~true) | (self._outside(found.areas) & ~taken)

    def table(self, decisions: np.ndarray, size: int) -> np.ndarray:
        """(thresholds, n) of one size, by its place."""
        bits = size * len(self.thresholds) + np.arange(len(self.thresholds))
        return (decisions[None, :] >> bits[:, None] & 1).astype(bool)

    def _every(self) -> int:
        return int((1 << len(self.thresholds) * len(self.ranges)) - 1)

    def _outside(self, areas: np.ndarray) -> np.ndarray:
        """(n,) for which sizes an area is too small or too large."""
        bits = np.zeros(len(areas), np.int64)
        for size, (low, high) in enumerate(self.ranges):
            block = ((1 << len(self.thresholds)) - 1) << size * len(self.thresholds)
            bits |= np.where((areas < low) | (areas > high), block, 0)
        return bits

    def _pairs(self, found: Boxes, truths: Boxes, crowds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(detection, truth, where their IoU suffices) of those that can match, as the rule takes them in turn."""
        columns = zip(*self._near(found, truths, crowds), strict=True)
        who, whom, iou = (np.concatenate(column) for column in columns)
        order = np.lexsort((-whom, -iou, who))
        reached = np.searchsorted(self.thresholds, iou[order], side="right")
        every_size = sum(1 << size * len(self.thresholds) for size in range(len(self.ranges)))
        return who[order], whom[order], ((1 << reached) - 1) * every_size

    def _near(
        self, found: Boxes, truths: Boxes, crowds: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(detection, truth, IoU) of the same group that reach the lowest threshold, in parts; the first is empty."""
        yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        first = np.searchsorted(truths.groups, found.groups)
        counts = np.searchsorted(truths.groups, found.groups, side="right") - first
        ends = np.cumsum(counts)
        start = 0
        while start < len(ends):
            before = ends[start] - counts[start]
            stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS_AT_ONCE, side="right")))
            some = slice(start, stop)
            who = np.repeat(np.arange(start, stop), counts[some])
            begins = np.repeat(first[some] - (ends - counts)[some], counts[some])  # of a detection's truths
            whom = begins + np.arange(before, before + len(who))
            iou = overlaps(found.boxes[who], truths.boxes[whom], crowds[whom])
            near = iou >= self.thresholds[0]
            yield who[near], whom[near], iou[near]
            start = stop


def _taken(who: np.ndarray, whom: np.ndarray, asked: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """What each pair wins of what it asks for, in turn: what its detection still seeks and its truth still gives."""
    seeks: dict[int, int] = {}
    gives: dict[int, int] = {}
    won = []
    for detection, truth, wanted, crowd in zip(
        who.tolist(), whom.tolist(), asked.tolist(), crowds.tolist(), strict=True
    ):
        got = wanted & seeks.get(detection, -1) & gives.get(truth, -1)
        won.append(got)
        seeks[detection] = seeks.get(detection, -1) & ~got
        if not crowd:
            gives[truth] = gives.get(truth, -1) & ~got
    return np.array(won, np.int64)


def overlaps(found: np.ndarray, truths: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """(n,) IoU of pairs of boxes (n, 4) x, y, width, height; of a crowd the share of the detection that it covers."""
    first, last = np.maximum(found[:, :2], truths[:, :2]), np.minimum(_far(found), _far(truths))
    sides = last - first
    shared = sides[:, 0] * sides[:, 1]
    own = found[:, 2] * found[:, 3]
    union = np.where(crowds, own, own + truths[:, 2] * truths[:, 3] - shared)
    return np.divide(shared, union, out=np.zeros(len(shared)), where=(sides > 0).all(axis=1))


def _far(boxes: np.ndarray) -> np.ndarray:
    """(n, 2) the corner at the right and below."""
    return np.asarray(boxes[:, 2:] + boxes[:, :2])


AT_ONCE = 250_000
"""Elements of one (R, D) table: resamples are worked on in parts, so that memory stays bounded."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """scores, images (D,): of each detection; true, ignored (T, D); truths (I,): objects an image that count."""

    scores: np.ndarray
    images: np.ndarray
    true: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class MatchTables:
    """A table a class, in the order of the evaluation's categories; recalls: the levels that AP is averaged over."""

    classes: tuple[ClassTable, ...]
    recalls: np.ndarray
    images: int

    def class_ap(self, weights: np.ndarray) -> np.ndarray:
        """(R, classes) AP of resamples with `weights` (R, I); NaN where a resample shows no object of the class."""
        return np.stack([_class_ap(table, weights, self.recalls) for table in self.classes], axis=1)

    def class_ap50(self, weights: np.ndarray) -> np.ndarray:
        """(R, classes) as `class_ap`, at an IoU of .50 alone."""
        firsts = (ClassTable(t.scores, t.images, t.true[:1], t.ignored[:1], t.truths) for t in self.classes)
        return np.stack([_class_ap(table, weights, self.recalls) for table in firsts], axis=1)


def mean_ap(class_ap: np.ndarray) -> np.ndarray:
    """(R,) AP over the classes that a resample shows, as pycocotools averages; NaN where it shows none."""
    shown = ~np.isnan(class_ap)
    count = shown.sum(axis=1)
    total = np.where(shown, class_ap, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(len(class_ap), np.nan), where=count > 0)


def _class_ap(table: ClassTable, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,)."""
    if not table.truths.any():
        return np.full(len(weights), np.nan)
    hits = np.flatnonzero(table.true.any(axis=0))  # precision matters only where recall grows
    if not len(hits):
        return np.where(weights @ table.truths > 0, 0.0, np.nan)
    part = max(1, AT_ONCE // max(1, len(hits), weights.shape[1], len(table.images) // 8))
    parts = (weights[i : i + part].astype(np.float64) for i in range(0, len(weights), part))
    rows = [_part(table, hits, some, recalls) for some in parts]
    return np.concatenate(rows) if rows else np.empty(0)


def _part(table: ClassTable, hits: np.ndarray, weights: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    counted = weights @ table.truths  # (R,)
    ap = np.zeros(len(weights))
    seen = _seen(table.images, np.ones(len(table.images), bool), hits, weights)
    drawn = weights[:, table.images[hits]]  # (R, hits)
    for true, ignored, times in _rows(table):
        columns = true[hits]
        among = seen[:, columns]
        if ignored.any():
            among = among - _seen(table.images, ignored, hits[columns], weights)
        ap += times * _averaged(drawn[:, columns], among, counted, recalls)
    return np.where(counted > 0, ap / len(table.true), np.nan)


def _rows(table: ClassTable) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(true, ignored, of how many thresholds): a well placed box passes several, so that rows are often the same."""
    rows = [(true.tobytes(), ignored.tobytes()) for true, ignored in zip(table.true, table.ignored, strict=True)]
    for row, times in Counter(rows).items():
        place = rows.index(row)
        yield table.true[place], table.ignored[place], times


def _seen(images: np.ndarray, counts: np.ndarray, ends: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, ends) how many detections that count were drawn up to and with each of `ends`."""
    from scipy.sparse import csr_matrix

    places = np.flatnonzero(counts)
    segment = np.searchsorted(ends, places)  # the first end at or behind each detection
    inside = segment < len(ends)
    shape = (weights.shape[1], len(ends))
    rows = csr_matrix((np.ones(int(inside.sum())), (images[places[inside]], segment[inside])), shape)
    between = np.ascontiguousarray((rows.T @ weights.T).T)
    return np.cumsum(between, axis=1, out=between)


def _averaged(drawn: np.ndarray, seen: np.ndarray, counted: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """(R,) mean over the recall levels of the interpolated precision. drawn, seen: (R, true positives)."""
    if not drawn.shape[1]:
        return np.zeros(len(counted))
    found = np.cumsum(drawn, axis=1, dtype=np.float64)
    precision = np.divide(found, seen + np.spacing(1), out=np.zeros_like(found), where=seen > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = found / np.maximum(counted, 1)[:, None]
    reached = _levels(recall, recalls)  # how many levels lie at or below each recall
    steps = np.diff(reached, axis=1, prepend=0)
    return np.einsum("ij,ij->i", best, steps) / len(recalls)


def _levels(recall: np.ndarray, recalls: np.ndarray) -> np.ndarray:
    """`np.searchsorted(recalls, recall, side="right")` for evenly spaced levels from 0 to 1."""
    last = len(recalls) - 1
    guess = np.minimum((recall * last).astype(np.int32), last)
    above = np.append(recalls, np.inf)
    return guess + 1 + (above[guess + 1] <= recall) - (recalls[guess] > recall)


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
