"""Why one operator lowers an object's score, found by experiments on that operator alone with FP32's values before it.

The error comes from inside the operator or from its inputs. To separate the two, FP32's own operator runs on the inputs
of the variant's operator (FP32's values, quantized), its output is quantized as in the variant, and the variant
continues from there. The first row that applies is the cause:
inside    this restores at least half of the gain (the score lost at this operator): the operator itself is at fault
          bias       the bias error has at least half of the energy of the operator's own error
          weights    with the variant's dequantized weights, FP32's operator loses at least half of the restored score
                     again. Only tried if the weights are coarse or the error is larger than rounding. If neither the
                     weights nor those of one channel are coarse, the cause is called `rounding`
          rounding   the operator's error is at most NORMAL_ROUNDING steps RMSE (rounding alone gives 0.29)
          kernel     on other kernels, the variant's own operator restores at least half of the gain
          rounding   none of these; the sentence says what the experiments excluded
inputs    this restores less than half of the gain: the inputs are at fault
          input_range, clipping   clipping causes most of the error of the image, or of another input tensor. A range
                                  that the kernel prescribes does not count
          rounding   the input is part of a join, whose scale is too coarse for one column: see `layer_error.joins`
          rounding   the range of an input is far wider than FP32's values: at least TOO_WIDE of the range is unused
          amplified  the SQNR after the operator is at least AMPLIFIED_DB below the SQNR before it
          rounding   none of these: normal rounding, to which this score is sensitive
If FP32's operator cannot run on these inputs (it is part of a block, or has no partner), only clipping, joins and
coarse weights are checked; otherwise the cause is `rounding`. SQNR is in dB, higher is better. An energy is the mean
square in the tensor's unit.

Weights are coarse if their SQNR is below MIN_WEIGHTS_DB, or if it is below the median of the network's layers both by
COARSE_DB and by 3 robust standard deviations (1.4826 times the median absolute deviation). The same limit applies to
the weights of one output channel. The real value of an int32 bias is the integer times the scale of the input times the
scale of the weights (one per channel). Kernels use this value even if the file states another scale for the bias.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np

from qviz.features.layer_error.joins import JoinedColumns
from qviz.features.layer_error.tensor_error import sqnr_db
from qviz.features.tracing.evidence import Evidence, ReadTensor, WeightFacts
from qviz.formatting import small_share
from qviz.structures import Tensor

INSIDE: Final = 0.5
"""Share of the gain that an experiment must restore for its finding to be the cause."""
NORMAL_ROUNDING: Final = 0.6
AMPLIFIED_DB: Final = 6.0
TOO_WIDE: Final = 0.875
"""If at least this share of an input's range is unused, three bits are wasted, and its rounding is not ordinary."""


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
        """The cause in words, e.g. `input range`."""
        return self.value.replace("_", " ")


def cause_of(evidence: Evidence) -> tuple[Cause, str]:
    """(cause, sentence that explains it)."""
    if evidence.floated is None:
        return _without_experiment(evidence)
    return _inside(evidence, evidence.floated) if evidence.repaired >= INSIDE else _inputs(evidence, evidence.floated)


def _inside(evidence: Evidence, floated: np.ndarray) -> tuple[Cause, str]:
    error_mse = float(np.mean(np.square(floated - evidence.actual)))
    bias = evidence.bias_error()
    if bias is not None and error_mse > 0 and float(np.mean(np.square(bias))) >= 0.5 * error_mse:
        return Cause.BIAS, _bias_sentence(bias)
    steps, weights = _steps(evidence.tensor, error_mse), evidence.weights
    is_rounding = steps is not None and steps <= NORMAL_ROUNDING
    if weights is not None and (weights.coarse or not is_rounding):
        lost = evidence.lost_by_weights()
        if weights.coarse if lost is None else lost >= INSIDE:
            return Cause.WEIGHTS if weights.is_fault else Cause.ROUNDING, _weight_sentence(weights)
    if is_rounding:
        return (
            Cause.ROUNDING,
            f"Only normal rounding of its output ({steps:.2f} steps RMSE); this score is sensitive to it.",
        )
    size = f"{steps:.1f} steps RMSE" if steps is not None else f"{sqnr_db(floated, evidence.actual) or 0:.1f} dB"
    kernels = evidence.other_kernels()
    if kernels is not None and kernels[1] >= INSIDE:
        restored = f"on the {kernels[0]} kernels the same operator brings back {kernels[1]:.0%} of this"
        return Cause.KERNEL, f"Its kernel has a larger error than rounding explains ({size}): {restored}."
    return Cause.ROUNDING, f"It has more error than rounding its output explains ({size}){_excluded(weights, kernels)}."


