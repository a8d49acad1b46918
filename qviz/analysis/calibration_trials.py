"""The calibrations that a lab tries, one after the other; ranges that have to be measured are measured when it comes
to them, so that the first results are there early."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.analysis.calibration_figures import Outlier
from qviz.analysis.calibration_mismatch import MISTAKES, Given
from qviz.analysis.calibration_outliers import removed
from qviz.errors import QuantizeError
from qviz.quantize import METHODS, Calibration, ImageRanges, calibration_of, see_ranges

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
METHODS_TOLD = {
    "minmax": "smallest and largest value of all images",
    "moving_average": "moving average over the images",
    "percentile": "99.99% of each image's values",
}


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One calibration to build. group: curve, method, outliers or mismatch."""

    group: str
    name: str
    told: str
    images: int
    calibration: Calibration


def curve_sizes(images: int) -> tuple[int, ...]:
    """Powers of two up to three quarters, and all of them: draws of nearly all would be the same images."""
    return (*(size for size in SIZES if 4 * size <= 3 * images and size < images), images)


def curve(seen: ImageRanges, model: str, method: str, draws: int, seed: int) -> Iterator[Trial]:
    """All images first, then draw after draw over the sizes: the whole curve is there early, and gets surer."""
    *sizes, count = curve_sizes(seen.images)
    yield Trial("curve", "all", f"all {count} images", count, calibration_of(seen, model, method))
    for draw in range(draws):
        for size in sizes:
            rows = np.random.default_rng([seed, size, draw]).choice(count, size, replace=False)
            ranges = calibration_of(seen.of(rows.tolist()), model, method)
            told = f"{'1 image' if size == 1 else f'{size} images'}, draw {draw + 1}"
            yield Trial("curve", f"{size}/{draw + 1}", told, size, ranges)


def mistakes(given: Given, names: Sequence[str] | None = None) -> Iterator[Trial]:
    """Those of `MISTAKES` that can be made. Raises QuantizeError, WorkerError."""
    for name in MISTAKES if names is None else names:
        made = MISTAKES[name](given)
        if made is not None and made[0].images:
            ranges, told = made
            found = calibration_of(ranges, given.model.digest, given.method)
            yield Trial("mismatch", name, told, ranges.images, found)


def other_methods(given: Given) -> Iterator[Trial]:
    """All images, their ranges summed up in the other ways."""
    for method in METHODS:
        if method != given.method:
            seen = given.seen
            if "percentile" in (method, given.method):  # what an image showed was read another way
                arguments = (given.engine, given.model, given.settings, given.images, method)
                seen = see_ranges(*arguments, given.progress(), len(given.images))
            found = calibration_of(seen, given.model.digest, method)
            yield Trial("method", method, METHODS_TOLD[method], seen.images, found)


def without_outliers(given: Given, found: Sequence[Outlier]) -> Iterator[Trial]:
    """The images that widen the ranges most left out."""
    left_out = set(removed(found, given.seen.images))
    rows = [row for row, digest in enumerate(given.seen.digests) if digest not in left_out]
    if left_out and rows:
        told = f"without the {len(left_out)} images that widen the ranges most" if len(left_out) > 1 else "without it"
        ranges = calibration_of(given.seen.of(rows), given.model.digest, given.method)
        yield Trial("outliers", "without_outliers", told, len(rows), ranges)


def skipping(trials: Callable[[], Iterator[Trial]], said: list[str]) -> Iterator[Trial]:
    """Until one cannot be measured, which is said: the others' figures stand."""
    try:
        yield from trials()
    except QuantizeError as error:
        said.append(str(error))
