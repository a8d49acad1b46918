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
    (EQUAL, "Nothing is lost"),
    (ROUNDED, "Only rounding is left: an RMSE of 0.29 steps"),
    # 9 times its own error is not "most came in"; 10 times is
    ({"cumulative_mse": 9.0, "cumulative_sqnr_db": 30.5}, "Only rounding is left"),
    (
        {"cumulative_mse": 10.0, "cumulative_sqnr_db": 30.0},
        "Most of the error came in from before: 30.0 dB here, 40.0 dB when fed FP32's activations.",
    ),
    ({"local_mse": 0.0, "local_sqnr_db": None}, "The error came in from before: 40.0 dB here, and none of its own."),
    (
        {"local_mse": 10.0, "cumulative_mse": 10.0, "clipping_mse": 6.0, "clipped_share": 0.625},
        "Clipping: 62% of FP32's values on this image lie outside of the range it can hold.",
    ),
    ({"local_mse": 10.0, "cumulative_mse": 10.0, "clipping_mse": 4.0, "clipped_share": 0.02}, "It also clips 2% of"),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "weight_sqnr_db": 21.0}, "Coarse weights: 21.0 dB, where the median"),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "weight_sqnr_db": 33.0}, "More than rounding its output leaves"),
    # coarse weights that do no harm: the error is no larger than rounding's
    ({"weight_sqnr_db": 21.0}, "Only rounding is left"),
    ({"unused_share": 0.75}, "Its range is wide: 75% of it is not reached here."),
    (
        {"local_mse": 9.0, "cumulative_mse": 9.0, "local_sqnr_db": 30.5, "rmse_over_scale": 0.87},
        "More than rounding its output leaves: an RMSE of 0.87 steps instead of 0.29, 30.5 dB alone; its weights: 41.0",
    ),
    ({"local_mse": 9.0, "cumulative_mse": 9.0, "input_clipped_share": 0.3}, "; 30% of what it reads is clipped."),
    ({"local_mse": None, "rounding_mse": 0.1}, "Its own share is not known"),
    (
        {"quantized": False, "rounding_mse": None, "clipping_mse": None, "rmse_over_scale": None},
        "Its output is float, and still differs: 40.0 dB alone; its weights: 41.0 dB.",
    ),
]


@pytest.mark.parametrize(("said", "sentence"), CASES)
def test_the_cause_follows_from_the_figures(said: Symptoms | dict[str, object], sentence: str) -> None:
    seen = said if isinstance(said, Symptoms) else replace(ROUNDED, **said)  # type: ignore[arg-type]
    assert sentence in cause_of(seen)
