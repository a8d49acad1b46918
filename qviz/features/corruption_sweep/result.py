"""What a sweep over corruptions and severities measures (Michaelis et al., Benchmarking Robustness in Object Detection,
2019), and what quantization loses beyond what FP32 loses.

value        AP where objects are annotated, else agreement with the reference's objects on the clean images
P            value on the clean images
mPC          mean over corruptions of the mean over severities
rPC          mPC / P
interaction  (reference - variant) under the corruption, averaged over the severities, minus the same when clean: above
             0 the variant breaks where the reference holds. 95 % interval of a paired bootstrap over the images (see
             `bootstrap`); significant after Holm over the corruptions of one variant.
breaking     severity at which half of the model's own clean objects are gone, interpolated linearly; None: never
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qviz.features.accuracy.bootstrap import holm, interval, p_value
from qviz.features.accuracy.evaluator import Measurement
from qviz.features.comparison.matching import breaking_point
from qviz.features.inspection.warning import Warning
from qviz.result import Result, to_json

if TYPE_CHECKING:
    import pandas as pd


CLEAN = "clean"
"""The corruption's name in the rows of severity 0."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model under one corruption at one severity; see `Measurement` and this module for the values.

    Attributes:
        low, high: 95 % interval of `value`.
        clipped_share: Mean over the variant's layers of the share of FP32's activations outside of its ranges (see
            `saturation`); None where it was not measured.
    """

    model: str
    corruption: str
    severity: int
    ap: float | None
    agreement: float
    mean_score: float | None
    still_found: float | None
    value: float | None
    low: float | None
    high: float | None
    clipped_share: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One model over all corruptions. breaking_point: of the mean share of its objects that it still finds."""

    model: str
    p: float | None
    mpc: float | None
    rpc: float | None
    breaking_point: float | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One variant under one corruption, in the unit of `value`."""

    model: str
    corruption: str
    value: float | None
    low: float | None
    high: float | None
    significant: bool | None


@dataclass(frozen=True, slots=True)
class Breaking:
    """The breaking point of one model under one corruption."""

    model: str
    corruption: str
    severity: float | None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Robustness(Result):
    """A sweep.

    Attributes:
        annotated: Whether `value` is AP.
        models: Names, the reference first.
        corruptions: Those that are measured.
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
        """The name of `value`."""
        return "AP" if self.annotated else "agreement"

    def curve(self, model: str, corruption: str) -> tuple[Point, ...]:
        """The clean point and those of one corruption, by severity."""
        rows = (row for row in self.points if row.model == model and row.corruption in (CLEAN, corruption))
        return tuple(sorted(rows, key=lambda row: row.severity))

    def interaction(self, model: str, corruption: str) -> Interaction | None:
        """What quantization loses beyond FP32 under this corruption."""
        rows = (row for row in self.interactions if (row.model, row.corruption) == (model, corruption))
        return next(rows, None)

    def to_json(self) -> dict[str, Any]:
        """As `qviz robustness --json` prints it."""
        names = ("corruptions", "severities", "points", "summary", "interactions", "breaking_points")
        more = ("images_per_second", "skipped", "warnings")
        return {
            "dataset": {"name": self.dataset, "images": self.images, "annotated": self.annotated},
            "measure": self.measure,
            **{name: to_json(getattr(self, name)) for name in (*names, *more)},
        }

    def to_frame(self) -> pd.DataFrame:
        """One row per model, corruption and severity."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.points], columns=list(Point.__slots__))


Measurements = Mapping[tuple[str, str, int], Measurement]
"""(model, corruption, severity) -> measurement; the clean images are corruption `CLEAN`, severity 0."""


def points(measured: Measurements, images: int) -> tuple[Point, ...]:
    """One row per measurement."""
    rows = []
    for key, row in measured.items():
        bounds = interval(row.draws, images)
        rows.append(Point(*key, row.ap, row.agreement, row.mean_score, row.still_found, row.value, *bounds))
    return tuple(rows)


def summaries(
    measured: Measurements, models: Sequence[str], corruptions: Sequence[str], severities: Sequence[int]
) -> tuple[ModelSummary, ...]:
    """One row per model."""
    rows = []
    for model in models:
        clean = measured[model, CLEAN, 0].value
        means = [_mean(measured[model, name, level].value for level in severities) for name in corruptions]
        mean = _mean(means)
        still_found = [_mean(measured[model, name, level].still_found for name in corruptions) for level in severities]
        share = mean / clean if mean is not None and clean else None
        rows.append(ModelSummary(model, clean, mean, share, breaking_point(severities, still_found)))
    return tuple(rows)


def breaking_points(
    measured: Measurements, models: Sequence[str], corruptions: Sequence[str], severities: Sequence[int]
) -> tuple[Breaking, ...]:
    """One row per model and corruption."""
    return tuple(
        Breaking(model, name, breaking_point(severities, [measured[model, name, s].still_found for s in severities]))
        for model in models
        for name in corruptions
    )


def interactions(
    measured: Measurements,
    models: Sequence[str],
    corruptions: Sequence[str],
    severities: Sequence[int],
    images: int,
) -> tuple[Interaction, ...]:
    """One row per variant and corruption."""
    reference, *variants = models
    return tuple(
        row
        for variant in variants
        for row in _of_variant(measured, reference, variant, corruptions, severities, images)
    )


def _of_variant(
    measured: Measurements,
    reference: str,
    variant: str,
    corruptions: Sequence[str],
    severities: Sequence[int],
    images: int,
) -> Iterator[Interaction]:
    """Significance is corrected over all corruptions together."""
    pair = reference, variant
    rows = [_interaction(measured, pair, name, severities) for name in corruptions]
    p_values = [None if value is None or images < 2 else p_value(value, draws, images) for value, draws in rows]
    for name, (value, draws), p, significant in zip(corruptions, rows, p_values, holm(p_values), strict=True):
        yield Interaction(variant, name, value, *interval(draws, images), None if p is None else significant)


def _interaction(
    measured: Measurements, pair: tuple[str, str], corruption: str, severities: Sequence[int]
) -> tuple[float | None, np.ndarray]:
    """The value and its draws (R,)."""
    first, second = ([measured[model, corruption, level] for level in severities] for model in pair)
    clean = [measured[model, CLEAN, 0] for model in pair]
    draws = np.mean([a.draws - b.draws for a, b in zip(first, second, strict=True)], axis=0)
    values = [row.value for row in (*first, *second, *clean)]
    if any(value is None for value in values):
        return None, draws
    numbers = [float(value) for value in values if value is not None]
    count = len(severities)
    under = (sum(numbers[:count]) - sum(numbers[count : 2 * count])) / count
    return under - (numbers[-2] - numbers[-1]), draws - (clean[0].draws - clean[1].draws)


def _mean(values: Iterator[float | None] | Sequence[float | None]) -> float | None:
    """None where a value is missing: a mean over fewer severities would not be comparable."""
    numbers = list(values)
    if not numbers or any(value is None for value in numbers):
        return None
    return float(np.mean([value for value in numbers if value is not None]))
