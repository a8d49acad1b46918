"""Why one operator lowers an object's score, found by experiments on that operator alone with FP32's values before it.

The operator's error has two sides. To separate them, FP32's own operator runs on the inputs of the variant's operator
(FP32's values, quantized), its output is quantized as in the variant, and the variant continues from there:
inside    if that restores at least half of the score, the operator itself is at fault
          bias       its bias differs from FP32's, by at least half of the energy of the operator's own error
          weights    their SQNR is far below the other layers' (by COARSE_DB and 3 robust deviations)
          rounding   only the rounding of its output is left (RMSE up to NORMAL_ROUNDING steps; rounding alone: .29)
          weights    their SQNR explains the operator's (within 10 dB)
          kernel     none of these explains it
inputs    else its inputs are at fault
          input_range, clipping   most of that error's energy is out of range (of the image, of another tensor)
          amplified  the error, relative to the signal, is AMPLIFIED_DB or more larger after the operator than before
          rounding   else: normal rounding to which this score is sensitive
Where FP32's operator cannot be run so (a block, no partner), clipping and coarse weights are checked; the cause is else
`rounding`. SQNR in dB, higher is better; energies are mean squares in the tensor's unit.

Weights are coarse where their SQNR is below the median of the network's layers by COARSE_DB and by 3 robust standard
deviations (1.4826 times the median absolute deviation). The real value of an int32 bias is the integer times the scale
of the input times the scale of the weights (one per channel): kernels add that, whatever scale the file notes for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final

import numpy as np

from qviz.features.layer_error.partial_head import Tensors
from qviz.features.layer_error.tensor_error import RangeSums, range_sums, sqnr_db
from qviz.features.tracing.takeover import Takeover
from qviz.formatting import small_share
from qviz.structures import Graph, Op, Tensor
from qviz.structures.graph import BIAS_INPUT
from qviz.tflite.constants import stored_constant
from qviz.tflite.paired_networks import CONVERSIONS, Pair, PairedNetworks, as_real, as_variant

INSIDE: Final = 0.5
"""Share of the gain that FP32's operator must give back for the fault to lie inside the operator."""
COARSE_DB: Final = 10.0
NORMAL_ROUNDING: Final = 0.6
AMPLIFIED_DB: Final = 6.0
EXPLAINED_DB: Final = 10.0


class Cause(StrEnum):
    """Why an operator lowers a score."""

    INPUT_RANGE = "input_range"
    WEIGHTS = "weights"
    CLIPPING = "clipping"
    ROUNDING = "rounding"
    BIAS = "bias"
    AMPLIFIED = "amplified"
    KERNEL = "kernel"

    @property
    def words(self) -> str:
        """`input range`."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """SQNR of an operator's weights, the median of the network's layers, and the limit below which they are coarse."""

    sqnr_db: float
    usual_db: float
    coarse_below_db: float

    @property
    def coarse(self) -> bool:
        return self.sqnr_db < self.coarse_below_db


@dataclass(frozen=True, slots=True, eq=False)
class ReadTensor:
    """A tensor that the operator reads: FP32's values, and those values after the variant's quantization."""

    tensor: Tensor
    exact: np.ndarray
    entering: np.ndarray
    of_image: bool = False

    @property
    def ranges(self) -> RangeSums:
        return range_sums(self.exact, self.tensor)

    @property
    def clips_most(self) -> bool:
        """Most of the energy lost is beyond the range."""
        sums = self.ranges
        return sums.count > 0 and sums.clipping > sums.rounding


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One operator under test.

    Attributes:
        exact: FP32's output.
        made: The variant's output.
        floated: The output of FP32's operator for the variant's inputs; None where it cannot be run.
        repaired: The share of the gain that `floated` restores.
        bias_error: Returns (channels,).
    """

    tensor: Tensor
    reads: tuple[ReadTensor, ...]
    exact: np.ndarray
    actual: np.ndarray
    floated: np.ndarray | None
    repaired: float
    weights: WeightFacts | None
    bias_error: Callable[[], np.ndarray | None]


def cause_of(evidence: Evidence) -> tuple[Cause, str]:
    """(cause, sentence)."""
    if evidence.floated is None:
        return _without_experiment(evidence)
    return _inside(evidence, evidence.floated) if evidence.repaired >= INSIDE else _inputs(evidence, evidence.floated)


