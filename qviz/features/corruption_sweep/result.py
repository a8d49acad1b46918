"""What a sweep over corruptions and severities found (Michaelis et al., Benchmarking Robustness in Object Detection,
2019), and what quantization loses beyond what FP32 loses.

value        AP where objects are annotated, else agreement with what the reference finds on the clean images
P            value on the clean images
mPC          mean over corruptions of the mean over severities
rPC          mPC / P
interaction  (reference - variant) under the corruption, averaged over the severities, minus the same when clean: above
             0 the variant breaks where the reference holds. 95 % interval of a paired bootstrap over the images (see
             `significance`); significant after Holm over the corruptions of one variant.
breaking     severity at which half of the model's own clean objects are gone, between severities on a line; None: never

The cells of a sweep as its figures: points, P, mPC and rPC, interactions, breaking points. See `robustness`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.features.accuracy.bootstrap import holm, interval, p_value
from qviz.features.comparison.matching import breaking_point
from qviz.features.corruption_sweep.cell import Cell

if TYPE_CHECKING:
    import pandas as pd


CLEAN = "clean"
"""The corruption's name in the rows of severity 0."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model under one corruption at one severity; see `shift_cell`. low, high: 95 % interval of `value`.

    clipped_share: mean over the variant's layers of the share of FP32's activations outside of its ranges (see
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
    """breaking_point: of the share still found, averaged over the corruptions."""

    model: str
    p: float | None
    mpc: float | None
    rpc: float | None
    breaking_point: float | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One variant under one corruption; in AP, or in agreement."""

    model: str
    corruption: str
    value: float | None
    low: float | None
    high: float | None
    significant: bool | None


@dataclass(frozen=True, slots=True)
class Breaking:
    """One model under one corruption."""

    model: str
    corruption: str
    severity: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Robustness:
    """models: the reference first. corruptions: those that are done. annotated: whether `value` is AP."""

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
    warnings: tuple[dict[str, Any], ...] = ()

    @property
    def measure(self) -> str:
        """What `value` is, in a word."""
        return "AP" if self.annotated else "agreement"

    def curve(self, model: str, corruption: str) -> tuple[Point, ...]:
        """The clean point and those of one corruption, by severity."""
        rows = (row for row in self.points if row.model == model and row.corruption in (CLEAN, corruption))
        return tuple(sorted(rows, key=lambda row: row.severity))

    def interaction(self, model: str, corruption: str) -> Interaction | None:
        """What quantization loses beyond FP32 there."""
        rows = (row for row in self.interactions if (row.model, row.corruption) == (model, corruption))
        return next(rows, None)

    def to_json(self) -> dict[str, Any]:
        """As `qviz robustness --json` prints it."""
        return {
            "dataset": {"name": self.dataset, "images": self.images, "annotated": self.annotated},
            "measure": self.measure,
            "corruptions": list(self.corruptions),
            "severities": list(self.severities),
            "points": [asdict(row) for row in self.points],
            "summary": [asdict(row) for row in self.summary],
            "interactions": [asdict(row) for row in self.interactions],
            "breaking_points": [asdict(row) for row in self.breaking_points],
            "images_per_second": self.images_per_second,
            "skipped": list(self.skipped),
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a model, corruption and severity."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.points], columns=list(Point.__slots__))


Cells = Mapping[tuple[str, str, int], Cell]
"""(model, corruption, severity) -> cell; the clean images are corruption `CLEAN`, severity 0."""


def points(cells: Cells, images: int) -> tuple[Point, ...]:
    """A row a cell."""
    rows = []
    for (model, corruption, severity), cell in cells.items():
        low, high = interval(cell.draws, images)
        rows.append(
            Point(
                model, corruption, severity, cell.ap, cell.agreement, cell.mean_score, cell.still_found,
                cell.value, low, high,
            )
        )  # fmt: skip
    return tuple(rows)


def summaries(
    cells: Cells, models: Sequence[str], corruptions: Sequence[str], severities: Sequence[int]
) -> tuple[ModelSummary, ...]:
    """A row a model."""
    rows = []
    for model in models:
        clean = cells[model, CLEAN, 0].value
        means = [_mean(cells[model, name, level].value for level in severities) for name in corruptions]
        mean = _mean(means)
        kept = [_mean(cells[model, name, level].still_found for name in corruptions) for level in severities]
        share = mean / clean if mean is not None and clean else None
        rows.append(ModelSummary(model, clean, mean, share, breaking_point(severities, kept)))
    return tuple(rows)


def breaking_points(
    cells: Cells, models: Sequence[str], corruptions: Sequence[str], severities: Sequence[int]
) -> tuple[Breaking, ...]:
    """A row a model and corruption."""
    return tuple(
        Breaking(model, name, breaking_point(severities, [cells[model, name, s].still_found for s in severities]))
        for model in models
        for name in corruptions
    )


def interactions(
    cells: Cells, models: Sequence[str], corruptions: Sequence[str], severities: Sequence[int], images: int
) -> tuple[Interaction, ...]:
    """A row a variant and corruption."""
    reference, *variants = models
    return tuple(
        row for variant in variants for row in _of_variant(cells, reference, variant, corruptions, severities, images)
    )


def _of_variant(
    cells: Cells, reference: str, variant: str, corruptions: Sequence[str], severities: Sequence[int], images: int
) -> Iterator[Interaction]:
    """Significance is said of all corruptions together."""
    pair = reference, variant
    found = [_interaction(cells, pair, name, severities) for name in corruptions]
    sure = [None if value is None or images < 2 else p_value(value, lost, images) for value, lost in found]
    for name, (value, lost), p, held in zip(corruptions, found, sure, holm(sure), strict=True):
        low, high = interval(lost, images)
        yield Interaction(variant, name, value, low, high, None if p is None else held)


def _interaction(
    cells: Cells, pair: tuple[str, str], corruption: str, severities: Sequence[int]
) -> tuple[float | None, np.ndarray]:
    """The value and its draws (R,)."""
    first, second = ([cells[model, corruption, level] for level in severities] for model in pair)
    clean = [cells[model, CLEAN, 0] for model in pair]
    draws = np.mean([a.draws - b.draws for a, b in zip(first, second, strict=True)], axis=0)
    values = [cell.value for cell in (*first, *second, *clean)]
    if any(value is None for value in values):
        return None, draws
    known = [float(value) for value in values if value is not None]
    count = len(severities)
    under = (sum(known[:count]) - sum(known[count : 2 * count])) / count
    return under - (known[-2] - known[-1]), draws - (clean[0].draws - clean[1].draws)


def _mean(values: Iterator[float | None] | Sequence[float | None]) -> float | None:
    """None where one of them is unknown: a mean over other severities would be another figure."""
    known = list(values)
    if not known or any(value is None for value in known):
        return None
    return float(np.mean([value for value in known if value is not None]))
