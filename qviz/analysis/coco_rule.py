"""Which truth a detection takes: COCO's rule (pycocotools, `cocoeval.py: evaluateImg` and `maskApi.c: bbIou`).

Detections by falling score take the truth of the highest IoU that is left and reaches the threshold, the last one of
equals; one that counts goes before one that does not (a crowd, or of another size), whatever its IoU. A crowd may be
taken again and again, and the IoU with it is the share of the detection that it covers. A detection without a truth is
ignored where it is of another size.

Two things make it quick. Only pairs that reach the lowest threshold can match, which are few and found in one sweep
over all images. And such a pair is decided for all thresholds and sizes at once, which are the bits of one integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

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
