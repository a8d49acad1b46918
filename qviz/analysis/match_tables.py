"""What COCOeval matched, kept by image, so that AP of any resample of the images is a sum and not another evaluation.

A resample is a weight an image (how often it was drawn). AP of weighted images equals pycocotools' AP of the images
repeated so often: copies of one detection are neighbours in the order of scores, all true or all false positives, and
the interpolated precision takes the value behind the last of them. Area "all", at most 100 detections an image.

Shapes: T IoU thresholds, D detections of a class by falling score, I images, R resamples.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
