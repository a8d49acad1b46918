"""What a training gained: an interval that excludes 0, or the sentence that nothing is measurable."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.features.training import Gain, QatResult, _gain
from qviz.features.training.text import verdict


def _counts(same: list[int], objects: int) -> np.ndarray:
    """(images, 2): agreeing objects, and objects of both models."""
    return np.array([(agreeing, objects) for agreeing in same])


def test_the_interval_is_of_paired_differences() -> None:
    gain = _gain(_counts([1] * 20, 5), _counts([3] * 20, 7))
    assert (gain.before, gain.after, gain.images) == (0.4, 6 / 7, 20)
    assert (gain.low, gain.high) == pytest.approx((6 / 7 - 0.4, 6 / 7 - 0.4))  # all images are alike
    gain = _gain(_counts([0, 4] * 10, 8), _counts([4, 0] * 10, 8))
    assert gain.low < 0 < gain.high and not gain.significant
    no_objects = _gain(_counts([0, 0], 0), _counts([0, 0], 0))
    assert (no_objects.before, no_objects.after, no_objects.low, no_objects.high) == (None, None, None, None)
    assert not no_objects.significant and no_objects.value is None
    assert verdict(QatResult((1.0,), 1, gain=no_objects)).startswith("No object is found on 2 held-out images")


def _verdict(before: float, after: float, low: float, high: float) -> str:
    return verdict(QatResult((1.0,), 1, gain=Gain(before, after, low, high, 20)))


def test_verdict_on_the_gain() -> None:
    assert _verdict(0.4, 0.8, 0.3, 0.5) == (
        "Training helped: agreement with FP32 0.400 → 0.800, +0.400 [+0.300, +0.500] on 20 held-out images."
    )
    assert _verdict(0.8, 0.4, -0.5, -0.3).startswith("Training made it worse")
    assert _verdict(0.91, 0.92, -0.01, 0.03).startswith("Training made no measurable difference")
    assert _verdict(0.91, 0.92, -0.01, 0.03).endswith("on 20 held-out images; the interval includes zero.")
    assert str(QatResult((2.0, 1.0), 60)) == "2 of 60 training steps done; the gain is not measured yet."