def _inside(evidence: Evidence, floated: np.ndarray) -> tuple[Cause, str]:
    error_mse = float(np.mean(np.square(floated - evidence.actual)))
    bias = evidence.bias_error()
    if bias is not None and error_mse > 0 and float(np.mean(np.square(bias))) >= 0.5 * error_mse:
        return Cause.BIAS, _bias_sentence(bias)
    if evidence.weights is not None and evidence.weights.coarse:
        return Cause.WEIGHTS, _weight_sentence(evidence.weights)
    steps = _steps(evidence.tensor, error_mse)
    if steps is not None and steps <= NORMAL_ROUNDING:
        return (
            Cause.ROUNDING,
            f"Only normal rounding of its output ({steps:.2f} steps RMSE); this score is sensitive to it.",
        )
    made_db = sqnr_db(floated, evidence.actual)
    if evidence.weights is not None and made_db is not None and made_db >= evidence.weights.sqnr_db - EXPLAINED_DB:
        return Cause.WEIGHTS, f"Quantization of its weights ({evidence.weights.sqnr_db:.1f} dB) causes its error."
    size = f"{steps:.1f} steps RMSE" if steps is not None else f"{made_db or 0:.1f} dB"
    return Cause.KERNEL, f"Its kernel has a larger error than rounding, weights and bias explain ({size})."


def _inputs(evidence: Evidence, floated: np.ndarray) -> tuple[Cause, str]:
    clipping = [read for read in evidence.reads if read.clips_most]
    if clipping:
        read = max(clipping, key=lambda one: one.ranges.clipping / max(float(np.mean(np.square(one.exact))), 1e-30))
        return clipped(read)
    before = min(
        (db for read in evidence.reads if (db := sqnr_db(read.exact, read.entering)) is not None), default=None
    )
    behind = sqnr_db(evidence.exact, floated)
    if before is not None and behind is not None and before - behind >= AMPLIFIED_DB:
        return (
            Cause.AMPLIFIED,
            f"It amplifies the rounding of its input: {before:.1f} dB before, {behind:.1f} dB after.",
        )
    size = "" if before is None else f" ({before:.1f} dB)"
    return Cause.ROUNDING, f"Normal rounding of its input{size}; this score is sensitive to it."


def _without_experiment(evidence: Evidence) -> tuple[Cause, str]:
    clipping = next((read for read in evidence.reads if read.clips_most), None)
    if clipping is not None:
        return clipped(clipping)
    if evidence.weights is not None and evidence.weights.coarse:
        return Cause.WEIGHTS, _weight_sentence(evidence.weights)
    return Cause.ROUNDING, "Its own error cannot be separated: FP32's operator cannot run on its inputs."


def clipped(read: ReadTensor, where: str = "Its input") -> tuple[Cause, str]:
    """(cause, sentence) of a tensor whose range is too small."""
    sums, quantization = read.ranges, read.tensor.quantization
    assert quantization is not None, "only what is quantized clips"
    low, high = quantization.real_range(read.tensor.dtype)
    share = small_share(sums.share() or 0.0)
    range_text, spanned = f"[{_number(low)}, {_number(high)}]", f"[{_number(sums.low)}, {_number(sums.high)}]"
    if read.of_image:
        return (
            Cause.INPUT_RANGE,
            f"The input quantizer covers {range_text}; this image spans {spanned}: {share} of its values are clipped.",
        )
    return Cause.CLIPPING, f"{where} covers {range_text}; FP32's values span {spanned}: {share} of them are clipped."


def _bias_sentence(error: np.ndarray) -> str:
    worst = int(np.argmax(np.abs(error)))
    off = int(np.count_nonzero(np.abs(error) > 0.5 * np.abs(error[worst])))
    size = _number(float(error[worst]))
    return f"Its bias differs from FP32's by {size} in channel {worst}, similarly in {off} of {error.size} channels."


def _weight_sentence(facts: WeightFacts) -> str:
    return f"Its weights are coarse: {facts.sqnr_db:.1f} dB; the network's median is {facts.usual_db:.1f}."


def _steps(tensor: Tensor, energy: float) -> float | None:
    """RMSE over the step of a tensor."""
    if not tensor.quantized or tensor.quantization is None:
        return None
    return float(energy**0.5 / float(tensor.quantization.scales.mean()))


def _number(value: float) -> str:
    """Three figures, and no more than two decimals; 0 without a sign."""
    text = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
    rounded = f"{value:.2f}".rstrip("0").rstrip(".") if 0.01 <= abs(value) < 10 else text
    return "0" if float(rounded) == 0 else rounded


class OperatorConstants:
    """Weights and biases of two networks. Files are read only when a bias is requested."""

    def __init__(self, networks: PairedNetworks, pair: Pair) -> None:
        self._networks, self._blobs = networks, (pair.reference, pair.variant)
        self._weights = _weight_sqnrs(networks)
        values = np.array(list(self._weights.values()) or [0.0])
        self._median = float(np.median(values))
        deviation = 1.4826 * float(np.median(np.abs(values - self._median)))
        self._coarse = self._median - max(COARSE_DB, 3 * deviation)

    def weights(self, op: Op) -> WeightFacts | None:
        """None where the operator has none, or they equal FP32's."""
        value = self._weights.get(op.order)
        return None if value is None else WeightFacts(value, self._median, self._coarse)

    def bias_error(self, op: Op) -> np.ndarray | None:
        """(channels,) real values, the variant's minus FP32's; None where one has none, or FP32 adds it separately."""
        pair = self._networks.pair_of.get(op.order)
        if pair is None or op.kind not in BIAS_INPUT:
            return None
        other = self._networks.reference.graph.ops[pair.reference_order]
        if pair.reference_tensor not in other.outputs or other.kind != op.kind:
            return None
        exact, actual = self._real_bias(0, other), self._real_bias(1, op)
        return actual - exact if exact is not None and actual is not None and exact.shape == actual.shape else None

    def _real_bias(self, side: int, op: Op) -> np.ndarray | None:
        stepper = (self._networks.reference, self._networks.variant)[side]
        index = op.inputs[BIAS_INPUT[op.kind]] if len(op.inputs) > BIAS_INPUT[op.kind] else None
        if index is None or index in stepper.folded:
            return None if index is None else stepper.folded[index]
        tensor = stepper.graph.tensors[index]
        if not tensor.constant:
            return None
        stored = stored_constant(self._blobs[side].read(), tensor)
        return stored * _product_scale(stepper.graph, op, tensor)


