"""The result of a training in words."""

from __future__ import annotations

from qviz.features.training import QatResult
from qviz.formatting import plural


def verdict(result: QatResult) -> str:
    """`Training helped: agreement with FP32 0.400 → 0.800, +0.400 [+0.300, +0.500] on 20 held-out images.`"""
    gain = result.gain
    if gain is None:
        return f"{len(result.losses)} of {plural(result.steps, 'training step')} done; the gain is not measured yet."
    images = plural(gain.images, "held-out image")
    if gain.before is None or gain.after is None or gain.value is None or gain.low is None or gain.high is None:
        return f"No object is found on {images}, so it is unknown what training changed; use images that show objects."
    figures = (
        f"agreement with FP32 {gain.before:.3f} → {gain.after:.3f}, {gain.value:+.3f}"
        f" [{gain.low:+.3f}, {gain.high:+.3f}] on {images}"
    )
    if not gain.significant:
        return f"Training made no measurable difference: {figures}; the interval includes zero."
    return f"Training {'made it worse' if gain.value < 0 else 'helped'}: {figures}."
