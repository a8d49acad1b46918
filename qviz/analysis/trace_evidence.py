"""What is known of one operator of a trace: its tensors, its errors on this image, the experiment of `trace_cause`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from qviz.analysis.operator_constants import OperatorConstants
from qviz.analysis.paired_networks import CONVERSIONS, PairedNetworks, as_real, as_variant
from qviz.analysis.takeover import Takeover
from qviz.analysis.tensor_error import sqnr_db
from qviz.analysis.trace_cause import Evidence, ReadTensor, range_sums
from qviz.structures import Op

Tensors = Mapping[int, np.ndarray]


@dataclass(frozen=True, slots=True)
class Symptoms:
    """As `layer_error` defines them, on this image; SQNR in dB, None where nothing differs or nothing is known."""

    local_sqnr_db: float | None
    cumulative_sqnr_db: float | None
    fall_db: float | None
    clipped_share: float | None


class Examiner:
    """Looks at the operators of a `Takeover`. runs: FP32's tensors and the variant's own; score: of the wanted ones."""

    def __init__(
        self,
        networks: PairedNetworks,
        takeover: Takeover,
        runs: tuple[Tensors, Tensors],
        constants: OperatorConstants,
        score: Callable[[Tensors], float],
    ) -> None:
        self.graph, self.takeover = networks.variant.graph, takeover
        self._networks, self._constants, self._score = networks, constants, score
        self._truth, self._own = runs
        self._steps = networks.variant.steps
        self._alone = {step.orders[0]: i for i, step in enumerate(networks.reference.steps) if not step.block}

    def op(self, cut: int) -> Op:
        """The operator at a cut; of a block the first."""
        return self.graph.ops[self._steps[self.takeover.steps[cut]].orders[0]]

    def cut_of(self, order: int) -> int | None:
        """The cut at which an operator's step is."""
        cuts = (cut for cut, number in enumerate(self.takeover.steps) if order in self._steps[number].orders)
        return next(cuts, None)

    def reads(self, cut: int) -> list[ReadTensor]:
        """The tensors that its step reads and that have a partner."""
        return [found for index in self.inputs(cut) if (found := self.read(index)) is not None]

    def read(self, index: int) -> ReadTensor | None:
        """A tensor as it enters."""
        exact, tensor = self.takeover.real(index), self.graph.tensors[index]
        if exact is None:
            return None
        of_image = self._networks.partners.get(index) in self._networks.reference.graph.inputs
        return ReadTensor(tensor, exact, self._real(index), of_image)

    def evidence(self, cut: int, before: float, gain: float) -> Evidence:
        """The experiment. before: the score at this cut."""
        op = self.op(cut)
        output = op.outputs[0]
        tensor, exact = self.graph.tensors[output], self.takeover.real(output)
        made = as_real(self.takeover.made(cut)[output], tensor)
        floated = self._floated(cut, op) if exact is not None else None
        repaired = 0.0
        if floated is not None and gain > 0:
            floated = floated.reshape(made.shape)
            given = {output: as_variant(floated, tensor)}
            repaired = (self._score(self.takeover.continued(cut + 1, given)) - before) / gain
        return Evidence(
            tensor, tuple(self.reads(cut)), made if exact is None else exact, made, floated, repaired,
            self._constants.weights(op), partial(self._constants.bias_error, op),
        )  # fmt: skip

    def symptoms(self, cut: int) -> Symptoms:
        """Of the operator's first output."""
        output = self.op(cut).outputs[0]
        exact, tensor = self.takeover.real(output), self.graph.tensors[output]
        made = self.takeover.made(cut).get(output)
        if exact is None or made is None:
            return Symptoms(None, None, None, None)
        local = sqnr_db(exact, as_real(made, tensor))
        behind, before = self._cumulative(output), [self._cumulative(index) for index in self.inputs(cut)]
        worst = min((db for db in before if db is not None), default=None)
        fall = worst - behind if worst is not None and behind is not None else None
        return Symptoms(local, behind, fall, range_sums(tensor, exact).share())

    def inputs(self, cut: int) -> tuple[int, ...]:
        """The tensors that its step reads."""
        return self._steps[self.takeover.steps[cut]].inputs

    def _cumulative(self, index: int) -> float | None:
        exact = self.takeover.real(index)
        return None if exact is None else sqnr_db(exact, as_real(self._own[index], self.graph.tensors[index]))

    def _floated(self, cut: int, op: Op) -> np.ndarray | None:
        """What FP32's operator makes of what this one reads; None where it reads anything else, or is no one step."""
        inputs = self.inputs(cut)
        if self._steps[self.takeover.steps[cut]].block or len(op.outputs) != 1:
            return None
        if op.kind in CONVERSIONS:
            return self._real(inputs[0])
        pair = self._networks.pair_of.get(op.order)
        step = None if pair is None else self._alone.get(pair.reference_order)
        if pair is None or step is None:
            return None
        theirs = self._networks.reference.steps[step]
        fed = {partner: self._real(t) for t in inputs if (partner := self._networks.partners.get(t)) is not None}
        if pair.reference_tensor not in theirs.outputs or not set(theirs.inputs) <= set(fed):
            return None  # FP32 computes what is fused here in several operators, or from something else
        shaped = {t: fed[t].reshape(self._truth[t].shape) for t in theirs.inputs}
        return self._networks.reference.run_step(step, shaped)[pair.reference_tensor]

    def _real(self, index: int) -> np.ndarray:
        return as_real(self.takeover.entering(index), self.graph.tensors[index])
