"""Which calibration images set the ranges alone: what each adds to the others' ranges, and what they would clip of it.

Only where ranges are the smallest and largest values of all images does one image decide; the figures are those of
`minmax` whatever the method, so that a method that hides outliers still shows them. See `calibration_figures`.

Whether the images at hand settle the ranges: two disjoint subsets should show the same. Nothing is run for it.

See `calibration_figures` for what a change is. 20 % of a range is a third of a bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qviz.engine import Blob, Engine
from qviz.features.building import ImageRanges, calibration_of
from qviz.features.building.calibration import clipped_job
from qviz.features.calibrating.result import LayerChange, Outlier, Stability, SubsetSize
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Graph, Settings

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


LIMIT = 0.2
SPLITS = 21


def stability(
    seen: ImageRanges, graph: Graph, quantized: Collection[str], sizes: Sequence[int], method: str, seed: int
) -> Stability | None:
    """None from fewer than two images. quantized: names of the tensors that get a range; sizes: of subsets to try."""
    half = seen.images // 2
    layers = _layers(seen, graph, quantized)
    if not half or not layers:
        return None
    rng = np.random.default_rng([seed, half])
    tried = [size for size in sizes if 4 * size <= 3 * half] + [half]
    rows = []
    for size in tried:
        splits = [rng.permutation(seen.images)[: 2 * size] for _ in range(SPLITS)]
        ends = [_ends(seen, split, list(layers), method) for split in splits]  # each (2, layers, 2)
        changes = np.mean([_change(pair) for pair in ends], axis=0)
        rows.append(
            SubsetSize(size, int((changes > LIMIT).sum()), float(np.median(changes)), float(changes.max(initial=0)))
        )
    return Stability(LIMIT, len(layers), half, _changed(layers, changes, ends), tuple(rows))


def _layers(seen: ImageRanges, graph: Graph, quantized: Collection[str]) -> dict[str, tuple[int, str]]:
    """tensor -> (order, kind of its operator); the network's input comes before the first, as order -1."""
    written = {tensor.name: (op.order, op.kind) for op in graph.ops for tensor in graph.op_outputs(op)}
    return {name: written.get(name, (-1, "INPUT")) for name in seen.names if name in quantized}


def _ends(seen: ImageRanges, split: np.ndarray, names: Sequence[str], method: str) -> np.ndarray:
    """(2 subsets, layers, 2 ends), NaN where a subset showed nothing."""
    half = len(split) // 2
    parts = [calibration_of(seen.of(rows.tolist()), "", method).ranges for rows in (split[:half], split[half:])]
    nothing = (np.nan, np.nan)
    return np.array([[part.get(name, nothing) for name in names] for part in parts])


def _change(ends: np.ndarray) -> np.ndarray:
    """(layers,)."""
    moved = np.abs(ends[0] - ends[1]).max(axis=1)
    width = ends[..., 1].max(axis=0) - ends[..., 0].min(axis=0)
    known = np.isfinite(moved) & (width > 0)
    return np.divide(moved, width, out=np.zeros(len(moved)), where=known)


def _changed(
    layers: dict[str, tuple[int, str]], changes: np.ndarray, splits: Sequence[np.ndarray]
) -> tuple[LayerChange, ...]:
    """The largest change first, each with a split in which it changes so much."""
    each = np.array([_change(pair) for pair in splits])  # (splits, layers)
    rows = []
    for column, (name, (order, kind)) in enumerate(layers.items()):
        if changes[column] > LIMIT:
            above = np.where(each[:, column] >= changes[column], each[:, column], np.inf)
            first, second = splits[int(above.argmin())][:, column]
            pairs = (float(first[0]), float(first[1])), (float(second[0]), float(second[1]))
            rows.append(LayerChange(order, name, kind, float(changes[column]), *pairs))
    return tuple(sorted(rows, key=lambda row: -row.change))
