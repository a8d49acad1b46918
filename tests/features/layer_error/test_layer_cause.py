"""The sentence about a layer on constructed figures: each rule, and figures to which it does not apply."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.features.layer_error.detail import cause_of
from qviz.features.layer_error.figures import OwnError, WeightError
from qviz.features.layer_error.tensor_error import ValueRange

ERROR = OwnError(1.0, 40.0, 0.29, 1.0, 40.0, None, 0.0, 1.0, None)
VALUES = ValueRange((0.0, 1.0), (0.0, 1.0), (0.0, 1.0), clipped_share=0.0, unused_share=0.1)
WEIGHTS = WeightError((1,), "int8", True, 0, 41.0, 42.0, np.zeros(0, np.float32), ())
CASES = [
    ({"cumulative_mse": 0.0, "cumulative_sqnr_db": None}, "No error: its output equals"),
    ({}, "Only normal rounding error: an RMSE of 0.29 steps"),
    # 9 times its own error is not "most from earlier layers"; 10 times is
    ({"cumulative_mse": 9.0, "cumulative_sqnr_db": 30.5}, "Only normal rounding error"),
    (
        {"cumulative_mse": 10.0, "cumulative_sqnr_db": 30.0},
        "Most of the error comes from earlier layers: 30.0 dB here, 40.0 dB on FP32's activations.",
    ),
    ({"local_mse": 0.0, "local_sqnr_db": None}, "All of the error comes from earlier layers: 40.0 dB here"),
    (
        {"local_mse": 10.0, "cumulative_mse": 10.0, "clipping_mse": 6.0, "clipped_share": 0.625},
        "Clipping: 62% of FP32's values on this image are outside the representable range.",
    ),
    ({"local_mse": 10.0, "cumulative_mse": 10.0, "clipping_mse": 4.0, "clipped_share": 0.02}, "It also clips 2% of"),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "weight_sqnr_db": 21.0}, "Coarse weights: 21.0 dB; the median"),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "weight_sqnr_db": 33.0}, "More error than rounding its output explains"),
    # coarse weights that do no harm: the error is no larger than rounding's
    ({"weight_sqnr_db": 21.0}, "Only normal rounding error"),
    ({"unused_share": 0.75}, "Its range is wide: 75% "),
    (
        {"local_mse": 9.0, "cumulative_mse": 9.0, "local_sqnr_db": 30.5, "local_rmse_over_scale": 0.87},
        "More error than rounding its output explains: an RMSE of 0.87 steps instead of 0.29, 30.5 dB alone; its",
    ),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "input_clipped_share": 0.3}, "; 30% of its input is clipped."),
    ({"local_mse": None, "rounding_mse": 0.1}, "It cannot be run alone, so its own share is unknown"),
    (
        {"quantized": False, "rounding_mse": None, "clipping_mse": None, "local_rmse_over_scale": None},
        "Its output is float and still differs: 40.0 dB alone; its weights: 41.0 dB.",
    ),
]


@pytest.mark.parametrize(("facts", "sentence"), CASES)
def test_the_cause_follows_from_the_figures(facts: dict[str, object], sentence: str) -> None:
    quantized, weight_db = facts.get("quantized", True), facts.get("weight_sqnr_db", 41.0)
    error = replace(ERROR, **{name: facts[name] for name in OwnError.__slots__ if name in facts})
    values = replace(VALUES, **{name: facts[name] for name in ValueRange.__slots__ if name in facts})
    assert sentence in cause_of(error, values, replace(WEIGHTS, sqnr_db=weight_db), bool(quantized))
