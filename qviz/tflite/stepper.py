"""Run a .tflite file operator by operator, with all tensors between them accessible.

Tensors are identified by their index in the file and have the type that the file gives them (integers stay integers).
Every step runs on the same kernels as the whole file, the default ones or the `kernels` requested, so running all steps
gives bit for bit the same result as running the whole file.

folded   DEQUANTIZE of a constant is computed once, when the file is cut; its readers receive a float constant
block    operators that can only run together are one step: operators that share a resource, and operators that
         TensorFlow Lite refuses to prepare alone, which are joined with neighbours until it accepts them. `Step.reason`
         says why
caller   control flow (IF, WHILE, ...) is one step, together with the subgraphs that it runs
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qviz.errors import ModelError
from qviz.structures import Graph, Op
from qviz.tflite.cutter import CALLERS, Cutter, collector_paused
from qviz.tflite.runner import KERNELS, Runner
from qviz.tflite.schema import read_graph

Group = tuple[tuple[int, ...], str]
"""The operators of one step, and why they run together."""

RESOURCES = frozenset({"resource", "variant"})
"""Types whose values exist only inside one interpreter and cannot be passed to another one."""

PLAIN = (np.float32, np.int8, np.uint8, np.int16, np.int32)
"""Types of tensors whose memory can be read directly as an array. Tensors of other types are packed, or are lists of
strings."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operator, or several that run together.

    Attributes:
        orders: Indices of the operators.
        inputs: Tensors that the operators read from outside the step, without duplicates and constants.
        outputs: Tensors that they write; for a block, only those that are read outside it.
        reason: Why several operators are one step; empty for a single operator.
    """

    orders: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    reason: str = ""

    @property
    def block(self) -> bool:
        """Whether the step has more than one operator."""
        return len(self.orders) > 1


class Piece:
    """The interpreter of one step. Its tensors 0..n-1 are the inputs, the next ones the outputs."""

    def __init__(self, step: Step, interpreter: Interpreter) -> None:
        self.step, self._interpreter = step, interpreter
        self._shapes = [tuple(self._interpreter.tensor(i)().shape) for i in range(len(step.inputs))]
        self._outputs = list(enumerate(step.outputs, start=len(step.inputs)))
        self._number = {tensor: number for number, tensor in self._outputs}
        details = self._interpreter.get_output_details()
        self._plain = {detail["index"] for detail in details if detail["dtype"] in PLAIN}

    def run(self, values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Copies of the step's outputs, by tensor of the file. Raises ModelError."""
        self._invoke(values)
        return {tensor: self._interpreter.get_tensor(number) for number, tensor in self._outputs}

    def views(self, values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """Same as `run`, but returns views instead of copies. The views must be dropped before this step runs again."""
        self._invoke(values)
        return {
            tensor: self._interpreter.tensor(number)()
            if number in self._plain
            else self._interpreter.get_tensor(number)
            for tensor, number in self._number.items()
        }

    def look(self, values: Sequence[np.ndarray], tensor: int, at: Callable[[np.ndarray], None]) -> None:
        """Call `at` with a view of one output, without copying it. Raises ModelError."""
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
        """Resize the inputs to these shapes, which may differ between runs: some operators determine output shapes."""
        if shapes == self._shapes:
            return
        for number, shape in enumerate(shapes):
            self._interpreter.resize_tensor_input(number, shape, strict=False)
        self._interpreter.allocate_tensors()
        self._shapes = shapes


class Pieces:
    """Decides which operators run together; an operator runs alone if that is possible."""

    def __init__(
        self, graph: Graph, cutter: Cutter, folded: Mapping[int, np.ndarray], prepare: Callable[[bytes], Interpreter]
    ) -> None:
        self._graph, self._cutter, self._folded, self._prepare = graph, cutter, folded, prepare
        written = {tensor for op in graph.ops for tensor in op.outputs} - set(folded)
        self._passed_on = {index for index in written | set(graph.inputs) if not cutter.variable(index)}

    def build(self) -> list[Piece]:
        """The interpreters of all steps, in the order in which the steps run.

        If TensorFlow Lite refuses an operator alone, it is joined with its neighbours, twice as many after each further
        refusal. Raises ModelError if even the whole file is refused.
        """
        groups: list[Group] = self._apart()
        pieces: list[Piece] = []
        reach = 1
        while len(pieces) < len(groups):
            position = len(pieces)
            try:
                pieces.append(self._piece(*groups[position]))
                reach = 1
            except (RuntimeError, ValueError) as error:
                if len(groups) == 1:
                    raise ModelError(f"cannot be run by TensorFlow Lite: {_first_line(error)}") from error
                first, end = max(0, position - reach), position + 1 + reach
                reason = (
                    groups[position][1] or f"{self._kinds(groups[position][0])} refused alone: {_first_line(error)}"
                )
                groups[first:end] = [(tuple(o for orders, _ in groups[first:end] for o in orders), reason)]
                del pieces[first:]
                reach *= 2
        return pieces

    def _apart(self) -> list[Group]:
        """One group per operator that is not folded. All operators from the first to the last resource user are one."""
        left = [op for op in self._graph.ops if not set(op.outputs) & set(self._folded)]
        users = [position for position, op in enumerate(left) if self._uses_resource(op)]
        groups: list[Group] = [((op.order,), "control flow" if op.kind in CALLERS else "") for op in left]
        if users:
            first, end = users[0], users[-1] + 1
            reason = f"share a resource: {self._kinds(left[position].order for position in users)}"
            groups[first:end] = [(tuple(op.order for op in left[first:end]), reason)]
        return groups

    def _uses_resource(self, op: Op) -> bool:
        touched = (*self._graph.op_inputs(op), *self._graph.op_outputs(op))
        return op.kind == "CALL_ONCE" or any(tensor.dtype in RESOURCES for tensor in touched)

    def _piece(self, orders: tuple[int, ...], reason: str) -> Piece:
        ops = [self._graph.ops[order] for order in orders]
        writes = tuple(dict.fromkeys(tensor for op in ops for tensor in op.outputs))
        reads = tuple(t for t in self._reads(ops) if t not in writes)
        if len(ops) > 1:  # the outputs of a block are what is read outside it
            outside = [op for op in self._graph.ops if op.order not in set(orders)]
            needed = {*self._reads(outside), *self._graph.outputs}
            writes = tuple(tensor for tensor in writes if tensor in needed)
        step = Step(orders, reads, writes, reason)
        return Piece(step, self._prepare(self._cutter.cut(orders, reads, writes, self._folded)))

    def _reads(self, ops: Iterable[Op]) -> tuple[int, ...]:
        read = (tensor for op in ops for tensor in op.inputs)
        return tuple(dict.fromkeys(t for t in read if t is not None and t in self._passed_on))

    def _kinds(self, orders: Iterable[int]) -> str:
        return ", ".join(dict.fromkeys(self._graph.ops[order].kind for order in orders))


def prepared(data: bytes, threads: int, kernels: str) -> Interpreter:
    """An interpreter ready to run. kernels: a name in `KERNELS`. Raises RuntimeError or ValueError if refused."""
    interpreter = Interpreter(model_content=data, num_threads=threads, experimental_op_resolver_type=KERNELS[kernels])
    interpreter.allocate_tensors()
    return interpreter


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]


