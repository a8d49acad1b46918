"""What a sweep over corruptions and severities measures (Michaelis et al., Benchmarking Robustness in Object Detection,
2019), and how much more a quantized variant loses than FP32.

value        AP if objects are annotated, or else agreement with the reference's objects on the clean images
P            value on the clean images
mPC          mean over corruptions of the mean over severities
rPC          mPC / P; unknown if P is at most `FLOOR_VALUE`, because there is then nothing to lose
interaction  the reference's value minus the variant's under the corruption, averaged over the severities, minus the
             same difference on clean images. If positive, the corruption harms the variant more than the reference.
             The 95 % interval is that of a paired bootstrap over the images (see `bootstrap`). Significance is
             corrected with Holm's method over the corruptions of one variant
floor        a model with next to nothing left under the corruption (`FLOOR_SHARE`) cannot lose any more. If the variant
             is at the floor, a negative interaction has no meaning and a positive one is a lower bound. If the
             reference is at the floor, a positive interaction has no meaning
breaking     severity at which half of the model's own clean objects are gone, interpolated linearly; None if never
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from qviz.features.accuracy.bootstrap import holm, interval, p_value
from qviz.features.accuracy.evaluator import Measurement
from qviz.features.inspection.warning import Warning
from qviz.result import Result, to_json

FLOOR_SHARE, FLOOR_VALUE = 0.05, 0.01
"""A model whose value is at most FLOOR_SHARE of its clean value, or at most FLOOR_VALUE, has nothing left to lose."""
CLEAN = "clean"
"""The corruption's name in the rows of severity 0."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model under one corruption at one severity. The values are explained in `Measurement` and in this module.

    Attributes:
        low, high: 95 % interval of `value`.
        clipped_share: Share of FP32's activations that is outside the variant's ranges, averaged over its layers (see
            `saturation`); None if it was not measured.
    """

    model: str
    corruption: str
    severity: int
    ap: float | None
    agreement: float | None
    mean_score: float | None
    still_found: float | None
    value: float | None
    low: float | None
    high: float | None
    clipped_share: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model over all corruptions.

    `breaking_point` is computed from the share of the model's own clean objects that it still finds at each severity,
    averaged over the corruptions.
    """

    model: str
    p: float | None
    mpc: float | None
    rpc: float | None
    breaking_point: float | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One variant under one corruption, in the unit of `value`.

    Attributes:
        significant: Whether the value is significant; never if `floor` is true.
        floor: Whether the sign only reflects that a model has nothing left to lose; then the value is neither a loss
            nor an improvement.
        at_least: Whether the value is a lower bound, because the variant has nothing left to lose at some severity.
    """

    model: str
    corruption: str
    value: float | None
    low: float | None
    high: float | None
    significant: bool | None
    floor: bool = False
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Breaking:
    """The breaking point of one model under one corruption."""

    model: str
    corruption: str
    severity: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Robustness(Result):
    """The result of a sweep.

    Attributes:
        annotated: Whether `value` is AP.
        models: Names of the models, the reference first.
        corruptions: Names of the corruptions that are measured.
        points: One row per model, corruption and severity.
        summary: One row per model.
        interactions: One row per variant and corruption.
        breaking_points: One row per model and corruption.
    """

    ROWS: ClassVar = "points"

    dataset: str
    images: int
    annotated: bool
    models: tuple[str, ...]
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    points: tuple[Point, ...]
    summary: tuple[ModelSummary, ...]
    interactions: tuple[Interaction, ...]
    breaking_points: tuple[Breaking, ...]
    images_per_second: float = 0.0
    skipped: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()

    @property
    def measure(self) -> str:
        """What `value` is, in words."""
        return "AP" if self.annotated else "agreement"

    def curve(self, model: str, corruption: str) -> tuple[Point, ...]:
        """The clean point, followed by the points of one corruption by severity."""
        rows = (row for row in self.points if row.model == model and row.corruption in (CLEAN, corruption))
        return tuple(sorted(rows, key=lambda row: row.severity))

    def interaction(self, model: str, corruption: str) -> Interaction | None:
        """How much more a variant loses than FP32 under one corruption, or None if that was not measured."""
        rows = (row for row in self.interactions if (row.model, row.corruption) == (model, corruption))
        return next(rows, None)

    def to_json(self) -> dict[str, Any]:
        """The sweep's part of the document that `qviz robustness --json` writes."""
        names = ("corruptions", "severities", "points", "summary", "interactions", "breaking_points")
        more = ("images_per_second", "skipped", "warnings")
        return {
            "dataset": {"name": self.dataset, "images": self.images, "annotated": self.annotated},
            "measure": self.measure,
            **{name: to_json(getattr(self, name)) for name in (*names, *more)},
        }


