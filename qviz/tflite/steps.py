"""The one-operator models of a .tflite file: which operators run together, and the interpreter of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qviz.errors import ModelError
from qviz.structures import Graph, Op
from qviz.tflite.cutter import CALLERS, Cutter
from qviz.tflite.runner import KERNELS

Group = tuple[tuple[int, ...], str]
"""Operators of one step, and why they are together."""

RESOURCES = frozenset({"resource", "variant"})
"""Types whose values live inside one interpreter and cannot be handed on."""


@dataclass(frozen=True, slots=True)
class Step:
    """orders: of the operators that it runs. inputs: tensors that are no constants, each once. outputs: tensors."""

    orders: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    reason: str = ""

    @property
    def block(self) -> bool:
        """More than one operator; `reason` says why."""
        return len(self.orders) > 1


class Piece:
    """The interpreter of one step. In it the inputs are tensors 0..n-1, the outputs follow."""

    def __init__(self, step: Step, interpreter: Interpreter) -> None:
        self.step, self._interpreter = step, interpreter
        self._shapes = [tuple(self._interpreter.tensor(i)().shape) for i in range(len(step.inputs))]
        self._outputs = list(enumerate(step.outputs, start=len(step.inputs)))
        self._number = {tensor: number for number, tensor in self._outputs}

    def run(self, values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Its outputs, copied. Raises ModelError."""
        self._invoke(values)
        return {tensor: self._interpreter.get_tensor(number) for number, tensor in self._outputs}

    def look(self, values: Sequence[np.ndarray], tensor: int, at: Callable[[np.ndarray], None]) -> None:
        """Show `at` one output where it lies. Raises ModelError."""
        self._invoke(values)
        at(self._interpreter.tensor(self._number[tensor])())

    def _invoke(self, values: Sequence[np.ndarray]) -> None:
        try:
            self._fit([value.shape for value in values])
            for number, value in enumerate(values):
                self._interpreter.set_tensor(number, value)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"failed in operator {self.step.orders[0]}: {_first_line(error)}") from error

    def _fit(self, shapes: list[tuple[int, ...]]) -> None:
        """An operator before this one may have found its shape only while it ran."""
        if shapes == self._shapes:
            return
        for number, shape in enumerate(shapes):
            self._interpreter.resize_tensor_input(number, shape, strict=False)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


class Pieces:
    """Which operators run together: each alone, unless that does not work."""

    def __init__(
        self, graph: Graph, cutter: Cutter, folded: Mapping[int, np.ndarray], prepare: Callable[[bytes], Interpreter]
    ) -> None:
        self._graph, self._cutter, self._folded, self._prepare = graph, cutter, folded, prepare
        written = {tensor for op in graph.ops for tensor in op.outputs} - set(folded)
        self._handed = {index for index in written | set(graph.inputs) if not cutter.variable(index)}

    def made(self) -> list[Piece]:
        """In the order of running. The neighbours that a refused operator is joined with double at each refusal."""
        groups: list[Group] = self._apart()
        pieces: list[Piece] = []
        reach = 1
        while len(pieces) < len(groups):
            place = len(pieces)
            try:
                pieces.append(self._piece(*groups[place]))
                reach = 1
            except (RuntimeError, ValueError) as error:
                if len(groups) == 1:
                    raise ModelError(f"cannot be run by TensorFlow Lite: {_first_line(error)}") from error
                first, end = max(0, place - reach), place + 1 + reach
                reason = groups[place][1] or f"{self._kinds(groups[place][0])} refused alone: {_first_line(error)}"
                groups[first:end] = [(tuple(o for orders, _ in groups[first:end] for o in orders), reason)]
                del pieces[first:]
                reach *= 2
        return pieces

    def _apart(self) -> list[Group]:
        """Folded ones are left out; from first to last user of a resource is one block."""
        left = [op for op in self._graph.ops if not set(op.outputs) & set(self._folded)]
        users = [place for place, op in enumerate(left) if self._uses_resource(op)]
        groups: list[Group] = [((op.order,), "control flow" if op.kind in CALLERS else "") for op in left]
        if users:
            first, end = users[0], users[-1] + 1
            reason = f"share a resource: {self._kinds(left[place].order for place in users)}"
            groups[first:end] = [(tuple(op.order for op in left[first:end]), reason)]
        return groups

    def _uses_resource(self, op: Op) -> bool:
        touched = (*self._graph.op_inputs(op), *self._graph.op_outputs(op))
        return op.kind == "CALL_ONCE" or any(tensor.dtype in RESOURCES for tensor in touched)

    def _piece(self, orders: tuple[int, ...], reason: str) -> Piece:
        ops = [self._graph.ops[order] for order in orders]
        writes = tuple(dict.fromkeys(tensor for op in ops for tensor in op.outputs))
        reads = tuple(t for t in self._reads(ops) if t not in writes)
        if len(ops) > 1:  # a block gives away what is read outside of it
            outside = [op for op in self._graph.ops if op.order not in set(orders)]
            wanted = {*self._reads(outside), *self._graph.outputs}
            writes = tuple(tensor for tensor in writes if tensor in wanted)
        step = Step(orders, reads, writes, reason)
        return Piece(step, self._prepare(self._cutter.cut(orders, reads, writes, self._folded)))

    def _reads(self, ops: Iterable[Op]) -> tuple[int, ...]:
        read = (tensor for op in ops for tensor in op.inputs)
        return tuple(dict.fromkeys(t for t in read if t is not None and t in self._handed))

    def _kinds(self, orders: Iterable[int]) -> str:
        return ", ".join(dict.fromkeys(self._graph.ops[order].kind for order in orders))


def prepared(data: bytes, threads: int, kernels: str) -> Interpreter:
    """An interpreter ready to run, under one of `KERNELS`. Raises RuntimeError or ValueError where it is refused."""
    interpreter = Interpreter(model_content=data, num_threads=threads, experimental_op_resolver_type=KERNELS[kernels])
    interpreter.allocate_tensors()
    return interpreter


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]
