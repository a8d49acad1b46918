"""Cut some operators out of a .tflite file into a file of their own.

The new file (a piece) has these operators with their options; the tensors that they use, with shape, type, quantization
and the variable flag; and the data of their constants. Data that several constants share is stored once. The inputs of
the piece are tensors 0..n-1 and its outputs n..n+m-1, in the given order. If an operator runs other subgraphs, all
subgraphs are copied with the same indices. Metadata and signatures are left out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError, reason
from qviz.structures import Graph
from qviz.tflite.schema import IDENTIFIER

CALLERS = frozenset({
    "CALL", "CALL_ONCE", "IF", "WHILE", "REDUCE_WINDOW", "STABLEHLO_COMPOSITE", "STABLEHLO_REDUCE",
    "STABLEHLO_REDUCE_WINDOW", "STABLEHLO_SCATTER", "STABLEHLO_SORT", "STABLEHLO_WHILE",
})  # fmt: skip
"""Operators that run another subgraph of the file."""

ALIGNMENT = 16
"""Alignment of a buffer's data in bytes: the schema requires it, and kernels may read whole vectors."""

EMPTY = np.zeros(0, np.uint8)


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause Python's garbage collector. Cutting creates many objects but no cycles, and is 40 % faster this way."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


class Cutter:
    """Cuts pieces out of one file; weights are copied only when a piece is packed.

    Raises:
        ModelError: The flatbuffer cannot be read.
    """

    def __init__(self, data: bytes, graph: Graph) -> None:
        self._bytes = np.frombuffer(data, np.uint8)
        self._graph = graph
        try:
            self._model: Any = fb.ModelT.InitFromPackedBuf(data)
        except Exception as error:  # the generated reader may raise any exception
            raise ModelError(
                f"is damaged: its flatbuffer cannot be unpacked{reason(error)}. Export it again."
            ) from error

    def variable(self, tensor: int) -> bool:
        """Whether a tensor is a variable, whose value remains from one run to the next."""
        return bool(self._model.subgraphs[0].tensors[tensor].isVariable)

    def constant(self, tensor: int) -> np.ndarray:
        """The data of a constant as bytes, (bytes,) uint8."""
        return self.contents(self._model.subgraphs[0].tensors[tensor].buffer)

    def contents(self, buffer: int) -> np.ndarray:
        """The data of a buffer, (bytes,) uint8; empty if it has none. Files over 2 GB store it after the flatbuffer."""
        if not 0 < buffer < len(self._model.buffers):
            return EMPTY
        stored = self._model.buffers[buffer]
        if stored.offset > 1:
            return self.region(stored.offset, stored.size)
        return EMPTY if stored.data is None else np.asarray(stored.data, np.uint8)

    def region(self, start: int, size: int) -> np.ndarray:
        """`size` bytes of the file from byte `start` on, (size,) uint8."""
        return self._bytes[start : start + size]

    def cut(
        self,
        orders: Sequence[int],
        inputs: Sequence[int],
        outputs: Sequence[int],
        constants: Mapping[int, np.ndarray] | None = None,
    ) -> bytes:
        """Cut a piece and return it as the bytes of a .tflite file.

        Args:
            orders: Indices of the operators, in the order in which they run.
            inputs, outputs: Tensors of the file that become the inputs and outputs of the piece.
            constants: Tensor -> value, for activations that become constants and constants that get another value.
        """
        piece = _Piece(self, constants or {})
        calls = any(self._graph.ops[order].kind in CALLERS for order in orders)
        subgraphs = [piece.main(self._model.subgraphs[0], orders, inputs, outputs)]
        subgraphs += [piece.whole(subgraph) for subgraph in self._model.subgraphs[1:] if calls]
        return piece.packed(subgraphs, self._model.operatorCodes)


