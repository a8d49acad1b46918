"""What hurts in one layer, in a sentence: rules over its figures, the gravest first.

Energies are mean squares in the tensor's unit. own: what the layer adds alone, fed FP32's activations. A sentence
says no more than the figures show: where none of the rules holds, it says what is known and what is not.
"""

from __future__ import annotations

from dataclasses import dataclass

CAME_IN = 10.0
"""From this many times its own error on (10 dB), most of a layer's error came in from before."""
MOST = 0.5
"""Of an error's energy, the share from which on one source stands for it."""
COARSE_DB = 10.0
"""Weights are coarse when their SQNR lies this far below the median of the network's layers."""
WORTH_SAYING = 0.01
"""Clipped share from which clipping is mentioned beside another cause."""
WIDE = 0.5
"""Unused share of the range from which rounding is said to be coarser than it need be: a bit is wasted."""


@dataclass(frozen=True, slots=True)
class Symptoms:
    """The figures of one layer on one image; None: not known, or (SQNR) nothing differs.

    quantized: whether its output is. clipping_mse, rounding_mse: of FP32's activation against its range and step.
    input_clipped_share: of FP32's values that go in, against the ranges of what it reads; the worst input's.
    """

    cumulative_mse: float
    cumulative_sqnr_db: float | None
    local_mse: float | None = None
    local_sqnr_db: float | None = None
    rmse_over_scale: float | None = None
    quantized: bool = True
    clipped_share: float | None = None
    unused_share: float | None = None
    clipping_mse: float | None = None
    rounding_mse: float | None = None
    input_clipped_share: float | None = None
    weight_sqnr_db: float | None = None
    usual_weight_db: float | None = None


def cause_of(seen: Symptoms) -> str:
    """The sentence."""
    if seen.cumulative_mse == 0:
        return "Nothing is lost: its output equals the reference's on this image."
    if seen.local_mse is not None and seen.cumulative_mse >= CAME_IN * seen.local_mse:
        return _came_in(seen) + _also_clips(seen)
    own = seen.cumulative_mse if seen.local_mse is None else seen.local_mse
    if (seen.clipping_mse or 0.0) >= MOST * own:
        share = _share(seen.clipped_share)
        return f"Clipping: {share} of FP32's values on this image lie outside of the range it can hold."
    return (_rounding(seen, own) or _weights(seen) or _unknown_source(seen) or _operator(seen)) + _also_clips(seen)


def _came_in(seen: Symptoms) -> str:
    here = f"{_db(seen.cumulative_sqnr_db)} here"
    if not seen.local_mse:
        return f"The error came in from before: {here}, and none of its own."
    return f"Most of the error came in from before: {here}, {_db(seen.local_sqnr_db)} when fed FP32's activations."


def _weights(seen: Symptoms) -> str | None:
    weights, usual = seen.weight_sqnr_db, seen.usual_weight_db
    if weights is None or usual is None or weights > usual - COARSE_DB:
        return None
    return f"Coarse weights: {_db(weights)}, where the median of this network's layers is {_db(usual)}."


def _unknown_source(seen: Symptoms) -> str | None:
    if seen.local_mse is not None:
        return None
    return f"Its own share is not known, as it cannot be run alone: {_db(seen.cumulative_sqnr_db)} by here."


def _rounding(seen: Symptoms, own: float) -> str | None:
    if (seen.rounding_mse or 0.0) < MOST * own:
        return None
    left = f"Only rounding is left: {_steps(seen.rmse_over_scale)} (values that spread evenly leave 0.29)."
    unused = seen.unused_share or 0.0
    return left + (f" Its range is wide: {_share(unused)} of it is not reached here." if unused >= WIDE else "")


def _operator(seen: Symptoms) -> str:
    """More than its output's quantization explains. What of it weights and inputs make is not told apart here."""
    alone = f"{_db(seen.local_sqnr_db)} alone"
    weights = "" if seen.weight_sqnr_db is None else f"; its weights: {_db(seen.weight_sqnr_db)}"
    if not seen.quantized:
        return f"Its output is float, and still differs: {alone}{weights}."
    share = seen.input_clipped_share or 0.0
    clipped = f"; {_share(share)} of what it reads is clipped" if share >= WORTH_SAYING else ""
    steps = _steps(seen.rmse_over_scale)
    return f"More than rounding its output leaves: {steps} instead of 0.29, {alone}{weights}{clipped}."


def _also_clips(seen: Symptoms) -> str:
    share = seen.clipped_share or 0.0
    return f" It also clips {_share(share)} of FP32's values on this image." if share >= WORTH_SAYING else ""


def _share(share: float | None) -> str:
    if share is None:
        return "a part"
    return f"{share:.0%}" if share >= 0.095 else f"{100 * share:.2g}%"


def _db(value: float | None) -> str:
    return "no SQNR" if value is None else f"{value:.1f} dB"


def _steps(value: float | None) -> str:
    return "an unknown error" if value is None else f"an RMSE of {value:.2f} steps"
