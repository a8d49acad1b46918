"""Outlier layers: compared with their operator type if it is frequent, else with all layers."""

from __future__ import annotations

import pytest

from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import LayerError
from qviz.features.layer_error.outliers import outliers, worst_layer, worst_variant


def layer(
    order: int,
    local: float | None = 40.0,
    kind: str = "CONV_2D",
    fall: float | None = 0.5,
    clipped: float | None = 0.0,
    cumulative: float | None = 30.0,
) -> LayerError:
    values = {
        "order": order,
        "tensor": f"t{order}",
        "op_kind": kind,
        "local_mse": 0.1,
        "local_sqnr_db": local,
        "cumulative_sqnr_db": cumulative,
        "fall_db": fall,
        "clipped_share": clipped,
        "worst_image": "a.jpg",
    }
    return LayerError(**dict.fromkeys(LayerError.__slots__) | values)  # type: ignore[arg-type]


def errors(*layers: LayerError) -> LayerErrors:
    return LayerErrors("FP32", "int8", "reference", 1, 1.0, (), (), layers=layers)


CONVS = [layer(i, 40 + i % 3) for i in range(10)]  # 40, 41, 42: median 41, MAD 1, bar 36.6


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], set()),
        ([layer(10, 37.0)], set()),
        ([layer(10, 35.0)], {10}),
        ([layer(10, 80.0)], set()),  # better than the others is not an error
        ([layer(10, None)], set()),  # no error at all
        ([layer(10, 35.0, "ADD")], {10}),  # rare: measured against all
        ([layer(10 + i, 20 + i % 3, "ADD") for i in range(8)], set()),  # frequent: compared with its type
        ([*(layer(10 + i, 20 + i % 3, "ADD") for i in range(8)), layer(18, 10.0, "ADD")], {18}),
    ],
)
def test_local_error_is_compared_within_the_operator_type(more: list[LayerError], expected: set[int]) -> None:
    assert outliers([*CONVS, *more]).local == expected


def test_a_layer_different_from_equal_ones_is_an_outlier() -> None:
    assert outliers([*(layer(i, 40.0) for i in range(20)), layer(20, 5.0)]).local == {20}
    assert outliers([layer(i, 40.0) for i in range(20)]).local == set()


def test_a_steep_fall_is_an_outlier_and_a_rise_is_not() -> None:
    falls = [0.0, 0.5, 1.0, 0.5, 0.2, 0.8, 14.0, -14.0]
    unusual = outliers([layer(i, 40.0, fall=fall) for i, fall in enumerate(falls)])
    assert unusual.fall == {6} and unusual.local == set()
    assert 6 in unusual and 7 not in unusual and len(unusual) == 1
    assert (unusual.reasons(6), unusual.reasons(0)) == ("fall", "")


def test_two_layers_have_no_outliers() -> None:
    assert len(outliers([layer(0, 90.0), layer(1, 1.0)])) == 0
    assert len(outliers([])) == 0


@pytest.mark.parametrize(
    ("layers", "order"),
    [
        ([layer(0, fall=9.0), layer(1, clipped=0.3)], 1),  # clipping first, as in the verdict
        ([layer(0, fall=1.0, clipped=0.01), layer(1, fall=9.0)], 1),
        ([layer(0, 50.0, fall=None), layer(1, 20.0, fall=None), layer(2, None, fall=None)], 1),
        ([], None),
    ],
)
def test_the_layer_to_look_at_first(layers: list[LayerError], order: int | None) -> None:
    worst = worst_layer(layers)
    assert (None if worst is None else worst.order) == order


def test_the_worst_variant_ends_lowest() -> None:
    good = errors(layer(0, cumulative=10.0), layer(1, cumulative=50.0))
    bad = errors(layer(0, cumulative=60.0), layer(1, cumulative=20.0), layer(2, cumulative=None))
    assert worst_variant({"good": good, "bad": bad}) == "bad"
    assert worst_variant({"same": errors(layer(0, cumulative=None))}) is None
