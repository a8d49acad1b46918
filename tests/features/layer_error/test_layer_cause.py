"""The sentence about a layer, on figures made by hand: each rule, and the figures that must not trip it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.layer_error.detail import Symptoms, cause_of

EQUAL = Symptoms(cumulative_mse=0.0, cumulative_sqnr_db=None)
ROUNDED = Symptoms(
    cumulative_mse=1.0,
    cumulative_sqnr_db=40.0,
    local_mse=1.0,
    local_sqnr_db=40.0,
    rmse_over_scale=0.29,
    clipped_share=0.0,
    unused_share=0.1,
    clipping_mse=0.0,
    rounding_mse=1.0,
    weight_sqnr_db=41.0,
    usual_weight_db=42.0,
)
CASES = [
    (EQUAL, "No error: its output equals"),
    (ROUNDED, "Only normal rounding error: an RMSE of 0.29 steps"),
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
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "weight_sqnr_db": 33.0}, "More error than rounding of its output"),
    # coarse weights that do no harm: the error is no larger than rounding's
    ({"weight_sqnr_db": 21.0}, "Only normal rounding error"),
    ({"unused_share": 0.75}, "Its range is wide: 75% "),
    (
        {"local_mse": 9.0, "cumulative_mse": 9.0, "local_sqnr_db": 30.5, "rmse_over_scale": 0.87},
        "More error than rounding of its output: an RMSE of 0.87 steps instead of 0.29, 30.5 dB alone; its weights",
    ),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "input_clipped_share": 0.3}, "; 30% of its input is clipped."),
    ({"local_mse": None, "rounding_mse": 0.1}, "It cannot be run alone, so its own share is unknown"),
    (
        {"quantized": False, "rounding_mse": None, "clipping_mse": None, "rmse_over_scale": None},
        "Its output is float and still differs: 40.0 dB alone; its weights: 41.0 dB.",
    ),
]


@pytest.mark.parametrize(("facts", "sentence"), CASES)
def test_the_cause_follows_from_the_figures(facts: Symptoms | dict[str, object], sentence: str) -> None:
    symptoms = facts if isinstance(facts, Symptoms) else replace(ROUNDED, **facts)  # type: ignore[arg-type]
    assert sentence in cause_of(symptoms)