def _product_scale(graph: Graph, op: Op, bias: Tensor) -> np.ndarray | float:
    """Real value of one unit of an integer bias: (channels,) or a single number."""
    if bias.dtype not in ("int32", "int64"):
        return 1.0
    read, weights = (graph.tensors[index].quantization for index in _data_and_weights(op))
    if read is None or weights is None:
        return bias.quantization.scales if bias.quantization is not None else 1.0
    return np.asarray(read.scales[0].astype(np.float64) * weights.scales)


def _data_and_weights(op: Op) -> tuple[int, int]:
    positions = (2, 1) if op.kind == "TRANSPOSE_CONV" else (0, 1)
    first, second = (op.inputs[position] for position in positions)
    assert first is not None and second is not None, "an operator with a bias reads data and weights"
    return first, second


def _weight_sqnrs(networks: PairedNetworks) -> Mapping[int, float]:
    """order -> SQNR of the weights, where they differ from the partner's and have its shape."""
    both = {order: networks.weights(networks.variant.graph.ops[order]) for order in networks.pair_of}
    values = {order: sqnr_db(*weights) for order, weights in both.items() if weights is not None}
    return {order: value for order, value in values.items() if value is not None}


class Examiner:
    """Examines the operators of a `Takeover`.

    Args:
        runs: FP32's tensors and the variant's own.
        score: The object's score from the requested tensors.
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
        """The operator at a cut; of a block the first."""
        return self.graph.ops[self._steps[self.takeover.steps[cut]].orders[0]]

    def cut_of(self, order: int) -> int | None:
        """The cut at which an operator's step is."""
        cuts = (cut for cut, number in enumerate(self.takeover.steps) if order in self._steps[number].orders)
        return next(cuts, None)

    def read(self, index: int) -> ReadTensor | None:
        """A tensor as it enters."""
        exact, tensor = self.takeover.real(index), self.graph.tensors[index]
        if exact is None:
            return None
        of_image = self._networks.partners.get(index) in self._networks.reference.graph.inputs
        return ReadTensor(tensor, exact, self._real(index), of_image)

    def evidence(self, cut: int, before: float, gain: float) -> Evidence:
        """The experiment of `cause`. before: the score at this cut."""
        op = self.op(cut)
        output = op.outputs[0]
        tensor, exact = self.graph.tensors[output], self.takeover.real(output)
        actual = as_real(self.takeover.step_outputs(cut)[output], tensor)
        floated = self._floated(cut, op) if exact is not None else None
        repaired = 0.0
        if floated is not None and gain > 0:
            floated = floated.reshape(actual.shape)
            given = {output: as_variant(floated, tensor)}
            repaired = (self._score(self.takeover.continued(cut + 1, given)) - before) / gain
        return Evidence(
            tensor=tensor,
            reads=tuple(read for index in self.inputs(cut) if (read := self.read(index)) is not None),
            exact=actual if exact is None else exact,
            actual=actual,
            floated=floated,
            repaired=repaired,
            weights=self._constants.weights(op),
            bias_error=partial(self._constants.bias_error, op),
        )

    def figures(self, cut: int) -> dict[str, Any]:
        """Errors of the operator's first output on this image, as fields of `Culprit`; None: equal, or unknown."""
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
        """The tensors that its step reads."""
        return self._steps[self.takeover.steps[cut]].inputs

    def _cumulative(self, index: int) -> float | None:
        exact = self.takeover.real(index)
        if exact is None:
            return None
        return sqnr_db(exact, as_real(self._variant_tensors[index], self.graph.tensors[index]))

    def _floated(self, cut: int, op: Op) -> np.ndarray | None:
        """Output of FP32's operator for the inputs of this one; None where inputs differ or it is not a single step."""
        inputs = self.inputs(cut)
        if self._steps[self.takeover.steps[cut]].block or len(op.outputs) != 1:
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
        return self._networks.reference.run_step(step, shaped)[pair.reference_tensor]

    def _real(self, index: int) -> np.ndarray:
        return as_real(self.takeover.entering(index), self.graph.tensors[index])
