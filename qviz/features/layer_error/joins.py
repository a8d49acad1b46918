"""SQNR of each column of a joined tensor: the parts of a CONCATENATION share one scale, and narrow ones lose most.

column   a slice along the axis of the join; if that axis is longer than MAX_COLUMNS, one of the joined parts
uneven   a join is uneven if the SQNR of one column is UNEVEN_DB or more below that of the whole tensor. The widest
         column dominates the SQNR of the whole tensor

SQNR is in dB as in `tensor_error`. Columns that are equal in both networks, or (nearly) zero in FP32, have no SQNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.features.layer_error.figures import channel_sqnr_db, energies_db
from qviz.features.layer_error.tensor_error import sqnr_db
from qviz.structures import Graph, Op
from qviz.structures.graph import DATA_MOVERS, JOINS

JOINING = ("CONCATENATION", "PACK")
MAX_COLUMNS = 256
UNEVEN_DB = 10.0
MAX_SQNR_DB = 30.0
"""Columns with a higher SQNR are not reported, because they have lost little: 8 bits give about 40 dB at best."""


@dataclass(frozen=True, slots=True)
class JoinedColumns:
    """The columns of a joined tensor, measured on one or more images.

    Attributes:
        order, op_kind: Index and type of the operator that joins.
        unit: `column`, or `part` if the columns are the joined parts.
        count: Number of columns or parts.
        column, column_db: The column with the lowest SQNR, and that SQNR.
        widest: The column with the largest values.
        sqnr_db: SQNR of the whole tensor.
        scale: The scale that the parts share; None if they are float.
    """

    order: int
    op_kind: str
    unit: str
    count: int
    column: int
    column_db: float
    widest: int
    sqnr_db: float
    scale: float | None

    @property
    def uneven(self) -> bool:
        return self.column_db <= min(self.sqnr_db - UNEVEN_DB, MAX_SQNR_DB)

    @property
    def sentence(self) -> str:
        """A sentence that says which column is coarse, and which column's range determines the scale."""
        step = f" (step {self.scale:.3g})" if self.scale else ""
        return (
            f"It joins {self.count} {self.unit}s on one scale{step}: {self.unit} {self.column} keeps only"
            f" {self.column_db:.1f} dB. The {self.sqnr_db:.1f} dB of the whole tensor come from {self.unit}"
            f" {self.widest}, which has the largest values."
        )


@dataclass(slots=True)
class ColumnSums:
    """Sums of squares of each column over images, (columns,) float64: of the error and of the reference's values."""

    error: np.ndarray
    signal: np.ndarray

    def merge(self, other: ColumnSums) -> None:
        """Add the sums of other images."""
        self.error = self.error + other.error
        self.signal = self.signal + other.signal

    @property
    def worst(self) -> tuple[int, float] | None:
        """(column with the lowest SQNR, that SQNR in dB); None if all columns are equal or zero."""
        decibels = energies_db(self.signal, self.error)
        if not np.isfinite(decibels).any():
            return None
        column = int(np.nanargmin(decibels))
        return column, float(decibels[column])


def column_sums(graph: Graph, join: Op, x: np.ndarray, y: np.ndarray) -> ColumnSums | None:
    """Sums of each column of a join's output; None if the axis is not known or has more than MAX_COLUMNS columns."""
    axis = join_axis(graph, join)
    if axis is None or axis >= x.ndim or x.shape[axis] > MAX_COLUMNS:
        return None
    others = tuple(i for i in range(x.ndim) if i != axis)
    error = np.square(x - y).sum(axis=others, dtype=np.float64)
    return ColumnSums(error, np.square(x).sum(axis=others, dtype=np.float64))


def join_behind(graph: Graph, tensor: int) -> Op | None:
    """The operator that joined the values of a tensor, if all operators after it only move values; else None."""
    maker = graph.producer(tensor)
    while maker is not None and maker.kind in DATA_MOVERS - JOINS and maker.inputs and maker.inputs[0] is not None:
        maker = graph.producer(maker.inputs[0])
    return maker if maker is not None and maker.kind in JOINING else None


