"""Why one operator takes an object's score down: experiments on that operator alone, everything before it FP32's.

The operator's error has two sides, told apart by running FP32's own operator on what the variant's operator reads
(FP32's values, quantized), quantizing what it makes as the variant would, and going on with the variant from there:
inside    if that gives back at least half of the score, the operator itself is at fault
          bias       its bias differs from FP32's, by at least half of the energy of the operator's own error
          weights    their SQNR lies far below the other layers' (by COARSE_DB and 3 robust deviations)
          rounding   no more than its output's rounding is left (RMSE up to ORDINARY steps; rounding alone: .29)
          weights    their SQNR explains the operator's (within 10 dB)
          kernel     what none of these explains
inputs    else what it reads is at fault
          input_range, clipping   most of that error's energy is beyond the range (of the image, of another tensor)
          amplified  the error is AMPLIFIED_DB or more larger behind the operator, relative to the signal, than before
          rounding   else: ordinary rounding that this score happens to hang on
Where FP32's operator cannot be run so (a block, no partner), clipping and coarse weights are looked for and else
`rounding` is said. SQNR in dB, higher is better; energies are mean squares in the tensor's unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from qviz.features.layer_error.tensor_error import RangeSums, sqnr_db
from qviz.structures import Tensor

INSIDE: Final = 0.5
"""Share of the gain that FP32's operator must give back for the fault to lie inside the operator."""
COARSE_DB: Final = 10.0
ORDINARY: Final = 0.6
AMPLIFIED_DB: Final = 6.0
EXPLAINED_DB: Final = 10.0


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """SQNR of an operator's weights, the median of the network's layers, and from where on weights are coarse."""

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
        return range_sums(self.tensor, self.exact)

    @property
    def clips_most(self) -> bool:
        """Most of the energy lost is beyond the range."""
        sums = self.ranges
        return sums.count > 0 and sums.clipping > sums.rounding


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One operator under test. exact: FP32's output; made: the variant's; floated: FP32's operator's on what it reads,
    None where it cannot be run. repaired: the share of the gain that `floated` gives back. bias_error (channels,)."""

    tensor: Tensor
    reads: tuple[ReadTensor, ...]
    exact: np.ndarray
    made: np.ndarray
    floated: np.ndarray | None
    repaired: float
    weights: WeightFacts | None
    bias_error: Callable[[], np.ndarray | None]


def range_sums(tensor: Tensor, exact: np.ndarray) -> RangeSums:
    """What a tensor's range and step do to FP32's values; nothing counted where it has no single range."""
    sums = RangeSums()
    if tensor.quantized and tensor.quantization is not None and not tensor.quantization.per_channel:
        sums.add(exact, tensor.quantization, tensor.dtype)
    return sums


def cause_of(seen: Evidence) -> tuple[str, str]:
    """(cause, sentence)."""
    if seen.floated is None:
        return _without_experiment(seen)
    return _inside(seen, seen.floated) if seen.repaired >= INSIDE else _inputs(seen, seen.floated)


def _inside(seen: Evidence, floated: np.ndarray) -> tuple[str, str]:
    own = float(np.mean(np.square(floated - seen.made)))
    bias = seen.bias_error()
    if bias is not None and own > 0 and float(np.mean(np.square(bias))) >= 0.5 * own:
        return "bias", _bias_sentence(bias)
    if seen.weights is not None and seen.weights.coarse:
        return "weights", _weight_sentence(seen.weights)
    steps = _steps(seen.tensor, own)
    if steps is not None and steps <= ORDINARY:
        return "rounding", f"Only its output's rounding is left ({steps:.2f} steps RMSE); this score hangs on it."
    made_db = sqnr_db(floated, seen.made)
    if seen.weights is not None and made_db is not None and made_db >= seen.weights.sqnr_db - EXPLAINED_DB:
        return "weights", f"The quantization of its weights ({seen.weights.sqnr_db:.1f} dB) makes its error."
    size = f"{steps:.1f} steps RMSE" if steps is not None else f"{made_db or 0:.1f} dB"
    return "kernel", f"Its kernel errs by more than rounding, weights and bias explain ({size})."


def _inputs(seen: Evidence, floated: np.ndarray) -> tuple[str, str]:
    clipping = [read for read in seen.reads if read.clips_most]
    if clipping:
        read = max(clipping, key=lambda one: one.ranges.clipping / max(float(np.mean(np.square(one.exact))), 1e-30))
        return clipped(read)
    before = min((db for read in seen.reads if (db := sqnr_db(read.exact, read.entering)) is not None), default=None)
    behind = sqnr_db(seen.exact, floated)
    if before is not None and behind is not None and before - behind >= AMPLIFIED_DB:
        return (
            "amplified",
            f"It amplifies the rounding of what it reads: {before:.1f} dB before, {behind:.1f} behind.",
        )
    said = "" if before is None else f" ({before:.1f} dB)"
    return "rounding", f"Ordinary rounding of what it reads{said}; this score hangs on it."


def _without_experiment(seen: Evidence) -> tuple[str, str]:
    clipping = next((read for read in seen.reads if read.clips_most), None)
    if clipping is not None:
        return clipped(clipping)
    if seen.weights is not None and seen.weights.coarse:
        return "weights", _weight_sentence(seen.weights)
    return "rounding", "What it adds cannot be told apart, as FP32's operator cannot be run on what it reads."


def clipped(read: ReadTensor, where: str = "What it reads") -> tuple[str, str]:
    """(cause, sentence) of a tensor whose range is too small."""
    sums, quantization = read.ranges, read.tensor.quantization
    assert quantization is not None, "only what is quantized clips"
    low, high = quantization.real_range(read.tensor.dtype)
    share = _percent(sums.share() or 0.0)
    held, spanned = f"[{_number(low)}, {_number(high)}]", f"[{_number(sums.low)}, {_number(sums.high)}]"
    if read.of_image:
        told = f"The input quantizer covers {held}; this image spans {spanned}: {share} of its values are clipped."
        return "input_range", told
    return "clipping", f"{where} can hold {held}; FP32's values span {spanned}: {share} of them are clipped."


def _bias_sentence(error: np.ndarray) -> str:
    worst = int(np.argmax(np.abs(error)))
    off = int(np.count_nonzero(np.abs(error) > 0.5 * np.abs(error[worst])))
    size = _number(float(error[worst]))
    return f"Its bias is not FP32's: off by {size} in channel {worst}, about as much in {off} of {error.size} channels."


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
