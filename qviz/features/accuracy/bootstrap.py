"""How sure a loss is: paired bootstrap over images.

Images are drawn with replacement, the same draw for the reference and for every variant, seeded. Loss is reference
minus variant, in AP.

Interval     95 %, expanded percentiles: those of Student's t with n - 1 degrees of freedom times sqrt(n / (n - 1)), as
             plain percentiles are too narrow for few images (Hesterberg, What Teachers Should Know About the
             Bootstrap, 2015, section 4.2). n: images that show the class, or all of them.
Overall      significant where the interval leaves out 0.
By class     two-sided p values of loss / (standard error sqrt(n / (n - 1))) under that t, Holm-corrected over the
             classes; percentiles of 1,000 draws could never reach .05 / 80. Intervals are not corrected.
Few images   a class shown by fewer than `FEWEST` images has no interval and is never significant.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.features.accuracy.ap import AveragePrecision, ClassLoss, VariantLoss
from qviz.features.accuracy.coco_matching import MatchTables, mean_ap
from qviz.structures import Loss

RESAMPLES = 1000
SEED = 20261122
LEVEL = 0.05
FEWEST = 5


def draws(images: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """(resamples, images) how often each image is drawn."""
    rng, share = np.random.default_rng(seed), np.full(images, 1 / images)
    return np.stack([rng.multinomial(images, share).astype(np.uint16) for _ in range(resamples)])


class Bootstrap:
    """The reference's AP under every draw, computed once for all variants."""

    def __init__(self, reference: MatchTables, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        self._weights = draws(reference.images, resamples, seed)
        self._reference = reference.class_ap(self._weights)
        self._images = reference.images

    def loss(self, reference: AveragePrecision, variant: AveragePrecision, tables: MatchTables) -> VariantLoss:
        """Every loss of a variant with its interval, the worst class first."""
        class_ap = tables.class_ap(self._weights)
        overall = mean_ap(self._reference) - mean_ap(class_ap)
        value = _difference(reference.ap, variant.ap)
        low, high = interval(overall, self._images)
        sure = None if value is None or low is None or high is None else bool(low > 0 or high < 0)
        return VariantLoss(
            variant.name, Loss(value, low, high, sure), by_class(reference, variant, self._reference - class_ap)
        )


def by_class(reference: AveragePrecision, variant: AveragePrecision, lost: np.ndarray) -> tuple[ClassLoss, ...]:
    """Every class with truths, the worst first. lost: (R, classes), in the order of `per_class`."""
    rows = []
    for k, (first, second) in enumerate(zip(reference.per_class, variant.per_class, strict=True)):
        if first.truths:
            value = _difference(first.ap, second.ap)
            enough = first.images >= FEWEST
            low, high = interval(lost[:, k], first.images) if enough else (None, None)
            sure = p_value(value, lost[:, k], first.images) if enough and value is not None else None
            rows.append((first, value, low, high, sure))
    held = holm([sure for *_, sure in rows])
    losses = [
        ClassLoss(first.label, Loss(value, low, high, said), first.truths, first.images)
        for (first, value, low, high, _), said in zip(rows, held, strict=True)
    ]
    return tuple(sorted(losses, key=lambda row: -(row.loss.value or 0.0)))


def interval(lost: np.ndarray, images: int) -> tuple[float | None, float | None]:
    """(low, high) of draws of a loss (NaN: a draw without an object); None where there is nothing to say."""
    known = lost[~np.isnan(lost)]
    if images < 2 or len(known) < 2:
        return None, None
    from scipy.stats import norm, t

    tail = float(norm.cdf(t.ppf(LEVEL / 2, images - 1) * _expansion(images)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def p_value(value: float, lost: np.ndarray, images: int) -> float:
    """Two-sided, that the loss is 0."""
    from scipy.stats import t

    known = lost[~np.isnan(lost)]
    error = float(np.std(known)) * _expansion(images) if len(known) > 1 else 0.0
    if error == 0:
        return 1.0 if value == 0 else 0.0  # every image lost the same
    return float(2 * t.sf(abs(value) / error, images - 1))


def _expansion(images: int) -> float:
    return float(np.sqrt(images / (images - 1)))


def holm(p_values: Sequence[float | None], level: float = LEVEL) -> list[bool]:
    """Which of a family are significant together (Holm 1979); None is no test and never significant."""
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    said = [False] * len(p_values)
    for rank, (p, i) in enumerate(known):
        if p > level / (len(known) - rank):
            break
        said[i] = True
    return said


def _difference(first: float | None, second: float | None) -> float | None:
    return first - second if first is not None and second is not None else None
