"""Whether there are enough calibration images for stable ranges, and which single images determine a range.

Stability: two disjoint subsets of the images should give the same ranges. The change of a layer's range between two
subsets is the larger of the shifts of its two ends, in widths of the range that contains both. Changes are averaged
over seeded splits. Their median would miss content that only one image in ten shows, because such content is missing
from one of the two subsets in fewer than half of the splits.

Outliers: only with min-max ranges can a single image determine a range. Outliers are always computed with `minmax`, so
that they are found even if the chosen method is robust to them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qviz.context import Context
from qviz.features.building.calibration import ImageRanges, calibration_of, clipped_job
from qviz.features.calibrating.mistakes import CalibrationImages
from qviz.features.calibrating.result import LayerChange, Outlier, Stability, SubsetSize
from qviz.structures import Graph

MAX_CHANGE = 0.2
"""Largest acceptable change, as a share of the range: about a third of a bit (log2(1 / 0.8)). If a layer's range
changes by more, there are too few images."""
SPLITS = 21
OUTLIER_SHARE = 0.1
"""Share of the images that the variant without outliers leaves out."""
MIN_IMAGES = 8
"""With fewer images, nearly every image would be an outlier, so none is reported."""


def stability(
    measured: ImageRanges, graph: Graph, quantized: Collection[str], sizes: Sequence[int], method: str, seed: int
) -> Stability | None:
    """Compare disjoint subsets of the images, without running the network.

    Args:
        quantized: Names of the tensors that get a range.
        sizes: Sizes of the subsets to compare.
        method: Method that computes the ranges.

    Returns:
        The stability, or None if there are fewer than two images.
    """
    half = measured.images // 2
    layers = _layers(measured, graph, quantized)
    if not half or not layers:
        return None
    rng = np.random.default_rng([seed, half])
    rows = []
    for size in [*(size for size in sizes if 4 * size <= 3 * half), half]:
        splits = [rng.permutation(measured.images)[: 2 * size] for _ in range(SPLITS)]
        ends = [_subset_ranges(measured, split, list(layers), method) for split in splits]  # each (2, layers, 2)
        changes = np.mean([_change(pair) for pair in ends], axis=0)
        median, worst = float(np.median(changes)), float(changes.max(initial=0))
        rows.append(SubsetSize(size, int((changes > MAX_CHANGE).sum()), median, worst))
    return Stability(MAX_CHANGE, len(layers), half, _changed_layers(layers, changes, ends), tuple(rows))


def _layers(measured: ImageRanges, graph: Graph, quantized: Collection[str]) -> dict[str, tuple[int, str]]:
    """Tensor name -> (index, type) of the operator that writes it; the network's input has index -1."""
    written = {tensor.name: (op.order, op.kind) for op in graph.ops for tensor in graph.op_outputs(op)}
    return {name: written.get(name, (-1, "INPUT")) for name in measured.names if name in quantized}


def _subset_ranges(measured: ImageRanges, split: np.ndarray, names: Sequence[str], method: str) -> np.ndarray:
    """(2 subsets, layers, 2 ends) ranges, NaN where a subset has no value."""
    half = len(split) // 2
    subsets = [calibration_of(measured.of(rows.tolist()), "", method).ranges for rows in (split[:half], split[half:])]
    missing = (np.nan, np.nan)
    return np.array([[ranges.get(name, missing) for name in names] for ranges in subsets])


def _change(ends: np.ndarray) -> np.ndarray:
    """(layers,) change between two subsets. `ends` is (2 subsets, layers, 2 ends)."""
    moved = np.abs(ends[0] - ends[1]).max(axis=1)
    width = ends[..., 1].max(axis=0) - ends[..., 0].min(axis=0)
    valid = np.isfinite(moved) & (width > 0)
    return np.divide(moved, width, out=np.zeros(len(moved)), where=valid)


def _changed_layers(
    layers: dict[str, tuple[int, str]], changes: np.ndarray, splits: Sequence[np.ndarray]
) -> tuple[LayerChange, ...]:
    """The layers by falling change, each with the ranges of a split in which it changes by about its mean change."""
    each = np.array([_change(pair) for pair in splits])  # (splits, layers)
    rows = []
    for column, (name, (op_index, op_type)) in enumerate(layers.items()):
        if changes[column] > MAX_CHANGE:
            above = np.where(each[:, column] >= changes[column], each[:, column], np.inf)
            first, second = splits[int(above.argmin())][:, column]
            pairs = (float(first[0]), float(first[1])), (float(second[0]), float(second[1]))
            rows.append(LayerChange(op_index, name, op_type, float(changes[column]), *pairs))
    return tuple(sorted(rows, key=lambda row: -row.change))


def outliers(context: Context, images: CalibrationImages, quantized: Collection[str]) -> tuple[Outlier, ...]:
    """Every image that widens a range, the largest widening first. `quantized` names the tensors that get a range."""
    measured = images.measured
    columns = [column for column, name in enumerate(measured.names) if name in quantized]
    if measured.images < MIN_IMAGES or not columns:
        return ()
    low, high = ranges_without_each(measured.lows, measured.highs)
    model, settings = images.model, images.settings
    jobs = [
        context.engine.submit(clipped_job, model, settings, [image], low[row : row + 1], high[row : row + 1])
        for row, image in enumerate(images.images)
    ]
    rows = []
    for row, (image, job) in enumerate(zip(images.images, jobs, strict=True)):
        shares = context.wait(job)[0][columns]
        times = _widening(measured, low, high, row)[columns]
        widest = int(times.argmax())
        rows.append(
            Outlier(
                image=image.name,
                digest=image.digest,
                clipped_share=float(shares.mean()),
                widening=float((times - 1).mean()),
                layers=int((times > 1).sum()),
                tensor=measured.names[columns[widest]],
                times=float(times[widest]),
            )
        )
        context.progress.advance(row + 1, measured.images)
    return tuple(sorted((row for row in rows if row.layers), key=lambda row: -row.widening))


def ranges_without_each(lows: np.ndarray, highs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(images, tensors) low and high ends of the ranges without each image; NaN is ignored. Needs two images."""
    return _minimum_of_others(lows), -_minimum_of_others(-highs)


def _minimum_of_others(values: np.ndarray) -> np.ndarray:
    """For each row, the smallest value of the other rows: the minimum or, for the row that has it, the second one."""
    filled = np.where(np.isnan(values), np.inf, values)
    order = np.partition(filled, 1, axis=0)
    smallest = np.where(np.arange(len(filled))[:, None] == filled.argmin(axis=0), order[1], order[0])
    return np.where(np.isinf(smallest), np.nan, smallest)


def _widening(measured: ImageRanges, low: np.ndarray, high: np.ndarray, row: int) -> np.ndarray:
    """(tensors,) width of each range with this image over its width without it."""
    ends = np.fmin(low[row], measured.lows[row]), np.fmax(high[row], measured.highs[row])
    before = high[row] - low[row]
    valid = np.isfinite(before) & (before > 0)
    return np.divide(ends[1] - ends[0], before, out=np.ones(len(before)), where=valid)


def outliers_to_remove(outliers: Sequence[Outlier], images: int) -> tuple[str, ...]:
    """Digests of the images that a calibration without outliers leaves out: the worst `OUTLIER_SHARE` of all images.

    images: number of calibration images. Empty if there are fewer than `MIN_IMAGES`.
    """
    return tuple(row.digest for row in outliers[: max(1, int(OUTLIER_SHARE * images))]) if images >= MIN_IMAGES else ()