def _excluded(weights: WeightFacts | None, kernels: tuple[str, float] | None) -> str:
    """The end of a sentence that says what the experiments excluded; empty if nothing."""
    alike = [f"the {kernels[0]} kernels are no better"] if kernels is not None else []
    alike += ["its weights alone are not the cause"] if weights is not None else []
    return "; " + " and ".join(alike) if alike else ""


def _inputs(evidence: Evidence, floated: np.ndarray) -> tuple[Cause, str]:
    clipping = [read for read in evidence.reads if read.clips_most]
    if clipping:
        read = max(clipping, key=lambda one: one.ranges.clipping / max(float(np.mean(np.square(one.exact))), 1e-30))
        return clipped(read)
    joined = joined_read(evidence)
    if joined is not None:
        return Cause.ROUNDING, joined.sentence
    widest = max(evidence.reads, key=lambda read: read.unused_share, default=None)
    if widest is not None and widest.unused_share >= TOO_WIDE:
        return Cause.ROUNDING, _wide_sentence(widest)
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


def _wide_sentence(read: ReadTensor) -> str:
    quantization, sums = read.tensor.quantization, read.ranges
    assert quantization is not None, "only a quantized tensor has a range"
    low, high = quantization.real_range(read.tensor.dtype)
    decibels = sqnr_db(read.exact, read.entering)
    size = "" if decibels is None else f" ({decibels:.1f} dB)"
    return (
        f"The range of its input is too wide: [{_number(low)}, {_number(high)}] for values within [{_number(sums.low)},"
        f" {_number(sums.high)}]; {small_share(read.unused_share)} of it is unused{size}."
    )


def joined_read(evidence: Evidence) -> JoinedColumns | None:
    """The join with the worst column among the tensors that the operator reads; None if none of them is joined."""
    joins = [read.join for read in evidence.reads if read.join is not None]
    return min(joins, key=lambda join: join.column_db, default=None)


def _without_experiment(evidence: Evidence) -> tuple[Cause, str]:
    clipping = next((read for read in evidence.reads if read.clips_most), None)
    if clipping is not None:
        return clipped(clipping)
    joined = joined_read(evidence)
    if joined is not None:
        return Cause.ROUNDING, joined.sentence
    if evidence.weights is not None and evidence.weights.coarse:
        return Cause.WEIGHTS, _weight_sentence(evidence.weights)
    return Cause.ROUNDING, "Its own error cannot be separated: FP32's operator cannot run on its inputs."


def clipped(read: ReadTensor, where: str = "Its input") -> tuple[Cause, str]:
    """(cause, sentence) for a tensor whose range is too small."""
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
    if (facts.channel is None or facts.channel_db is None) and not facts.coarse:
        return f"The ordinary rounding of its weights ({facts.sqnr_db:.1f} dB) causes its error."
    if facts.channel is None or facts.channel_db is None:
        return f"Its weights are coarse: {facts.sqnr_db:.1f} dB; the network's median is {facts.usual_db:.1f}."
    scale = "; one scale for the whole tensor" if facts.per_tensor else ""
    if facts.zeroed:
        channel = f"output channel {facts.channel} is rounded to zero"
        return f"Its weights: {channel} (all channels together: {facts.sqnr_db:.1f} dB{scale})."
    channel = f"{facts.channel_db:.1f} in output channel {facts.channel}"
    if not facts.is_fault:
        return f"The ordinary rounding of its weights ({facts.sqnr_db:.1f} dB, {channel}) causes its error."
    usual = f"the network's median is {facts.usual_db:.1f}"
    return f"Its weights are coarse: {facts.sqnr_db:.1f} dB, {channel}; {usual}{scale}."


def _steps(tensor: Tensor, energy: float) -> float | None:
    """RMSE in steps of a tensor's scale; None if it is float. energy: mean square of the error."""
    if not tensor.quantized or tensor.quantization is None:
        return None
    return float(energy**0.5 / float(tensor.quantization.scales.mean()))


def _number(value: float) -> str:
    """A number as text with three significant figures and at most two decimals; 0 has no sign."""
    text = f"{value:.3g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
    rounded = f"{value:.2f}".rstrip("0").rstrip(".") if 0.01 <= abs(value) < 10 else text
    return "0" if float(rounded) == 0 else rounded
