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

from collections.abc import Sequence

import numpy as np

from qviz.features.accuracy.ap import AveragePrecision, ClassLoss, VariantLoss
from qviz.features.accuracy.coco.tables import MatchTables, mean_ap
from qviz.structures import Loss

RESAMPLES = 1000
SEED = 20261122
LEVEL = 0.05
MIN_IMAGES = 5


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """(resamples, images) uint16 number of times that each image is drawn."""
    rng, share = np.random.default_rng(seed), np.full(images, 1 / images)
    return np.stack([rng.multinomial(images, share).astype(np.uint16) for _ in range(resamples)])


class Bootstrap:
    """The AP of the reference in each resample of the images, computed once for all variants."""

    def __init__(self, reference: MatchTables, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = draws(reference.images, resamples, seed)
        self._reference = reference.class_ap(self._weights)
        self._images = reference.images

    def loss(self, reference: AveragePrecision, variant: AveragePrecision, tables: MatchTables) -> VariantLoss:
        """The loss of a variant, overall and by class, each with its interval; the worst class first."""
        class_ap = tables.class_ap(self._weights)
        overall = mean_ap(self._reference) - mean_ap(class_ap)
        value = _difference(reference.ap, variant.ap)
        low, high = interval(overall, self._images)
        significant = None if value is None or low is None or high is None else bool(low > 0 or high < 0)
        per_class = by_class(reference, variant, self._reference - class_ap)
        return VariantLoss(variant.name, Loss(value, low, high, significant), per_class)


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
