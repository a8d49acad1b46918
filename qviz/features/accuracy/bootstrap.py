"""Confidence intervals and significance of losses: paired bootstrap over images.

Images are drawn with replacement and a fixed seed; the reference and every variant use the same draws. Loss is the
reference's AP minus the variant's.

Interval     95 %, expanded percentiles (Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 4.2):
             plain percentiles are too narrow for few images, so levels are those of Student's t with n - 1 degrees of
             freedom times sqrt(n / (n - 1)). n: number of images with the class; overall, of all images.
Overall      significant if the interval excludes 0.
By class     two-sided p values of loss / (standard error sqrt(n / (n - 1))) under that t, Holm-corrected over the
             classes; percentiles of 1,000 draws could never reach .05 / 80. Intervals are not corrected.
Few images   a class that occurs on fewer than `MIN_IMAGES` images has no interval and is never significant.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache

import numpy as np

from qviz.context import Context
from qviz.errors import WorkerError
from qviz.features.accuracy.ap import AveragePrecision, ClassLoss, VariantLoss
from qviz.features.accuracy.coco.matching import IMAGES_AT_ONCE
from qviz.features.accuracy.coco.tables import LEAST_RESAMPLES, MatchTables, mean_ap
from qviz.features.detection.inference import in_order
from qviz.structures import Loss

RESAMPLES = 1000
SEED = 20261122
LEVEL = 0.05
MIN_IMAGES = 5
DRAWN_AT_ONCE = 100_000_000
"""Maximum number of detections times resamples in a job of a worker."""


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """(resamples, images) uint16 number of times that each image is drawn."""
    rng, share = np.random.default_rng(seed), np.full(images, 1 / images)
    counts = np.empty((resamples, images), np.uint16)
    for row in counts:
        row[:] = rng.multinomial(images, share)
    return counts


class Bootstrap:
    """The AP of the reference in each resample of the images, computed once for all variants.

    Args:
        reference: Matches of the reference.
        context: If given, its workers compute the resamples of large datasets; the figures are the same.

    Raises:
        Cancelled: The context was cancelled; so does `loss`.
    """

    def __init__(
        self,
        reference: MatchTables,
        resamples: int = RESAMPLES,
        seed: int = SEED,
        context: Context | None = None,
    ) -> None:
        self._images, self._resamples, self._seed = reference.images, resamples, seed
        self._context = context
        self._reference = self._class_ap(reference)

    def loss(self, reference: AveragePrecision, variant: AveragePrecision, tables: MatchTables) -> VariantLoss:
        """The loss of a variant, overall and by class, each with its interval; the worst class first."""
        class_ap = self._class_ap(tables)
        overall = mean_ap(self._reference) - mean_ap(class_ap)
        value = _difference(reference.ap, variant.ap)
        low, high = interval(overall, self._images)
        significant = None if value is None or low is None or high is None else bool(low > 0 or high < 0)
        per_class = by_class(reference, variant, self._reference - class_ap)
        return VariantLoss(variant.name, Loss(value, low, high, significant), per_class)

    def _class_ap(self, tables: MatchTables) -> np.ndarray:
        """(resamples, classes) AP of each resample."""
        context = self._context
        if context is None or self._images <= IMAGES_AT_ONCE:
            return tables.class_ap(_latest_draws(self._images, self._resamples, self._seed))
        class_ap = np.empty((self._resamples, len(tables.classes)))
        by_size = sorted(range(len(tables.classes)), key=lambda k: -len(tables.classes[k].scores))
        parts = ((k, rows) for k in by_size for rows in _rows(self._resamples, len(tables.classes[k].scores)))

        def submit(part: tuple[int, slice]) -> list[Future[np.ndarray]]:
            table = replace(tables, classes=(tables.classes[part[0]],))
            return [context.engine.submit(class_ap_job, table, self._resamples, self._seed, part[1])]

        for (k, rows), (job,) in in_order(context, parts, submit):
            try:
                class_ap[rows, k] = job.result()[:, 0]
            except WorkerError:  # the worker was lost, or the machine is too busy for the time limit of jobs
                alone = replace(tables, classes=(tables.classes[k],))
                class_ap[rows, k] = class_ap_job(alone, self._resamples, self._seed, rows)[:, 0]
        return class_ap


def class_ap_job(tables: MatchTables, resamples: int, seed: int, rows: slice) -> np.ndarray:
    """(rows, classes) AP of some of the resamples, in a worker."""
    return tables.class_ap(_latest_draws(tables.images, resamples, seed)[rows])


def _rows(resamples: int, detections: int) -> Iterator[slice]:
    """The resamples in parts, each of which takes a few seconds for a class with this many detections."""
    step = max(LEAST_RESAMPLES, DRAWN_AT_ONCE // max(1, detections))
    return (slice(start, start + step) for start in range(0, resamples, step))


@lru_cache(maxsize=1)
def _latest_draws(images: int, resamples: int, seed: int) -> np.ndarray:
    """`draws`, which stay in memory: the classes of all models need the same."""
    return draws(images, resamples, seed)


def by_class(reference: AveragePrecision, variant: AveragePrecision, losses: np.ndarray) -> tuple[ClassLoss, ...]:
    """The loss of every class with ground truth, the worst first. `losses` is (resamples, classes)."""
    rows, p_values = [], []
    for k, (first, second) in enumerate(zip(reference.per_class, variant.per_class, strict=True)):
        if first.truths:
            value = _difference(first.ap, second.ap)
            enough = first.images >= MIN_IMAGES
            bounds = interval(losses[:, k], first.images) if enough else (None, None)
            rows.append((first, value, bounds))
            p_values.append(p_value(value, losses[:, k], first.images) if enough and value is not None else None)
    result = [
        ClassLoss(first.label, Loss(value, *bounds, significant), first.truths, first.images)
        for (first, value, bounds), significant in zip(rows, holm(p_values), strict=True)
    ]
    return tuple(sorted(result, key=lambda row: -(row.loss.value or 0.0)))


def interval(losses: np.ndarray, images: int) -> tuple[float | None, float | None]:
    """(low, high) of a loss; both None if there are too few draws or images.

    `losses` has the loss of each draw, NaN for a draw without objects.
    """
    values = losses[~np.isnan(losses)]
    if images < 2 or len(values) < 2:
        return None, None
    from scipy.special import ndtr, stdtrit  # the same values as scipy.stats, which takes 0.4 s longer to import

    tail = float(ndtr(stdtrit(images - 1, LEVEL / 2) * _expansion(images)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def p_value(value: float, losses: np.ndarray, images: int) -> float:
    """Two-sided p value of the hypothesis that the loss is 0."""
    from scipy.special import stdtr

    values = losses[~np.isnan(losses)]
    error = float(np.std(values)) * _expansion(images) if len(values) > 1 else 0.0
    if error == 0:
        return 1.0 if value == 0 else 0.0  # no spread: the loss is the same in every draw
    return float(2 * stdtr(images - 1, -abs(value) / error))


def _expansion(images: int) -> float:
    return float(np.sqrt(images / (images - 1)))


def holm(p_values: Sequence[float | None], level: float = LEVEL) -> list[bool]:
    """Whether each p value is significant after Holm's correction over all of them (Holm 1979).

    A p value of None (not tested) is never significant.
    """
    ranked = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    significant = [False] * len(p_values)
    for rank, (p, i) in enumerate(ranked):
        if p > level / (len(ranked) - rank):
            break
        significant[i] = True
    return significant


def _difference(first: float | None, second: float | None) -> float | None:
    return first - second if first is not None and second is not None else None