Measurements = Mapping[tuple[str, str, int], Measurement]
"""(model, corruption, severity) -> measurement; the clean images are corruption `CLEAN`, severity 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The measurements of a sweep so far, from which the rows of its result are computed.

    Attributes:
        images: Number of images, for the intervals.
    """

    rows: Measurements
    models: tuple[str, ...]
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    images: int

    def under(self, model: str, corruption: str) -> list[Measurement]:
        """The measurements of a model under a corruption, by severity."""
        return [self.rows[model, corruption, severity] for severity in self.severities]

    def points(self) -> Iterator[Point]:
        """One row per measurement."""
        for key, row in self.rows.items():
            if key[1] in (CLEAN, *self.corruptions):
                bounds = interval(row.draws, self.images)
                yield Point(*key, row.ap, row.agreement, row.mean_score, row.still_found, row.value, *bounds)

    def summaries(self) -> Iterator[ModelSummary]:
        """One row per model."""
        for model in self.models:
            clean = self.rows[model, CLEAN, 0].value
            curves = [self.under(model, name) for name in self.corruptions]
            mean = _mean([_mean([row.value for row in curve]) for curve in curves])
            by_severity = ([self.rows[model, name, level] for name in self.corruptions] for level in self.severities)
            still_found = [_mean([row.still_found for row in rows]) for rows in by_severity]
            share = mean / clean if mean is not None and clean and clean > FLOOR_VALUE else None
            yield ModelSummary(model, clean, mean, share, breaking_point(self.severities, still_found))

    def breaking_points(self) -> Iterator[Breaking]:
        """One row per model and corruption."""
        for model in self.models:
            for name in self.corruptions:
                still_found = [row.still_found for row in self.under(model, name)]
                yield Breaking(model, name, breaking_point(self.severities, still_found))

    def interactions(self) -> Iterator[Interaction]:
        """One row per variant and corruption. Significance is corrected over all corruptions of a variant."""
        for variant in self.models[1:]:
            rows = [self._interaction(variant, name) for name in self.corruptions]
            p_values = [None if v is None or self.images < 2 else p_value(v, draws, self.images) for v, draws in rows]
            columns = zip(self.corruptions, rows, p_values, holm(p_values), strict=True)
            for name, (value, draws), p, significant in columns:
                bounds = interval(draws, self.images)
                floor, at_least = self._floor(variant, name, value)
                yield Interaction(
                    variant, name, value, *bounds, None if p is None else significant and not floor, floor, at_least
                )

    def _floor(self, variant: str, corruption: str, value: float | None) -> tuple[bool, bool]:
        """(`floor`, `at_least`) of an interaction with this value."""
        if value is None:
            return False, False
        first, second = self._left(self.models[0], corruption), self._left(variant, corruption)
        variant_at_floor, reference_at_floor = min(second) <= 0, min(first) <= 0
        if value > 0:
            floor = reference_at_floor and sum(second) >= sum(first)
            return floor, variant_at_floor and not floor
        return variant_at_floor and sum(second) <= sum(first), False

    def _left(self, model: str, corruption: str) -> list[float]:
        """(severities,) share of a model's clean value that is left at each severity; 0 if it is at the floor."""
        clean = self.rows[model, CLEAN, 0].value or 0.0
        limit = max(FLOOR_VALUE, FLOOR_SHARE * clean)
        values = [row.value or 0.0 for row in self.under(model, corruption)]
        return [0.0 if value <= limit else value / max(clean, FLOOR_VALUE) for value in values]

    def _interaction(self, variant: str, corruption: str) -> tuple[float | None, np.ndarray]:
        """(value of the interaction or None, (R,) its value in each resample)."""
        pair = self.models[0], variant
        first, second = (self.under(model, corruption) for model in pair)
        clean = [self.rows[model, CLEAN, 0] for model in pair]
        draws = np.mean([a.draws - b.draws for a, b in zip(first, second, strict=True)], axis=0)
        values = [row.value for row in (*first, *second, *clean)]
        if any(value is None for value in values):
            return None, draws
        numbers = [float(value) for value in values if value is not None]
        count = len(self.severities)
        under = (sum(numbers[:count]) - sum(numbers[count : 2 * count])) / count
        return under - (numbers[-2] - numbers[-1]), draws - (clean[0].draws - clean[1].draws)


def breaking_point(severities: Sequence[float], shares: Sequence[float | None], min_share: float = 0.5) -> float | None:
    """The severity at which the share of objects that are still detected falls below `min_share`, interpolated.

    Severity 0 is the clean image, with a share of 1. None if the share never falls below `min_share`.
    """
    before, above = 0.0, 1.0
    for severity, share in zip(severities, shares, strict=True):
        if share is None:
            continue
        if share < min_share:
            return before + (severity - before) * (above - min_share) / (above - share)
        before, above = float(severity), share
    return None


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None if a value is missing, because a mean over fewer severities would not be comparable."""
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if numbers and len(numbers) == len(values) else None
