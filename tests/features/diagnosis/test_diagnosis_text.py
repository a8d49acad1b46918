"""Sentences of a diagnosis at the edges: a share of nothing is not a gain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.cost.npu import NpuCost, NpuOperator
from qviz.features.diagnosis.price import priced
from qviz.features.diagnosis.result import Cause, Cure, Diagnosis, Estimate, Evidence, NpuPrice, Plan, SameNetwork
from qviz.features.diagnosis.text import brings_back, built_price, figure_text, price_figures


@pytest.mark.parametrize(
    ("share", "sentence"),
    [
        (0.82, "82% comes back [70, 89]"),
        (0.002, "nothing comes back [70, 89]"),
        (-0.2, "nothing comes back [70, 89]"),
        (None, "not measured"),
    ],
)
def test_what_comes_back(share: float | None, sentence: str) -> None:
    assert brings_back(Cause("weights", "operator 3", "", (3,), share, 0.7, 0.89)) == sentence


def test_a_negative_figure_is_nothing() -> None:
    figure = "comes back in float with the variant's own weights"
    assert figure_text(Evidence(figure, -1.65, "%", "operator 3")) == f"nothing {figure}, operator 3"
    assert figure_text(Evidence(figure, 41.27, "%", "operator 3")) == f"41% {figure}, operator 3"
    assert figure_text(Evidence("lowest local SQNR", -1.65, "dB", "operator 3")).startswith("-1.65 dB lowest")


def _cost(ms: float, cpu: int) -> NpuCost:
    rows = (
        NpuOperator(3, "CONV_2D", "a", "npu", 1_000_000, 10),
        NpuOperator(4, "CONV_2D", "b", "npu", 500_000, 10),
        NpuOperator(5, "ADD_N", "c", "cpu", 0, 10),
    )
    return NpuCost("ethos-u55-256", "Vela", "system", 500.0, ms, 1_500_000, 30, 1.0, 1.0, 1.0, 2, cpu, rows)


def _diagnosis(*cures: Cure) -> Diagnosis:
    cause = Cause("activations", "operators 3-5", "", (3, 4, 5), 0.8)
    result = Diagnosis("float32", "int8", 10, 10, 9, SameNetwork("yes", ""), 0.5, causes=(cause,), cures=cures)
    return replace(result, variant_bytes=5_000_000, before=Estimate("agreement", 0.5, None, None, 5))


def _cure(code: str, plan: Plan, **figures: object) -> Cure:
    cure = Cure(code, "", "qviz quantize", ("activations",), 5_400_000, Estimate("agreement", 0.9, None, None, 10))
    return replace(cure, plan=plan, **figures)


def test_a_cure_that_changes_operators_names_their_time_on_the_npu() -> None:
    wide = _cure("wide_operators", Plan("int8", {"wide_operators": "3-5"}))
    again = _cure("recalibrate", Plan("int8"), bytes=5_000_000)
    result = priced(_diagnosis(wide, again), _cost(3.0, 1))
    assert price_figures(result, result.cures[0]) == [
        "1 per MB more",
        "its operators take 3.00 of 3.00 ms on ethos-u55-256",
    ]
    assert price_figures(result, result.cures[1]) == []  # it changes no types, and the file is no larger
    assert price_figures(_diagnosis(wide), wide) == ["1 per MB more"]
    small = replace(wide, bytes=5_003_600)
    assert price_figures(_diagnosis(small), small) == ["110 per MB more"]  # no exponent


@pytest.mark.parametrize(
    ("ms", "cpu", "text"),
    [
        (5.0, 1, "3.00 → 5.00 ms on ethos-u55-256, 0.2 per ms more"),
        (2.0, 4, "3.00 → 2.00 ms on ethos-u55-256, 3 operators more on the CPU, not counted"),
        (2.9, 1, "3.00 → 2.90 ms on ethos-u55-256"),
    ],
)
def test_a_built_cure_has_a_price_per_millisecond(ms: float, cpu: int, text: str) -> None:
    price = NpuPrice("ethos-u55-256", 3.0, 1, 3.0, ms, cpu)
    cure = _cure("wide_operators", Plan("int8"), measured=Estimate("agreement", 0.9, None, None, 5), npu=price)
    assert price_figures(_diagnosis(cure), cure) == ["1 per MB more", text]


def test_size_and_time_of_a_cure_built_on_the_page() -> None:
    assert built_price((5_370_000, 5_400_000), (None, None)) == "It has 5.40 MB instead of 5.37 MB."
    both = built_price((5_370_000, 5_400_000), (_cost(3.0, 1), _cost(5.0, 3)))
    assert both == (
        "It has 5.40 MB instead of 5.37 MB, and takes 5.00 ms instead of 3.00 ms on ethos-u55-256, with 2 operators"
        " more on the CPU, not counted."
    )