class _Numbers(dict[int, int]):
    """Old index -> new index. A new index is assigned at the first look-up; -1 (absent) stays -1."""

    def __missing__(self, old: int) -> int:
        if old < 0:
            return -1
        self[old] = len(self)
        return self[old]

    def of(self, olds: Sequence[int] | None) -> list[int] | None:
        return None if olds is None else [self[int(old)] for old in olds]


class AlignedBuilder(flatbuffers.Builder):  # type: ignore[misc]
    """A flatbuffer builder that aligns the data of buffers to ALIGNMENT bytes; the generated code does not align it."""

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        self.Prep(ALIGNMENT, x.nbytes)
        return int(super().CreateNumpyVector(x))


class _Piece:
    """A piece under construction, with the buffers and operator codes that it needs so far."""

    def __init__(self, cutter: Cutter, constants: Mapping[int, np.ndarray]) -> None:
        self._cutter, self._constants = cutter, constants
        self._codes = _Numbers()
        self._buffers: list[np.ndarray] = [EMPTY]
        self._placed = {0: 0}  # buffer of the file -> buffer of the piece

    def main(self, source: Any, orders: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]) -> Any:
        numbers = _Numbers()
        subgraph = fb.SubGraphT(inputs=numbers.of(inputs), outputs=numbers.of(outputs))
        subgraph.operators = [self._operator(source.operators[order], numbers) for order in orders]
        subgraph.tensors, olds = [], list(numbers)
        for old in olds:  # the loop appends to it: tensors that hold blockwise scales
            subgraph.tensors.append(self._tensor(source.tensors[old], self._constants.get(old)))
            _renumber_scales(subgraph.tensors[-1], numbers)
            olds += list(numbers)[len(olds) :]
        return subgraph

    def whole(self, source: Any) -> Any:
        """A copy of another subgraph, with new numbers of buffers and operator codes."""
        subgraph = copy(source)
        subgraph.tensors = [self._tensor(tensor) for tensor in source.tensors or ()]
        subgraph.operators = [self._operator(operator) for operator in source.operators or ()]
        return subgraph

    def packed(self, subgraphs: Sequence[Any], codes: Sequence[Any]) -> bytes:
        model = fb.ModelT(version=3, operatorCodes=[codes[old] for old in self._codes], subgraphs=list(subgraphs))
        model.buffers = [fb.BufferT(data=data if data.size else None) for data in self._buffers]
        builder = AlignedBuilder(4096 + sum(data.nbytes + ALIGNMENT for data in self._buffers))
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _operator(self, source: Any, numbers: _Numbers | None = None) -> Any:
        operator = copy(source)
        operator.opcodeIndex = self._codes[source.opcodeIndex]
        if numbers is not None:
            operator.inputs, operator.outputs = numbers.of(source.inputs), numbers.of(source.outputs)
            operator.intermediates = numbers.of(source.intermediates)
        if source.largeCustomOptionsOffset > 1:
            operator.customOptions = self._cutter.region(source.largeCustomOptionsOffset, source.largeCustomOptionsSize)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
        return operator

    def _tensor(self, source: Any, value: np.ndarray | None = None) -> Any:
        tensor = copy(source)
        if value is not None:
            tensor.buffer = self._append(np.ascontiguousarray(value).reshape(-1).view(np.uint8))
        else:
            if source.buffer not in self._placed:
                data = self._cutter.contents(source.buffer)
                self._placed[source.buffer] = self._append(data) if data.size else 0
            tensor.buffer = self._placed[source.buffer]
        return tensor

    def _append(self, data: np.ndarray) -> int:
        self._buffers.append(data)
        return len(self._buffers) - 1


def _renumber_scales(tensor: Any, numbers: _Numbers) -> None:
    """Give new numbers to the tensors in which blockwise quantization stores scales and zero points."""
    quantization = tensor.quantization
    if quantization is None or quantization.detailsType != fb.QuantizationDetails.BlockwiseQuantization:
        return
    details = copy(quantization.details)
    details.scales, details.zeroPoints = numbers[details.scales], numbers[details.zeroPoints]
    tensor.quantization = copy(quantization)
    tensor.quantization.details = details
