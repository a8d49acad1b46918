"""Run parts of a .tflite file repeatedly, faster than step by step and with bit-identical results.

stretch      consecutive steps that run as one piece, so that only the tensors at its ends pass through Python. Before
             its first use, a stretch runs once on known values. If one bit of its outputs differs, its steps run one by
             one instead. Long stretches start at every 32nd step; where one cannot be used, four short ones may be
checkpoint   the tensors of an earlier run that the steps from a certain step on still need. From a checkpoint, any
             tensor up to the next checkpoint can be computed again in at most `LENGTH` steps, so the others are dropped
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.errors import ModelError
from qviz.tflite.cutter import CALLERS
from qviz.tflite.stepper import Piece, Step, Stepper, prepared

LENGTH, SHORT = 32, 8
"""Steps of a long stretch, which is also the distance of two checkpoints, and of a short stretch."""

Bounds = tuple[int, int]
"""(first step, number of the step that follows the last one)."""


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """Steps that run as one.

    Attributes:
        end: Number of the step that follows the last one of the stretch.
        inputs: The tensors that the steps read from outside the stretch.
        outputs: The tensors of the steps that are read outside the stretch.
    """

    end: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    piece: Piece

    def run(self, values: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        """The values of `outputs`, by tensor of the file. values: those of `inputs`, in order. Raises ModelError."""
        return self.piece.run(values)


class Stretches:
    """The stretches of one file; each is built when it is first used.

    Args:
        keep: Tensors that are outputs of their stretch even if no later step reads them.
    """

    def __init__(self, stepper: Stepper, keep: Collection[int] = ()) -> None:
        self._stepper, self._keep = stepper, set(keep)
        self._built: dict[Bounds, Stretch | None] = {}
        steps = stepper.steps
        ranges = [
            range(start, min(start + length, len(steps)))
            for length in (LENGTH, SHORT)
            for start in range(0, len(steps), length)
        ]
        self.orders: dict[Bounds, frozenset[int]] = {
            (part.start, part.stop): frozenset(order for number in part for order in steps[number].orders)
            for part in ranges
            if len(part) > 1
        }
        """(first step, end) of each stretch -> the operators of the stretch; long stretches come first."""

    def keep(self, tensors: Iterable[int]) -> None:
        """Make further tensors outputs of their stretches. Must be called before a stretch is used."""
        self._keep |= set(tensors)

    def longest(self, step: int, fits: Callable[[Bounds], bool], tensors: Mapping[int, np.ndarray]) -> Stretch | None:
        """The longest stretch that starts at a step and fits; None if its steps have to run one by one.

        Args:
            fits: Returns whether the stretch with these bounds may run as one.
            tensors: All tensors of one run of the file, which the stretch must reproduce bit for bit.
        """
        for length in (LENGTH, SHORT):
            bounds = step, min(step + length, len(self._stepper.steps))
            if bounds in self.orders and fits(bounds):
                stretch = self.between(bounds, tensors)
                if stretch is not None:
                    return stretch
        return None

    def between(self, bounds: Bounds, tensors: Mapping[int, np.ndarray] | None = None) -> Stretch | None:
        """The stretch with these bounds; None if its steps cannot run as one, or if it is not built yet.

        tensors: all tensors of one run, see `longest`; without them, nothing is built.
        """
        if bounds not in self._built and tensors is not None and bounds in self.orders:
            self._built[bounds] = self._checked(*bounds, tensors)
        return self._built.get(bounds)

    def _checked(self, start: int, end: int, tensors: Mapping[int, np.ndarray]) -> Stretch | None:
        part = self._stepper.steps[start:end]
        if any(step.block or self._stateful(step) for step in part):
            return None
        try:
            stretch = self._build(start, part)
            outputs = stretch.run([tensors[tensor] for tensor in stretch.inputs])
        except (ModelError, RuntimeError, ValueError, KeyError):
            return None
        same = all(_same_bits(value, tensors.get(tensor)) for tensor, value in outputs.items())
        return stretch if same else None

    def _stateful(self, step: Step) -> bool:
        graph = self._stepper.graph
        return any(
            graph.ops[order].kind in CALLERS
            or any(self._stepper.cutter.variable(t) for t in graph.ops[order].inputs if t)
            for order in step.orders
        )

    def _build(self, start: int, part: Sequence[Step]) -> Stretch:
        end = start + len(part)
        written = {tensor for step in part for tensor in step.outputs}
        inputs = tuple(dict.fromkeys(t for step in part for t in step.inputs if t not in written))
        later = {tensor for step in self._stepper.steps[end:] for tensor in step.inputs}
        needed = later | set(self._stepper.graph.outputs) | self._keep
        outputs = tuple(tensor for step in part for tensor in step.outputs if tensor in needed)
        orders = tuple(order for step in part for order in step.orders)
        data = self._stepper.cutter.cut(orders, inputs, outputs, self._stepper.folded)
        piece = Piece(Step(orders, inputs, outputs), prepared(data, 1, self._stepper.kernels))
        return Stretch(end, inputs, outputs, piece)


def _same_bits(value: np.ndarray, other: np.ndarray | None) -> bool:
    return other is not None and value.shape == other.shape and value.tobytes() == other.tobytes()


class Checkpoints(Mapping[int, np.ndarray]):
    """Tensor -> values, for one run of a file. Values that are not in memory are computed again on access.

    Args:
        inputs: The graph's inputs.
        keep: Tensors whose values are kept in `selected`.
        stretches: Stretches of the file, built in the first run of all. Further runs use them instead of single steps.
            Tensors in `keep` must be outputs of their stretches.

    Attributes:
        selected: The values of the tensors in `keep`.
        bytes: Size of all kept values in memory.

    Raises:
        ModelError: A step fails.
    """

    def __init__(
        self,
        stepper: Stepper,
        inputs: Sequence[np.ndarray],
        keep: Collection[int],
        stretches: Stretches | None = None,
    ) -> None:
        self._stepper, self._stretches = stepper, stretches
        self._maker = {tensor: number for number, step in enumerate(stepper.steps) for tensor in step.outputs}
        last = {tensor: number for number, step in enumerate(stepper.steps) for tensor in step.inputs}
        values: dict[int, np.ndarray] = {**stepper.folded, **dict(zip(stepper.graph.inputs, inputs, strict=True))}
        self.selected = {tensor: values[tensor] for tensor in keep if tensor in values}
        self._alive: list[dict[int, np.ndarray]] = []
        self._segment: tuple[int, dict[int, np.ndarray]] = (-1, {})
        for start in range(0, len(stepper.steps), LENGTH):
            values = {tensor: value for tensor, value in values.items() if last.get(tensor, -1) >= start}
            self._alive.append(dict(values))
            written = self._written(start, values)
            values |= written
            self.selected |= {tensor: value for tensor, value in written.items() if tensor in keep}
        arrays = [*self.selected.values(), *(value for alive in self._alive for value in alive.values())]
        self.bytes = sum(value.nbytes for value in {id(value): value for value in arrays}.values())

    def _written(self, start: int, values: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
        """What the steps up to the next checkpoint write; from a stretch, only what is read outside it."""
        bounds = start, min(start + LENGTH, len(self._stepper.steps))
        stretch = None if self._stretches is None else self._stretches.between(bounds)
        if stretch is not None:
            return stretch.run([values[tensor] for tensor in stretch.inputs])
        written: dict[int, np.ndarray] = {}
        for number in range(*bounds):
            written |= self._stepper.run_step(number, {**values, **written})
        if self._stretches is not None:
            self._stretches.between(bounds, {**values, **written})
        return written

    def __getitem__(self, index: int) -> np.ndarray:
        if index in self.selected:
            return self.selected[index]
        segment = self._maker.get(index, -1) // LENGTH
        for alive in self._alive[segment + 1 : segment + 2]:  # kept for the next segment if it is read there
            if index in alive:
                return alive[index]
        if segment < 0:
            raise KeyError(index)
        if self._segment[0] != segment or index not in self._segment[1]:
            self._run(segment, index)
        return self._segment[1][index]

    def __iter__(self) -> Iterator[int]:
        return iter({**dict.fromkeys(self.selected), **self._maker, **(self._alive[0] if self._alive else {})})

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, index: object) -> bool:
        return index in self.selected or index in self._maker or any(index in alive for alive in self._alive[:1])

    def _run(self, segment: int, index: int) -> None:
        values = dict(self._alive[segment])
        start = segment * LENGTH
        if self._segment[0] == segment:  # continue from what the last access computed
            values |= self._segment[1]
        for number in range(start, self._maker[index] + 1):
            if not all(tensor in values for tensor in self._stepper.steps[number].outputs):
                values |= self._stepper.run_step(number, values)
        self._segment = segment, values
