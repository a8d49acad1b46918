"""Check that boxes are in the order and the unit that their format declares.

A reading is an order of the four numbers together with a unit. A box fits a reading if it has an area and lies inside
its image. If many boxes do not fit the declared reading and (nearly) all boxes fit another one, the other reading is
reported. Boxes in pixels that are all far too small would fit inside their images, too. They are therefore taken as
shares, per cent or thousandths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.datasets.problems import MAX_EXAMPLES
from qviz.formatting import plural
from qviz.structures import DatasetProblem

TOLERANCE, PIXELS = 0.01, 2.0
"""A box may reach beyond its image by this share of a side plus this many pixels."""
FITS, FITS_WELL = 0.95, 0.99
"""Shares of the boxes that must fit another reading before it is reported, see `MISFITS`."""
MISFITS = ((0.1, 2, FITS), (0.05, 3, FITS_WELL))
"""(share and number of boxes that must not fit the declared reading, share that must fit the other reading)."""
LARGEST_SHARE = 1.5
ENOUGH_BOXES = 10
"""Minimum number of boxes, all of them small, before the unit of boxes that fit is doubted."""
SMALL = 1.6
"""Values are taken as per cent or thousandths only if the shorter side of most images is at least this many times the
largest possible value (100 or 1000)."""

_HALVES = np.array([-0.5, -0.5, 0.5, 0.5])
ORDERS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "xywh": ("x, y, width, height", lambda v: np.concatenate([v[:, :2], v[:, :2] + v[:, 2:]], axis=1)),
    "xyxy": ("corners x1, y1, x2, y2", lambda v: v),
    "centre": ("centre x, centre y, width, height", lambda v: np.tile(v[:, :2], 2) + v[:, [2, 3, 2, 3]] * _HALVES),
    "yxyx": ("corners y1, x1, y2, x2", lambda v: v[:, [1, 0, 3, 2]]),
    "xxyy": ("x1, x2, y1, y2", lambda v: v[:, [0, 2, 1, 3]]),
    "yxhw": ("y, x, height, width", lambda v: np.concatenate([v[:, [1, 0]], v[:, [1, 0]] + v[:, [3, 2]]], axis=1)),
}
"""Order of the numbers -> (its description, a function from (n, 4) numbers in that order to (n, 4) corners x1, y1, x2,
y2). The most likely orders come first."""
UNITS = {
    "pixels": 0.0,
    "normalised shares of the image (0 to 1)": 1.0,
    "per cent of the image": 100.0,
    "thousandths": 1000.0,
}
"""Unit -> the number that stands for a whole side of the image; 0 for pixels."""
PIXEL, SHARE, PER_CENT, THOUSANDTHS = UNITS


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to read four numbers as a box. order: a key of `ORDERS`; unit: a key of `UNITS`."""

    order: str
    unit: str

    def corners(self, values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(n, 4) x1, y1, x2, y2 in pixels. values: (n, 4) as written in the file; sizes: (n, 2) width and height."""
        whole = UNITS[self.unit]
        corners = ORDERS[self.order][1](values.astype(np.float64))
        return corners * np.tile(sizes, 2) / whole if whole else corners

    def fits(self, values: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """(n,) bool: whether each box has an area and lies inside its image, within the tolerance."""
        corners, far = self.corners(values, sizes), np.tile(sizes, 2)
        slack = TOLERANCE * far + PIXELS
        inside = ((corners >= -slack) & (corners <= far + slack)).all(axis=1)
        return np.asarray(inside & (corners[:, 2:] > corners[:, :2]).all(axis=1))

    @property
    def text(self) -> str:
        return f"{ORDERS[self.order][0]} in {self.unit}"


COCO, YOLO = Reading("xywh", PIXEL), Reading("centre", SHARE)
VOC, TFRECORD = Reading("xyxy", PIXEL), Reading("xyxy", SHARE)


@dataclass(slots=True)
class WrittenBoxes:
    """All boxes of a dataset as written in its files, each with the size and the name of its image."""

    declared: Reading
    values: list[Sequence[float]]
    sizes: list[tuple[int, int]]
    names: list[str]

    @classmethod
    def of(cls, declared: Reading) -> WrittenBoxes:
        return cls(declared, [], [], [])

    def add(self, values: Sequence[float], size: tuple[int, int] | None, name: str) -> None:
        """Add a box. size: (width, height) of its image; without it the box cannot be judged and is not added."""
        if size is not None:
            self.values.append(values)
            self.sizes.append(size)
            self.names.append(name)

    def problem(self) -> DatasetProblem | None:
        """A wrong order or unit, else boxes that extend beyond their images, else None."""
        values, sizes = np.array(self.values, np.float64).reshape(-1, 4), np.array(self.sizes).reshape(-1, 2)
        good = np.asarray((np.abs(values) < 1e9).all(axis=1))  # NaN is excluded as well
        values, sizes = values[good], sizes[good]
        names = [name for name, usable in zip(self.names, good, strict=True) if usable]
        if not len(values):
            return None
        other = other_reading(self.declared, values, sizes)
        if other is None:
            return _beyond(self.declared, values, sizes, names)
        return _misread(self.declared, other, values, sizes, names)


def _misread(
    declared: Reading, other: Reading, values: np.ndarray, sizes: np.ndarray, names: list[str]
) -> DatasetProblem:
    """The problem that boxes are written in another reading than the declared one."""
    misfits = np.flatnonzero(~declared.fits(values, sizes))
    fitting = int(other.fits(values, sizes).sum())
    fit = f"as {other.text} {'all' if fitting == len(values) else fitting} fit"
    if other.unit == declared.unit:
        code, wrong = "box_order", misfits
        message = (
            f"Read as {declared.text}, {len(misfits)} of {plural(len(values), 'box')}"
            f" {'reaches' if len(misfits) == 1 else 'reach'} beyond the image or"
            f" {'has' if len(misfits) == 1 else 'have'} no area; {fit}."
        )
    else:
        code, wrong = "box_unit", np.arange(len(values))
        message = (
            f"{plural(len(values), 'box')} {'is' if len(values) == 1 else 'are'} read as {declared.text}, and no number"
            f" is above {np.abs(values).max():.4g}; {fit}."
        )
        if declared.unit == SHARE:
            message = f"Boxes are read as {declared.text}, and their numbers reach {np.abs(values).max():.4g}; {fit}."
    return DatasetProblem(
        code,
        message,
        f"Write boxes as {declared.text}; these are probably {other.text}.",
        len(wrong),
        tuple(f"{names[i]}: {_numbers(values[i])}" for i in wrong[:MAX_EXAMPLES]),
        serious=True,
    )


def other_reading(declared: Reading, values: np.ndarray, sizes: np.ndarray) -> Reading | None:
    """The reading in which the boxes were probably written, or None if the declared one is plausible."""
    units = _likely_units(declared, values, sizes)
    readings = [Reading(order, unit) for unit in units for order in _orders(declared)]
    shares = [float(reading.fits(values, sizes).mean()) for reading in readings]
    best = int(np.argmax(shares))
    needed = FITS if declared.unit not in units else _needed(int((~declared.fits(values, sizes)).sum()), len(values))
    return readings[best] if readings[best] != declared and shares[best] >= needed else None


def _needed(misfits: int, boxes: int) -> float:
    """Share of the boxes that must fit another reading; infinite if too few boxes do not fit the declared one."""
    return min(
        (fits for share, count, fits in MISFITS if misfits >= max(share * boxes, min(count, boxes))), default=np.inf
    )


def _orders(declared: Reading) -> list[str]:
    return [declared.order, *(order for order in ORDERS if order != declared.order)]


def _likely_units(declared: Reading, values: np.ndarray, sizes: np.ndarray) -> list[str]:
    """The units that are possible given the size of the numbers, the declared one first if it is among them."""
    largest, typical = float(np.abs(values).max()), float(np.median(np.abs(values)))
    shortest = float(np.median(sizes.min(axis=1)))
    if (largest if declared.unit == PIXEL else typical) <= LARGEST_SHARE and shortest > 8:
        return [SHARE]
    for unit in (PER_CENT, THOUSANDTHS):
        whole = UNITS[unit]
        spread_out = len(values) >= ENOUGH_BOXES and largest > 0.6 * whole
        if spread_out and largest <= 1.01 * whole and shortest >= SMALL * whole:
            return [unit]
    return [PIXEL, *(unit for unit in (PER_CENT, THOUSANDTHS) if largest <= 1.01 * UNITS[unit])]


def _beyond(declared: Reading, values: np.ndarray, sizes: np.ndarray, names: list[str]) -> DatasetProblem | None:
    """The problem that some boxes extend beyond their images while others lie inside, or None."""
    corners, far = declared.corners(values, sizes), np.tile(sizes, 2)
    slack = TOLERANCE * far + PIXELS
    beyond = ((corners < -slack) | (corners > far + slack)).any(axis=1)
    if not beyond.any():
        return None
    count = int(beyond.sum())
    examples = [
        f"{names[i]}: {_numbers(values[i])} in {sizes[i][0]} x {sizes[i][1]}"
        for i in np.flatnonzero(beyond)[:MAX_EXAMPLES]
    ]
    reaches = "reaches" if count == 1 else "reach"
    return DatasetProblem(
        "box_beyond_image",
        f"{count} of {plural(len(values), 'box')} {reaches} beyond {'its image' if count == 1 else 'their images'}.",
        "Clip them to the image; if there are many, check the size of the images they were drawn on.",
        count,
        tuple(examples),
        serious=count > len(values) / 2,
    )


def _numbers(values: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.5g}" for value in values) + "]"
