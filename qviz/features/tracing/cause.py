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
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from qviz.features.layer_error.tensor_error import RangeSums, range_sums, sqnr_db
from qviz.structures import Tensor

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
        return (
            Cause.WEIGHTS,
            f"Quantization of its weights ({evidence.weights.sqnr_db:.1f} dB) causes its error.",
        )
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
    share = _percent(sums.share() or 0.0)
    range_text, spanned = f"[{_number(low)}, {_number(high)}]", f"[{_number(sums.low)}, {_number(sums.high)}]"
    if read.of_image:
        return (
            Cause.INPUT_RANGE,
            f"The input quantizer covers {range_text}; this image spans {spanned}: {share} of its values are clipped.",
        )
    return (
        Cause.CLIPPING,
        f"{where} covers {range_text}; FP32's values span {spanned}: {share} of them are clipped.",
    )


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


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%" if share >= 0.095 else f"{100 * share:.2g}%"


def _number(value: float) -> str:
    """Three figures, and no more than two decimals; 0 without a sign."""
    text = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
    rounded = f"{value:.2f}".rstrip("0").rstrip(".") if 0.01 <= abs(value) < 10 else text
    return "0" if float(rounded) == 0 else rounded
