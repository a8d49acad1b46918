"""A network as its file states it: tensors and operators of the main subgraph, no weights.

Foreign indices become plain tuples once, in `qviz.tflite.schema`; an operator's absent optional input (-1 in the
file) is None.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from qviz.structures.quantization import Quantization


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """shape in elements (-1 where the file leaves it open); dtype: numpy's name; constant: its data is in the file."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    constant: bool
    bytes: int = 0

    @property
    def quantized(self) -> bool:
        """Integers that stand for real values."""
        return self.quantization is not None and self.dtype in QUANTIZED_DTYPES


@dataclass(frozen=True, slots=True)
class Op:
    """kind is the builtin's name (CONV_2D) or, for a custom operator, its custom name; order counts from 0."""

    order: int
    kind: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    custom: bool = False
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The main subgraph. `inputs` and `outputs` are tensor indices; `signature` maps the names a signature gives."""

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int = 1
    description: str = ""
    signature: dict[str, int] = field(default_factory=dict)

    def input_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.outputs)

    def op_inputs(self, op: Op) -> Iterator[Tensor]:
        """The operator's inputs that are there."""
        return (self.tensors[index] for index in op.inputs if index is not None)

    def op_outputs(self, op: Op) -> Iterator[Tensor]:
        return (self.tensors[index] for index in op.outputs)

    def producer(self, tensor: int) -> Op | None:
        """The operator that writes a tensor, or None for inputs and constants."""
        return next((op for op in self.ops if tensor in op.outputs), None)


QUANTIZED_DTYPES = frozenset({"int4", "int8", "uint8", "int16", "int2"})
