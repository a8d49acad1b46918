"""A .tflite file as a chain of one-operator models, the tensors between them in Python's hands.

Tensors are known by their index in the file and hold what the file types them as (integers stay integers). Every
step runs under the default resolver (or the `kernels` asked for), as the whole file does: a chain gives the same bits.

folded   DEQUANTIZE of a constant is computed once, when the file is cut; its readers get a float constant. No step.
block    operators that only work together are one step: those that share a resource, and those that TensorFlow Lite
         refuses to prepare alone (joined with their neighbours until it does). `Step.reason` says why.
caller   control flow (IF, WHILE, ...) is one step, with the subgraphs that it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Graph, Op
from qviz.tflite.cutter import Cutter, collector_paused
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.steps import Pieces, Step, prepared

Replace = Callable[[int, np.ndarray], np.ndarray]


class Stepper:
    """Runs one .tflite file operator by operator; used by one thread. Raises ModelError where it cannot be run."""

    @collector_paused()
    def __init__(self, data: bytes, threads: int = 1, kernels: str = "default") -> None:
        self.graph: Graph = read_graph(data)
        self.reference_kernels = Runner(data, threads, keep_all=False).reference_kernels  # refuses what cannot run
        cutter = Cutter(data, self.graph)
        self.folded: dict[int, np.ndarray] = _folded(self.graph, cutter)
        self.kernels = "builtin" if self.reference_kernels and kernels == "default" else kernels
        prepare = partial(prepared, threads=threads, kernels=self.kernels)
        pieces = Pieces(self.graph, cutter, self.folded, prepare).made()
        self.steps: tuple[Step, ...] = tuple(piece.step for piece in pieces)
        self._pieces = pieces
        self._last = {tensor: number for number, step in enumerate(self.steps) for tensor in step.inputs}

    def run_step(self, step: int, tensors: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """One step on the tensors it reads (others are ignored); its outputs, copied."""
        reads = self.steps[step].inputs
        missing = [tensor for tensor in reads if tensor not in tensors]
        if missing:
            kinds = ", ".join(self.graph.ops[order].kind for order in self.steps[step].orders)
            raise ValueError(f"step {step} ({kinds}) reads tensor {missing[0]}, which is neither given nor computed")
        return self._pieces[step].run([tensors[tensor] for tensor in reads])

    def look(self, step: int, tensors: Mapping[int, np.ndarray], tensor: int, at: Callable[[np.ndarray], None]) -> None:
        """As `run_step`; `at` is shown one output where it lies, which saves the copy: it must not keep it."""
        self._pieces[step].look([tensors[read] for read in self.steps[step].inputs], tensor, at)

    def run(
        self,
        inputs: Sequence[np.ndarray],
        start: int = 0,
        tensors: Mapping[int, np.ndarray] | None = None,
        keep: Collection[int] | None = None,
        replace: Replace | None = None,
    ) -> dict[int, np.ndarray]:
        """The graph's outputs and what `keep` names, by tensor index.

        inputs: the graph's, in the file's order; may be empty where `tensors` holds all that is read from `start` on.
        tensors: known values, inputs among them or not; a step that is run writes over its outputs.
        replace: called with each tensor that a step has written; what it returns is what the later steps read.
        A tensor that is not kept is let go after its last reader.
        """
        self._check_inputs(inputs)
        kept = {*self.graph.outputs, *(keep or ())}
        held = {**self.folded, **dict(zip(self.graph.inputs, inputs, strict=False)), **(tensors or {})}
        held = {index: value for index, value in held.items() if index in kept or self._last.get(index, -1) >= start}
        for number in range(start, len(self.steps)):
            written = self.run_step(number, held)
            if replace is not None:
                written = {index: _replaced(replace, index, value) for index, value in written.items()}
            held |= written
            del written
            for index in (*self.steps[number].inputs, *self.steps[number].outputs):
                if index not in kept and self._last.get(index, -1) <= number:
                    held.pop(index, None)
        return {index: held[index] for index in held if index in kept}

    def _check_inputs(self, inputs: Sequence[np.ndarray]) -> None:
        """As the whole file would: steps themselves take any shape, since an operator may find its own."""
        if inputs and len(inputs) != len(self.graph.inputs):
            raise ValueError(f"the file reads {len(self.graph.inputs)} tensors; {len(inputs)} were given")
        for tensor, value in zip(self.graph.input_tensors(), inputs, strict=False):
            fits = len(value.shape) == len(tensor.shape) and all(
                wanted in (-1, found) for wanted, found in zip(tensor.shape, value.shape, strict=True)
            )
            if not fits or value.dtype != tensor.dtype:
                raise ModelError(
                    f"reads {tensor.name!r} as {tensor.dtype} {list(tensor.shape)};"
                    f" {value.dtype} {list(value.shape)} was given"
                )


def _replaced(replace: Replace, index: int, value: np.ndarray) -> np.ndarray:
    other = replace(index, value)
    if (other.dtype, other.shape) != (value.dtype, value.shape):
        raise ValueError(
            f"tensor {index} is {value.dtype} {value.shape}; it was replaced by {other.dtype} {other.shape}"
        )
    return other


def _folded(graph: Graph, cutter: Cutter) -> dict[int, np.ndarray]:
    """What every DEQUANTIZE of a constant writes."""
    folded = {}
    for op in graph.ops:
        if op.kind == "DEQUANTIZE" and all(tensor.constant for tensor in graph.op_inputs(op)):
            with suppress(RuntimeError, ValueError):  # refused: it stays an operator like others
                folded[op.outputs[0]] = _dequantized(graph, op, cutter)
    return folded


def _dequantized(graph: Graph, op: Op, cutter: Cutter) -> np.ndarray:
    """float16 is widened here, exactly; integers go through TensorFlow Lite's own kernel (packed, per channel)."""
    (source,) = graph.op_inputs(op)
    if source.dtype == "float16":
        return cutter.constant(source.index).view(np.float16).reshape(source.shape).astype(np.float32)
    alone = prepared(cutter.cut([op.order], (), op.outputs), threads=1, kernels="builtin")
    alone.invoke()
    return np.array(alone.get_tensor(0))
