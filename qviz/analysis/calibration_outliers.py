"""Which calibration images set the ranges alone: what each adds to the others' ranges, and what they would clip of it.

Only where ranges are the smallest and largest values of all images does one image decide; the figures are those of
`minmax` whatever the method, so that a method that hides outliers still shows them. See `calibration_figures`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qviz.analysis.calibration_figures import Outlier
from qviz.engine import Blob, Engine
from qviz.progress import OnProgress, silent
from qviz.quantize import ImageRanges
from qviz.quantize.clipping import clipped_job
from qviz.structures import EncodedImage, Settings

REMOVED = 0.1
"""Share of the images that are left out where a variant without outliers is tried."""
FEWEST = 8
"""From fewer images on, each would be one."""


def outliers(
    engine: Engine,
    model: Blob,
    settings: Settings,
    images: Sequence[EncodedImage],
    seen: ImageRanges,
    quantized: Collection[str],
    on_progress: OnProgress = silent,
) -> tuple[Outlier, ...]:
    """Every image that widens a range, the one that does so most first. images: those of `seen`, in its order."""
    kept = [column for column, name in enumerate(seen.names) if name in quantized]
    if len(images) < FEWEST or not kept:
        return ()
    low, high = without_each(seen.lows, seen.highs)
    jobs = [
        engine.submit(clipped_job, model, settings, [image], low[row : row + 1], high[row : row + 1])
        for row, image in enumerate(images)
    ]
    found = []
    for row, (image, job) in enumerate(zip(images, jobs, strict=True)):
        shares = job.result()[0][kept]
        times = _times(seen, low, high, row)[kept]
        widest = int(times.argmax())
        name = seen.names[kept[widest]]
        alone, most = int((times > 1).sum()), float(times[widest])
        mean = float((times - 1).mean())
        found.append(Outlier(image.name, image.digest, float(shares.mean()), mean, alone, name, most))
        on_progress(row + 1, len(images))
    return tuple(sorted((row for row in found if row.layers), key=lambda row: -row.widening))


def without_each(lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(images, tensors) ends of the ranges that all the other images show; NaN is left out. Two images or more."""
    return _others(lows), -_others(-highs)


def _others(values: np.ndarray) -> np.ndarray:
    """The smallest value of the other rows: the smallest of all, or the second where a row holds that itself."""
    filled = np.where(np.isnan(values), np.inf, values)
    order = np.partition(filled, 1, axis=0)
    first = np.where(np.arange(len(filled))[:, None] == filled.argmin(axis=0), order[1], order[0])
    return np.where(np.isinf(first), np.nan, first)


def _times(seen: ImageRanges, low: np.ndarray, high: np.ndarray, row: int) -> np.ndarray:
    """(tensors,) how many times as wide each range is with this image as without it."""
    ends = np.fmin(low[row], seen.lows[row]), np.fmax(high[row], seen.highs[row])
    before = high[row] - low[row]
    known = np.isfinite(before) & (before > 0)
    return np.divide(ends[1] - ends[0], before, out=np.ones(len(before)), where=known)


def removed(found: Sequence[Outlier], images: int) -> tuple[str, ...]:
    """Digests of the images that a calibration without outliers leaves out."""
    return tuple(row.digest for row in found[: max(1, int(REMOVED * images))]) if images >= FEWEST else ()
