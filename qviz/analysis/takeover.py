"""FP32 runs up to an operator, the variant from there: what the trace of an object is made of.

cut       a step of the variant (mostly one operator): those before it are FP32's, it and those behind it the variant's.
enters    every tensor that steps from the cut on read and that steps before it write is FP32's: its partner's value,
          quantized with the variant's own parameters of that tensor (a float tensor has none and takes it as it is).
          Before the first step nothing is FP32's: the graph's inputs are the variant's own.
unpaired  a tensor without a partner is made by the variant's own operator, from what enters before it; so an operator
          that FP32 does not have is never left out, and its error stays at every cut.
Only steps that the wanted tensors depend on are run: the others cannot change them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from qviz.analysis.paired_networks import PairedNetworks, as_variant
from qviz.tflite.steps import Step

Tensors = Mapping[int, np.ndarray]


class Takeover:
    """One image in two networks. truth, own: all activations of FP32 and of the variant, as `PairedNetworks.run` gives.

    steps: the numbers of the variant's steps that `wanted` depends on, in their order. A cut is a place in it, from 0
    (the variant alone) to len(steps) (FP32 alone, its `wanted` quantized).
    """

    def __init__(self, networks: PairedNetworks, truth: Tensors, own: Tensors, wanted: Collection[int]) -> None:
        self._networks, self._truth, self._own = networks, truth, own
        self._stepper = networks.variant
        self.wanted = tuple(wanted)
        self.steps = ancestors(self._stepper.steps, wanted)
        inputs = [self._stepper.steps[number].inputs for number in self.steps]
        self._last_reader = {tensor: place for place, read in enumerate(inputs) for tensor in read}
        self._entering: dict[int, np.ndarray] = {}

    def run(self, cut: int) -> dict[int, np.ndarray]:
        """The wanted tensors when the variant takes over at this cut, as the file types them."""
        if cut == 0:
            return {tensor: self._own[tensor] for tensor in self.wanted}
        return self.continued(cut, {})

    def continued(self, cut: int, given: Tensors) -> dict[int, np.ndarray]:
        """As `run`, with some of the tensors that enter given."""
        held = dict(given)
        for place in range(cut, len(self.steps)):
            step = self._stepper.steps[self.steps[place]]
            for tensor in step.inputs:
                if tensor not in held:
                    held[tensor] = self.entering(tensor)
            held |= self._stepper.run_step(self.steps[place], held)
            for tensor in (*step.inputs, *step.outputs):
                if self._last_reader.get(tensor, -1) <= place and tensor not in self.wanted:
                    held.pop(tensor, None)
        return {tensor: held[tensor] if tensor in held else self.entering(tensor) for tensor in self.wanted}

    def changes_nothing(self, cut: int) -> bool:
        """Whether the step at this cut makes, of what enters, exactly what would enter behind it."""
        if cut == 0:
            return False  # the variant's own input may be another one than FP32's
        made = self.made(cut)
        return all(np.array_equal(value, self.entering(tensor)) for tensor, value in made.items())

    def made(self, cut: int) -> dict[int, np.ndarray]:
        """What the variant's step at this cut makes of what enters."""
        number = self.steps[cut]
        fed = {tensor: self.entering(tensor) for tensor in self._stepper.steps[number].inputs}
        return self._stepper.run_step(number, fed)

    def entering(self, tensor: int) -> np.ndarray:
        """FP32's value of a tensor of the variant."""
        if tensor not in self._entering:
            if self._paired(tensor):
                self._entering[tensor] = self._quantized(tensor)
            else:
                self._run_unpaired(tensor)
        return self._entering[tensor]

    def real(self, tensor: int) -> np.ndarray | None:
        """FP32's own value of a tensor of the variant, in its shape; None where it has no partner."""
        value = self._truth_of(tensor)
        return None if value is None else value.reshape(self._own[tensor].shape)

    def _truth_of(self, tensor: int) -> np.ndarray | None:
        value = self._truth.get(self._networks.partners.get(tensor, -1))
        return value if value is not None and value.size == self._own[tensor].size else None

    def _paired(self, tensor: int) -> bool:
        return self._truth_of(tensor) is not None

    def _quantized(self, tensor: int) -> np.ndarray:
        value = self.real(tensor)
        assert value is not None, "it has a partner"
        return as_variant(value, self._stepper.graph.tensors[tensor])

    def _run_unpaired(self, tensor: int) -> None:
        """A tensor without a partner, and those before it that it is made of, in the file's order."""
        held: dict[int, np.ndarray] = {}
        for number in ancestors(self._stepper.steps, [tensor], self._paired):
            for read in self._stepper.steps[number].inputs:
                if read not in held:  # else a graph's input without a partner
                    held[read] = self.entering(read) if self._paired(read) else self._own[read]
            held |= self._stepper.run_step(number, held)
        self._entering[tensor] = held.get(tensor, self._own[tensor])


def ancestors(
    steps: Sequence[Step], wanted: Collection[int], known: Callable[[int], bool] = lambda tensor: False
) -> tuple[int, ...]:
    """The numbers of the steps that `wanted` depends on; not looked for behind tensors that are known."""
    needed, numbers = set(wanted), []
    for number in reversed(range(len(steps))):
        if needed.intersection(steps[number].outputs):
            numbers.append(number)
            needed |= {tensor for tensor in steps[number].inputs if not known(tensor)}
    return tuple(reversed(numbers))
