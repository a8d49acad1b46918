"""The cells of a sweep as its figures: points, P, mPC and rPC, interactions, breaking points. See `robustness`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from qviz.analysis.found_again import breaking_point
from qviz.analysis.robustness import CLEAN, Breaking, Interaction, ModelSummary, Point
from qviz.analysis.shift_cell import Cell
from qviz.analysis.significance import holm, interval, p_value

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
