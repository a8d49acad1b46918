"""From cells to the lab's figures: losses with their intervals, and the points of the curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qviz.analysis.ap_figures import Loss
from qviz.analysis.calibration_figures import CurvePoint, Tried
from qviz.analysis.calibration_trials import Trial
from qviz.analysis.shift_cell import Cell
from qviz.analysis.significance import interval


def judged(done: Mapping[Trial, Cell | str], reference: Cell, images: int) -> list[tuple[Trial, Tried]]:
    """done: cells, or why there is none; images: how many were judged."""
    matching: dict[int, list[Cell]] = {}
    for trial, cell in done.items():
        if trial.group == "curve" and isinstance(cell, Cell):
            matching.setdefault(trial.images, []).append(cell)
    everything = matching.get(max(matching, default=0), [])
    rows = []
    for trial, cell in done.items():
        if isinstance(cell, str):
            rows.append((trial, Tried(trial.name, trial.told, trial.images, refused=cell)))
            continue
        against = everything if trial.group == "curve" else matching.get(trial.images, everything)
        loss, extra = lost([reference], cell, images), lost(against, cell, images)
        rows.append((trial, Tried(trial.name, trial.told, trial.images, cell.ap, cell.agreement, loss, extra)))
    return rows


def lost(against: Sequence[Cell], cell: Cell, images: int) -> Loss:
    """What the mean of some cells has above one, paired over the resamples."""
    values = [other.value for other in against]
    if not values or cell.value is None or any(value is None for value in values):
        return Loss(None)
    mean = float(np.mean([value for value in values if value is not None]))
    low, high = interval(np.mean([other.draws for other in against], axis=0) - cell.draws, images)
    sure = None if low is None or high is None else low > 0 or high < 0
    return Loss(mean - cell.value, low, high, sure)


def curve_points(tried: Sequence[Tried], annotated: bool) -> tuple[CurvePoint, ...]:
    """A point a number of images, from few to many."""
    sizes: dict[int, list[Tried]] = {}
    for row in tried:
        sizes.setdefault(row.images, []).append(row)
    return tuple(_point(size, tuple(sizes[size]), annotated) for size in sorted(sizes))


def _point(size: int, tried: tuple[Tried, ...], annotated: bool) -> CurvePoint:
    aps = [row.ap for row in tried if row.ap is not None]
    agreements = [row.agreement for row in tried if row.agreement is not None]
    values = aps if annotated else agreements
    low, high = (min(values), max(values)) if values else (None, None)
    return CurvePoint(size, tried, _mean(aps), _mean(agreements), _mean(values), low, high)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