Replace = Callable[[int, np.ndarray], np.ndarray]


class Stepper:
    """Runs one .tflite file operator by operator. Not thread-safe.

    Args:
        threads: Number of threads of each interpreter.
        kernels: A name in `KERNELS`.

    Attributes:
        graph: Operators and tensors of the file.
        steps: The steps, in the order in which they run.
        folded: Output of each folded DEQUANTIZE -> its float32 value.
        kernels: The kernels in use; `builtin` if the default ones refuse the file.
        cutter: Cuts further pieces out of the file.

    Raises:
        ModelError: The file is damaged, or TensorFlow Lite cannot run it.
    """

    @collector_paused()
    def __init__(self, data: bytes, threads: int = 1, kernels: str = "default") -> None:
        self.graph: Graph = read_graph(data)
        self.reference_kernels = Runner(data, threads, keep_all=False).reference_kernels  # refuses what cannot run
        self.cutter = Cutter(data, self.graph)
        self.folded: dict[int, np.ndarray] = _folded(self.graph, self.cutter)
        self.kernels = "builtin" if self.reference_kernels and kernels == "default" else kernels
        prepare = partial(prepared, threads=threads, kernels=self.kernels)
        pieces = Pieces(self.graph, self.cutter, self.folded, prepare).build()
        self.steps: tuple[Step, ...] = tuple(piece.step for piece in pieces)
        self._pieces = pieces
        self._last = {tensor: number for number, step in enumerate(self.steps) for tensor in step.inputs}

    def run_step(self, step: int, tensors: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """Run one step and return copies of its outputs.

        Args:
            tensors: Tensor -> value, for at least the tensors that the step reads.

        Raises:
            ModelError: The step fails.
            ValueError: A tensor is missing.
        """
        reads = self.steps[step].inputs
        missing = [tensor for tensor in reads if tensor not in tensors]
        if missing:
            kinds = ", ".join(self.graph.ops[order].kind for order in self.steps[step].orders)
            raise ValueError(f"step {step} ({kinds}) reads tensor {missing[0]}, which is neither given nor computed")
        return self._pieces[step].run([tensors[tensor] for tensor in reads])

    def changed_piece(self, step: int, constants: Mapping[int, np.ndarray], kernels: str = "") -> Piece:
        """The interpreter of one step with other values for some constants, or on other kernels.

        Args:
            constants: Tensor -> new value, in the type that the file gives it.
            kernels: A name in `KERNELS`; empty for the stepper's kernels.

        Raises:
            RuntimeError, ValueError: These kernels refuse the step.
        """
        part = self.steps[step]
        model = self.cutter.cut(part.orders, part.inputs, part.outputs, {**self.folded, **constants})
        return Piece(part, prepared(model, threads=1, kernels=kernels or self.kernels))

    def look(self, step: int, tensors: Mapping[int, np.ndarray], tensor: int, at: Callable[[np.ndarray], None]) -> None:
        """Run one step and call `at` with a view of one output, which it must not keep. Raises ModelError."""
        self._pieces[step].look([tensors[read] for read in self.steps[step].inputs], tensor, at)

    def run(
        self,
        inputs: Sequence[np.ndarray],
        start: int = 0,
        tensors: Mapping[int, np.ndarray] | None = None,
        keep: Collection[int] | None = None,
        replace: Replace | None = None,
    ) -> dict[int, np.ndarray]:
        """Run the steps from `start` on; return the graph's outputs and the tensors in `keep`, by tensor index.

        Args:
            inputs: The graph's inputs in the file's order; may be empty if `tensors` has all tensors that step `start`
                and the later steps read.
            start: The first step to run.
            tensors: Tensor -> known value; a step that runs overwrites its outputs.
            keep: Further tensors to return. All others are freed after the last step that reads them.
            replace: Called with the index and the value of each tensor that a step has written. Later steps read the
                value that it returns, which must have the same type and shape.

        Raises:
            ModelError: A step fails, or an input has another type or shape than the file requires.
            ValueError: A tensor is missing, or `replace` changes a type or shape.
        """
        self._check_inputs(inputs)
        outputs = {*self.graph.outputs, *(keep or ())}
        values = {**self.folded, **dict(zip(self.graph.inputs, inputs, strict=False)), **(tensors or {})}
        for index in [index for index in values if index not in outputs and self._last.get(index, -1) < start]:
            del values[index]
        for number in range(start, len(self.steps)):
            written = self.run_step(number, values)
            if replace is not None:
                written = {index: _replaced(replace, index, tensor) for index, tensor in written.items()}
            values |= written
            del written
            for index in (*self.steps[number].inputs, *self.steps[number].outputs):
                if index not in outputs and self._last.get(index, -1) <= number:
                    values.pop(index, None)
        return {index: values[index] for index in values if index in outputs}

    def visit(
        self,
        inputs: Sequence[np.ndarray],
        at: Callable[[int, np.ndarray], None],
        before: Callable[[int], None] = lambda step: None,
    ) -> None:
        """Run all steps without copying what they write.

        Args:
            at: Called with each tensor that a step has written and a view of its values. A view must be dropped
                before the same step runs again.
            before: Called with the number of each step before the step runs. It may run the step with other inputs.

        Raises:
            ModelError: A step fails, or an input has another type or shape than the file requires.
        """
        self._check_inputs(inputs)
        values = {**self.folded, **dict(zip(self.graph.inputs, inputs, strict=False))}
        for number, (step, piece) in enumerate(zip(self.steps, self._pieces, strict=True)):
            before(number)
            written = piece.views([values[tensor] for tensor in step.inputs])
            for index, tensor in written.items():
                at(index, tensor)
            values |= written
            for index in (*step.inputs, *step.outputs):
                if self._last.get(index, -1) <= number:
                    values.pop(index, None)

    def _check_inputs(self, inputs: Sequence[np.ndarray]) -> None:
        """Check types and shapes as an interpreter of the whole file would; single steps accept any shape."""
        if inputs and len(inputs) != len(self.graph.inputs):
            raise ValueError(f"the file reads {len(self.graph.inputs)} tensors; {len(inputs)} were given")
        for tensor, value in zip(self.graph.input_tensors(), inputs, strict=False):
            fits = len(value.shape) == len(tensor.shape) and all(
                needed in (-1, actual) for needed, actual in zip(tensor.shape, value.shape, strict=True)
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
    """Output of each DEQUANTIZE of a constant -> its float32 value."""
    folded = {}
    for op in graph.ops:
        if op.kind == "DEQUANTIZE" and all(tensor.constant for tensor in graph.op_inputs(op)):
            with suppress(RuntimeError, ValueError):  # if refused, it stays an ordinary operator
                folded[op.outputs[0]] = _dequantized(graph, op, cutter)
    return folded


def _dequantized(graph: Graph, op: Op, cutter: Cutter) -> np.ndarray:
    """The float32 value of one constant: float16 is converted here, integers by TensorFlow Lite's DEQUANTIZE kernel."""
    (source,) = graph.op_inputs(op)
    if source.dtype == "float16":
        return cutter.constant(source.index).view(np.float16).reshape(source.shape).astype(np.float32)
    alone = prepared(cutter.cut([op.order], (), op.outputs), threads=1, kernels="builtin")
    alone.invoke()
    return np.array(alone.get_tensor(0))
