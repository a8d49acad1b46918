"""From cells to the lab's figures: losses with their intervals, and the points of the curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qviz.analysis.calibration_figures import CurvePoint, Tried
from qviz.analysis.calibration_trials import Trial
from qviz.analysis.shift_cell import Cell
from qviz.analysis.significance import interval
from qviz.structures import Loss

Done = Mapping[Trial, Cell | str]
"""Cells, or why there is none."""
LARGE = 2
"""So many of the largest numbers of images stand for a calibration that has enough of them."""


def judged(done: Done, reference: Cell, images: int) -> list[tuple[Trial, Tried]]:
    """A row a trial. images: how many were judged."""
    sizes = _by_size(done)
    large = _large(sizes)
    rows = []
    for trial, cell in done.items():
        if isinstance(cell, str):
            rows.append((trial, Tried(trial.name, trial.told, trial.images, refused=cell)))
            continue
        enough = trial.group == "curve" or trial.images == max(sizes, default=0)
        matching = large if enough else sizes.get(trial.images, large)
        loss, extra = lost([reference], [cell], images), lost(matching, [cell], images)
        rows.append((trial, Tried(trial.name, trial.told, trial.images, cell.ap, cell.agreement, loss, extra)))
    return rows


def _by_size(done: Done) -> dict[int, list[Cell]]:
    """The curve's cells, from few images to many."""
    sizes: dict[int, list[Cell]] = {}
    for trial, cell in done.items():
        if trial.group == "curve" and isinstance(cell, Cell):
            sizes.setdefault(trial.images, []).append(cell)
    return {size: sizes[size] for size in sorted(sizes)}


def _large(sizes: Mapping[int, list[Cell]]) -> list[Cell]:
    return [cell for size in list(sizes)[-LARGE:] for cell in sizes[size]]


def lost(against: Sequence[Cell], cells: Sequence[Cell], images: int) -> Loss:
    """The mean of some cells minus the mean of others, paired over the resamples."""
    values = [cell.value for cell in (*against, *cells)]
    if not against or not cells or any(value is None for value in values):
        return Loss(None)
    known = np.array(values, np.float64)
    first, second = (np.mean([cell.draws for cell in row], axis=0) for row in (against, cells))
    low, high = interval(first - second, images)
    sure = None if low is None or high is None else low > 0 or high < 0
    return Loss(float(known[: len(against)].mean() - known[len(against) :].mean()), low, high, sure)


def curve_points(done: Done, rows: Sequence[tuple[Trial, Tried]], images: int) -> tuple[CurvePoint, ...]:
    """A point a number of images, from few to many. rows: of `judged`."""
    sizes = _by_size(done)
    large = _large(sizes)
    numbers = sorted({tried.images for trial, tried in rows if trial.group == "curve"})
    return tuple(
        _point(
            number,
            tuple(tried for trial, tried in rows if trial.group == "curve" and tried.images == number),
            sizes.get(number, []),
            lost(large, sizes.get(number, []), images),
        )
        for number in numbers
    )


def _point(size: int, tried: tuple[Tried, ...], cells: Sequence[Cell], extra: Loss) -> CurvePoint:
    values = [cell.value for cell in cells if cell.value is not None]
    aps = [cell.ap for cell in cells if cell.ap is not None]
    low, high = (min(values), max(values)) if values else (None, None)
    return CurvePoint(
        size, tried, _mean(aps), _mean([cell.agreement for cell in cells]), _mean(values), low, high, extra
    )


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
