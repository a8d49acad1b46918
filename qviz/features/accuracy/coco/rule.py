"""COCO's rule of matching, for all images and classes at once. `matching` explains the rule.

Shapes: T IoU thresholds; n boxes of many images and classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

PAIRS_AT_ONCE = 1_000_000
"""Maximum number of overlaps in memory at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of many images and classes.

    Attributes:
        groups: (n,) number that identifies the image and class of each box, in ascending order.
        boxes: (n, 4) x, y, width, height in pixels.
        areas: (n,) in square pixels.
    """

    groups: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class CocoRule:
    """The rule of matching. A decision is an integer: its bit (size * T + threshold) is for that size and threshold.

    Attributes:
        thresholds: (T,) IoU thresholds in ascending order.
        recalls: Recall levels over which AP is averaged.
        ranges: (lowest, highest) area of each size, in square pixels.
    """

    thresholds: np.ndarray
    recalls: np.ndarray
    ranges: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, sizes: Sequence[str]) -> CocoRule:
        """The rule with pycocotools' thresholds and recall levels. `sizes` are names of its area ranges."""
        from pycocotools.cocoeval import Params

        params = Params("bbox")
        ranges = tuple((float(low), float(high)) for low, high in params.areaRng)
        chosen = tuple(ranges[params.areaRngLbl.index(size)] for size in sizes)
        return cls(np.asarray(params.iouThrs), np.asarray(params.recThrs), chosen)

    def ignored(self, gt: Boxes, crowds: np.ndarray) -> np.ndarray:
        """(n,) for each object, the bits of the sizes for which it does not count."""
        every = int((1 << len(self.thresholds) * len(self.ranges)) - 1)
        return np.where(crowds, every, self._outside(gt.areas))

    def match(self, dt: Boxes, gt: Boxes, crowds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(true, ignored, ious), each (n,).

        `true` has the bits of the sizes and thresholds at which a detection matches an object that counts, and
        `ignored` those at which it is ignored. `ious` is the float32 IoU with the object that is matched at the first
        size and the lowest threshold; 0 if there is none.

        Within each group, `dt` must be sorted by falling score, and `gt` must be in the order of annotation.
        """
        dt_index, gt_index, passed, overlap = self._pairs(dt, gt, crowds)
        ignored = self.ignored(gt, crowds)
        # each pair is listed twice: first for the bits at which its object counts, then for those at which it does not
        candidates = np.concatenate([passed & ~ignored[gt_index], passed & ignored[gt_index]])
        order = np.argsort(np.concatenate([2 * dt_index, 2 * dt_index + 1]), kind="stable")
        order = order[candidates[order] != 0]
        pair = order % max(1, len(dt_index))
        matched = _assign(dt_index[pair], gt_index[pair], candidates[order], crowds[gt_index[pair]])
        true, matched_at_all = np.zeros(len(dt.groups), np.int64), np.zeros(len(dt.groups), np.int64)
        counts = order < len(dt_index)
        np.bitwise_or.at(true, dt_index[pair[counts]], matched[counts])
        np.bitwise_or.at(matched_at_all, dt_index[pair], matched)
        ious, first = np.zeros(len(dt.groups), np.float32), counts & (matched & 1 == 1)
        ious[dt_index[pair[first]]] = overlap[pair[first]]
        return true, (matched_at_all & ~true) | (self._outside(dt.areas) & ~matched_at_all), ious

    def bits(self, decisions: np.ndarray, size: int) -> np.ndarray:
        """(n,) uint16, the bits of decisions (n,) for the size with this index, the lowest threshold in the lowest."""
        levels = len(self.thresholds)
        return np.asarray((decisions >> size * levels) & ((1 << levels) - 1), np.uint16)

    def _outside(self, areas: np.ndarray) -> np.ndarray:
        """(n,) for each area, the bits of the sizes for which it is too small or too large."""
        bits = np.zeros(len(areas), np.int64)
        for size, (low, high) in enumerate(self.ranges):
            block = ((1 << len(self.thresholds)) - 1) << size * len(self.thresholds)
            bits |= np.where((areas < low) | (areas > high), block, 0)
        return bits

    def _pairs(self, dt: Boxes, gt: Boxes, crowds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """(index of the detection, index of the object, bits of the thresholds that the IoU reaches, IoU), in the order
        in which the rule considers the pairs."""
        columns = zip(*self._near(dt, gt, crowds), strict=True)
        dt_index, gt_index, iou = (np.concatenate(column) for column in columns)
        order = np.lexsort((-gt_index, -iou, dt_index))
        reached = np.searchsorted(self.thresholds, iou[order], side="right")
        every_size = sum(1 << size * len(self.thresholds) for size in range(len(self.ranges)))
        return dt_index[order], gt_index[order], ((1 << reached) - 1) * every_size, iou[order]

    def _near(self, dt: Boxes, gt: Boxes, crowds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(index of the detection, index of the object, IoU) of the pairs in one group that reach the lowest threshold,
        in parts; the first part is empty."""
        yield np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        first = np.searchsorted(gt.groups, dt.groups)
        counts = np.searchsorted(gt.groups, dt.groups, side="right") - first
        ends = np.cumsum(counts)
        start = 0
        while start < len(ends):
            before = ends[start] - counts[start]
            stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS_AT_ONCE, side="right")))
            part = slice(start, stop)
            dt_index = np.repeat(np.arange(start, stop), counts[part])
            offsets = np.repeat(first[part] - (ends - counts)[part], counts[part])  # to the group's objects
            gt_index = offsets + np.arange(before, before + len(dt_index))
            iou = overlaps(dt.boxes[dt_index], gt.boxes[gt_index], crowds[gt_index])
            near = iou >= self.thresholds[0]
            yield dt_index[near], gt_index[near], iou[near]
            start = stop


def _assign(dt_index: np.ndarray, gt_index: np.ndarray, candidates: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """Assign greedily in the order of the pairs: for each pair, the bits at which detection and object were free."""
    free_dt: dict[int, int] = {}
    free_gt: dict[int, int] = {}
    matched = []
    rows = zip(dt_index.tolist(), gt_index.tolist(), candidates.tolist(), crowds.tolist(), strict=True)
    for detection, truth, bits, crowd in rows:
        match = bits & free_dt.get(detection, -1) & free_gt.get(truth, -1)
        matched.append(match)
        free_dt[detection] = free_dt.get(detection, -1) & ~match
        if not crowd:
            free_gt[truth] = free_gt.get(truth, -1) & ~match
    return np.array(matched, np.int64)


def overlaps(dt: np.ndarray, gt: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """(n,) IoU of pairs of boxes (n, 4) x, y, width, height; for a crowd, the share of the detection that it covers."""
    first, last = np.maximum(dt[:, :2], gt[:, :2]), np.minimum(_far_corner(dt), _far_corner(gt))
    sides = last - first
    shared = sides[:, 0] * sides[:, 1]
    areas = dt[:, 2] * dt[:, 3]
    union = np.where(crowds, areas, areas + gt[:, 2] * gt[:, 3] - shared)
    return np.divide(shared, union, out=np.zeros(len(shared)), where=(sides > 0).all(axis=1))


def _far_corner(boxes: np.ndarray) -> np.ndarray:
    """(n, 2) lower right corners."""
    return np.asarray(boxes[:, 2:] + boxes[:, :2])