def join_ahead(graph: Graph, tensor: int) -> Op | None:
    """The operator that later joins a quantized tensor with other tensors of the same scale, or None.

    Operators in between may only move values. Converters give all parts of a join the same scale, even if the join
    itself is then computed in float.
    """
    scale, index = _scale(graph, tensor), tensor
    while scale is not None:
        reader = next((op for op in graph.ops if index in op.inputs), None)
        if reader is None or reader.kind not in DATA_MOVERS or not reader.outputs:
            return None
        if reader.kind in JOINING:
            sources = [source_of(graph, part) for part in reader.inputs if part is not None]
            return reader if sum(_scale(graph, source) == scale for source in sources) > 1 else None
        index = reader.outputs[0]
    return None


def source_of(graph: Graph, tensor: int) -> int:
    """Index of the quantized tensor from which this tensor's values were only moved; a quantized tensor is its own."""
    while not graph.tensors[tensor].quantized:
        maker = graph.producer(tensor)
        if maker is None or maker.kind not in DATA_MOVERS - JOINS or maker.inputs[0] is None:
            break
        tensor = maker.inputs[0]
    return tensor


def same_scale_makers(graph: Graph, join: Op) -> frozenset[int]:
    """Indices of the operators before a join whose outputs have its scale. To change the scale, all must change it."""
    orders: set[int] = set()
    tensors = {index for index in join.inputs if index is not None}
    scales = {_scale(graph, source_of(graph, index)) for index in tensors} - {None}
    for op in reversed(graph.ops[: join.order]):
        if tensors.intersection(op.outputs):
            orders.add(op.order)
            same = (i for i in op.inputs if i is not None and not graph.tensors[i].constant)
            is_float = not graph.tensors[op.outputs[0]].quantized
            tensors |= {i for i in same if (is_float and op.kind in DATA_MOVERS) or _scale(graph, i) in scales}
    return frozenset(orders)


def _scale(graph: Graph, tensor: int) -> float | None:
    quantization = graph.tensors[tensor].per_tensor
    return None if quantization is None else float(quantization.scales[0])


def joined_columns(graph: Graph, join: Op, xs: Sequence[np.ndarray], ys: Sequence[np.ndarray]) -> JoinedColumns | None:
    """The columns of a join; None if the axis is not known or nothing differs.

    xs, ys: real values of the joined parts in FP32 and in the variant; each pair has the same shape.
    """
    axis = join_axis(graph, join)
    if axis is None:
        return None
    joined = np.stack if join.kind == "PACK" else np.concatenate
    x, y = joined(list(xs), axis), joined(list(ys), axis)
    whole = sqnr_db(x, y)
    columns = channel_sqnr_db(x, y, axis)
    largest = np.abs(x).max(axis=tuple(i for i in range(x.ndim) if i != axis))
    unit = "column"
    if len(largest) > MAX_COLUMNS:
        unit = "part"
        columns = np.array([_db(*pair) for pair in zip(xs, ys, strict=True)])
        largest = np.array([np.abs(part).max(initial=0.0) for part in xs])
    if whole is None or len(columns) < 2 or not np.isfinite(columns).any():
        return None
    worst = int(np.nanargmin(columns))
    scale = next((s for i in join.inputs if i is not None and (s := _scale(graph, source_of(graph, i)))), None)
    return JoinedColumns(
        join.order, join.kind, unit, len(columns), worst, float(columns[worst]), int(np.argmax(largest)), whole, scale
    )


def _db(x: np.ndarray, y: np.ndarray) -> float:
    value = sqnr_db(x, y)
    return np.nan if value is None else value


def join_axis(graph: Graph, join: Op) -> int | None:
    """The axis of a join, from the shapes in the file; None if they do not determine it."""
    shape = graph.tensors[join.outputs[0]].shape
    parts = [graph.tensors[index].shape for index in join.inputs if index is not None]
    for axis in reversed(range(len(shape))):
        rest = (*shape[:axis], *shape[axis + 1 :])
        if join.kind == "PACK":
            fits = shape[axis] == len(parts) and all(part == rest for part in parts)
        else:
            fits = len(parts) > 1 and all((*part[:axis], *part[axis + 1 :]) == rest for part in parts)
            fits = fits and sum(part[axis] for part in parts) == shape[axis]
        if fits:
            return axis
    return None
