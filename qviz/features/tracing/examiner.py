"""Experiments on one operator: FP32 computes everything before it, and parts of the operator are replaced by FP32's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from qviz.errors import ModelError
from qviz.features.layer_error.joins import JoinedColumns, join_ahead, join_behind, joined_columns, source_of
from qviz.features.layer_error.partial_head import Tensors
from qviz.features.layer_error.tensor_error import range_sums, sqnr_db
from qviz.features.tracing.constants import OperatorConstants
from qviz.features.tracing.evidence import Evidence, ReadTensor
from qviz.features.tracing.takeover import Takeover
from qviz.features.what_if.mixed import dequantized_weights
from qviz.structures import Op
from qviz.structures.graph import has_fixed_range
from qviz.tflite.paired_networks import CONVERSIONS, PairedNetworks, as_real, as_variant

OTHER_KERNELS = ("reference", "builtin")


class Examiner:
    """Examines the operators of a `Takeover`.

    Args:
        runs: FP32's activations and those of the variant alone, by tensor.
        score: Returns the object's score for the requested tensors.
    """

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
        self._exact, self._variant_tensors = runs
        self._steps = networks.variant.steps

    def op(self, cut: int) -> Op:
        """The operator at a cut; if the step is a block, its first operator."""
        return self.graph.ops[self._steps[self.takeover.steps[cut]].orders[0]]

    def partner(self, op: Op) -> int | None:
        """Index of the reference's operator that is paired with an operator of the variant, or None."""
        pair = self._networks.pair_of.get(op.order)
        return None if pair is None else pair.reference_order

    def cut_of(self, order: int) -> int | None:
        """The cut at the step of an operator; None if the score does not depend on it."""
        cuts = (cut for cut, number in enumerate(self.takeover.steps) if order in self._steps[number].orders)
        return next(cuts, None)

    def read(self, index: int) -> ReadTensor | None:
        """A tensor with FP32's values, before and after the variant's quantization; None if it has no partner."""
        exact, tensor = self.takeover.real(index), self.graph.tensors[index]
        if exact is None:
            return None
        of_image = self._networks.partners.get(index) in self._networks.reference.graph.inputs
        return ReadTensor(
            tensor, exact, self._real(index), of_image, has_fixed_range(self.graph, index), self._join(index)
        )

    def _join(self, index: int) -> JoinedColumns | None:
        """The columns of the join that this tensor belongs to, if one column has a far lower SQNR than the whole.

        Otherwise None.
        """
        join = join_behind(self.graph, index) or join_ahead(self.graph, index)
        if join is None:
            return None
        pairs = [self._part(part) for part in join.inputs if part is not None]
        parts = [pair for pair in pairs if pair is not None]
        if len(parts) < len(pairs):
            return None
        columns = joined_columns(self.graph, join, [part[0] for part in parts], [part[1] for part in parts])
        return columns if columns is not None and columns.uneven else None

    def _part(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """FP32's values of a part of a join, before and after quantization with the scale of the join; None if unknown.

        The part may be a float tensor, or a slice or reshaped copy of the quantized tensor.
        """
        source, exact = self.graph.tensors[source_of(self.graph, index)], self.takeover.real(index)
        return None if exact is None else (exact, as_real(as_variant(exact, source), source))

    def evidence(self, cut: int, before: float, gain: float) -> Evidence:
        """The values and experiments that `cause_of` needs about the operator at a cut.

        Args:
            before: The score if the variant takes over at this cut.
            gain: The score at the next cut minus `before`.
        """
        op = self.op(cut)
        output = op.outputs[0]
        tensor, exact = self.graph.tensors[output], self.takeover.real(output)
        actual = as_real(self.takeover.step_outputs(cut)[output], tensor)

        def restored(values: np.ndarray) -> float:
            """Share of the gain that comes back if the operator's output has these real values."""
            given = {output: as_variant(values.reshape(actual.shape), tensor)}
            return (self._score(self.takeover.continued(cut + 1, given)) - before) / gain if gain > 0 else 0.0

        floated = self._floated(cut, op) if exact is not None else None
        repaired = 0.0 if floated is None else restored(floated)

        def lost_by_weights() -> float | None:
            values = self._floated(cut, op, dequantized_weights(self._networks, op))
            return None if values is None or repaired <= 0 else 1 - restored(values) / repaired

        def other_kernels() -> tuple[str, float] | None:
            kernels = self._on_other_kernels(cut)  # (their name, the output on them)
            return None if kernels is None else (kernels[0], restored(as_real(kernels[1], tensor)))

        return Evidence(
            tensor=tensor,
            reads=tuple(read for index in self.inputs(cut) if (read := self.read(index)) is not None),
            exact=actual if exact is None else exact,
            actual=actual,
            floated=None if floated is None else floated.reshape(actual.shape),
            repaired=repaired,
            weights=self._constants.weights(op),
            bias_error=partial(self._constants.bias_error, op),
            lost_by_weights=lost_by_weights,
            other_kernels=other_kernels,
        )

    def figures(self, cut: int) -> dict[str, Any]:
        """Errors of the operator's first output on this image, as fields of `Culprit`; None if equal or unknown."""
        output = self.op(cut).outputs[0]
        exact, tensor = self.takeover.real(output), self.graph.tensors[output]
        actual = self.takeover.step_outputs(cut).get(output)
        if exact is None or actual is None:
            return {}
        after, before = self._cumulative(output), [self._cumulative(index) for index in self.inputs(cut)]
        worst = min((db for db in before if db is not None), default=None)
        return {
            "local_sqnr_db": sqnr_db(exact, as_real(actual, tensor)),
            "cumulative_sqnr_db": after,
            "fall_db": worst - after if worst is not None and after is not None else None,
            "clipped_share": range_sums(exact, tensor).share(),
        }

    def inputs(self, cut: int) -> tuple[int, ...]:
        """The tensors that the step at a cut reads."""
        return self._steps[self.takeover.steps[cut]].inputs

    def _cumulative(self, index: int) -> float | None:
        exact = self.takeover.real(index)
        if exact is None:
            return None
        return sqnr_db(exact, as_real(self._variant_tensors[index], self.graph.tensors[index]))

    def _floated(self, cut: int, op: Op, weights: dict[int, np.ndarray] | None = None) -> np.ndarray | None:
        """Output of FP32's operator for the inputs of the variant's operator; None if it cannot run on them.

        weights: values that replace FP32's weights, by tensor of the reference; if empty, the result is None.
        """
        inputs = self.inputs(cut)
        if self._steps[self.takeover.steps[cut]].block or len(op.outputs) != 1 or weights == {}:
            return None
        if op.kind in CONVERSIONS:
            return self._real(inputs[0])
        pair = self._networks.pair_of.get(op.order)
        step = None if pair is None else self._networks.single_steps[0].get(pair.reference_order)
        if pair is None or step is None:
            return None
        exact_step = self._networks.reference.steps[step]
        inputs_of = {partner: self._real(t) for t in inputs if (partner := self._networks.partners.get(t)) is not None}
        if pair.reference_tensor not in exact_step.outputs or not set(exact_step.inputs) <= set(inputs_of):
            return None  # FP32 computes in several operators what is fused here, or from other inputs
        shaped = {t: inputs_of[t].reshape(self._exact[t].shape) for t in exact_step.inputs}
        if weights is None:
            return self._networks.reference.run_step(step, shaped)[pair.reference_tensor]
        piece = self._networks.reference.changed_piece(step, weights)
        return piece.run([shaped[t] for t in exact_step.inputs])[pair.reference_tensor]

    def _on_other_kernels(self, cut: int) -> tuple[str, np.ndarray] | None:
        """(name of the kernels, output of the variant's operator on them); None if all refuse it."""
        number = self.takeover.steps[cut]
        values = [self.takeover.entering(index) for index in self.inputs(cut)]
        for kernels in OTHER_KERNELS:
            with suppress(RuntimeError, ValueError, ModelError):
                piece = self._networks.variant.changed_piece(number, {}, kernels)
                return kernels, piece.run(values)[self.op(cut).outputs[0]]
        return None

    def _real(self, index: int) -> np.ndarray:
        return as_real(self.takeover.entering(index), self.graph.tensors[index])
