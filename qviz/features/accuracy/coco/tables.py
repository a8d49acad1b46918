"""Tables of COCO's matches, from which the AP of any resample of the images can be computed.

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
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

NONE = np.empty(0, np.float32)
ELEMENTS_AT_ONCE = 250_000
"""Elements of an (H, R) array. Resamples are processed in parts, so that an array fits into the cache."""
LEAST_RESAMPLES = 32
"""Minimum number of resamples in such an array: with fewer, numpy processes the last axis slowly."""
BLOCK = 32_000
"""Maximum elements of a block along the hits, in which sums and maxima are computed within the cache."""
ROW = 16
"""Number of hits in a row; 8 and 32 are about as fast."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTable:
    """The matches of one class. A detection takes 18 bytes.

    Attributes:
        scores: (D,) scores of the detections, in descending order.
        images: (D,) position of each detection's image among the sorted image ids.
        true_bits, ignored_bits: (D,) uint16, `true` and `ignored` as bits, the lowest threshold in the lowest bit.
        truths: (I,) number of objects that count, per image.
        levels: T.
        ious: (D,) float32 IoU with the object that is matched at the lowest threshold, 0 if there is none. Only the
            table of the first size has it; it is empty in the others.
    """

    scores: np.ndarray
    images: np.ndarray
    true_bits: np.ndarray
    ignored_bits: np.ndarray
    truths: np.ndarray
    levels: int
    ious: np.ndarray = field(default_factory=lambda: NONE)

    @classmethod
    def of(
        cls, scores: np.ndarray, images: np.ndarray, true: np.ndarray, ignored: np.ndarray, truths: np.ndarray
    ) -> ClassTable:
        """A table from (T, D) booleans, without `ious`."""
        powers = 1 << np.arange(len(true), dtype=np.uint16)[:, None]
        true_bits, ignored_bits = ((table * powers).sum(axis=0, dtype=np.uint16) for table in (true, ignored))
        return cls(scores, images, true_bits, ignored_bits, truths, len(true))

    @property
    def true(self) -> np.ndarray:
        """(T, D) bool, whether each detection matches an object that counts."""
        return self._unpacked(self.true_bits)

    @property
    def ignored(self) -> np.ndarray:
        """(T, D) bool, whether each detection is ignored."""
        return self._unpacked(self.ignored_bits)

    @property
    def right(self) -> np.ndarray:
        """(D,) bool, `true` at the lowest threshold."""
        return np.asarray(self.true_bits & 1, bool)

    @property
    def counted(self) -> np.ndarray:
        """(D,) bool, whether each detection counts at the lowest threshold, i.e. is not ignored."""
        return ~np.asarray(self.ignored_bits & 1, bool)

    def _unpacked(self, bits: np.ndarray) -> np.ndarray:
        return np.asarray(bits & (1 << np.arange(self.levels, dtype=np.uint16))[:, None], bool)


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
    hits = np.flatnonzero(table.true_bits)
    if not len(hits):
        return np.where(weights @ table.truths > 0, 0.0, np.nan)
    curves = _Curves(table, hits, recalls)
    widest = max(len(hits), len(curves.images), int(table.truths.sum()))
    part = max(LEAST_RESAMPLES, ELEMENTS_AT_ONCE // widest)
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
        self._recalls, self._thresholds = recalls, table.levels
        self._hit_images = np.searchsorted(self.images, table.images[hits])
        self._of_detections = np.searchsorted(self.images, before)
        self._every = self._between(np.ones(len(before), bool), hits)
        self._rows = []
        for true, ignored, repeats in _distinct_rows(table.true, table.ignored):
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


def _distinct_rows(true: np.ndarray, ignored: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """(row of `true`, row of `ignored`, number of thresholds with these rows) for each distinct pair of rows.

    Several thresholds often have equal rows, because well placed boxes pass all of them.
    """
    rows = [(first.tobytes(), second.tobytes()) for first, second in zip(true, ignored, strict=True)]
    for row, repeats in Counter(rows).items():
        index = rows.index(row)
        yield true[index], ignored[index], repeats


def _accumulated(ufunc: np.ufunc, values: np.ndarray) -> np.ndarray:
    """`ufunc.accumulate` along the first axis of (H, R) values; changes `values` in place if they are contiguous."""
    step = max(1, BLOCK // (ROW * values.shape[1])) * ROW
    for start in range(0, len(values), step):
        block = values[start : start + step]
        if start:
            ufunc(block[0], values[start - 1], out=block[0])
        whole = len(block) // ROW * ROW
        rows = block[:whole].reshape(-1, ROW, block.shape[1])
        for position in range(1, ROW):
            ufunc(rows[:, position], rows[:, position - 1], out=rows[:, position])
        for row in range(1, len(rows)):
            ufunc(rows[row], rows[row - 1, -1], out=rows[row])
        for position in range(max(whole, 1), len(block)):
            ufunc(block[position], block[position - 1], out=block[position])
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
