"""Whether the images at hand settle the ranges: two disjoint subsets should show the same. Nothing is run for it.

See `calibration_figures` for what a change is. 20 % of a range is a third of a bit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from qviz.analysis.calibration_figures import LayerChange, Stability, SubsetSize
from qviz.quantize import ImageRanges, calibration_of
from qviz.structures import Graph

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
