"""Layers, what-if, trace and report name the same operators for the same images, and none that experiments clear."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.engine import LocalEngine
from qviz.features.layer_error.metrics import LayerError
from qviz.features.layer_error.outliers import worst_layer
from qviz.features.layer_error.text import layers_verdict
from qviz.features.tracing.text import against_whole
from qviz.features.what_if import FloatSet, WhatIf
from qviz.features.what_if.candidates import candidates
from qviz.features.what_if.text import culprit_sentence, verdict
from qviz.session import Session
from qviz.tflite.schema import read_graph
from tests.conftest import ROOT, Sample
from tests.features.layer_error.test_outliers import errors, layer

SHARED = ROOT.parent / "shared"
NAMES = ("biplane.jpg", "dog_shepherd.jpg", "horses_nokota.jpg")


def row(kind: str, orders: tuple[int, ...], explained: float, subject: str = "") -> FloatSet:
    return FloatSet(orders, kind, 0.5 + explained / 2, None, explained, None, subject=subject)


def result(*sets: FloatSet) -> WhatIf:
    return WhatIf("float32", "int8", 8, 100, 0.5, None, None, sets)


WHOLE = row("all", tuple(range(100)), 1.0)
PREFIX = row("prefix", tuple(range(25)), 0.9, "operators 0-24")
LOGISTIC = row("layer", (30,), 0.0, "operator 30 (LOGISTIC)")


def test_a_single_operator_is_named_where_it_brings_back_half() -> None:
    single = row("range", (0, 1), 0.8, "operator 0 (QUANTIZE)")
    assert result(WHOLE, PREFIX, single, LOGISTIC).named == single
    sentence = culprit_sentence(result(WHOLE, PREFIX, single, LOGISTIC))
    assert sentence == "In float, operator 0 (QUANTIZE) brings back 80% of the lost agreement on 8 images."


def test_operators_that_only_add_up_are_named_together() -> None:
    sentence = culprit_sentence(result(WHOLE, PREFIX, LOGISTIC))
    assert "operators 0-24 together bring back 90%" in sentence
    assert "LOGISTIC" not in sentence and "none of those tried alone brings back more than 5%" in sentence
    better = culprit_sentence(result(WHOLE, PREFIX, row("layer", (12,), 0.4, "operator 12 (CONV_2D)")))
    assert "the best single one, operator 12 (CONV_2D), 40%" in better


def test_nothing_is_named_where_nothing_comes_back() -> None:
    without = result(row("all", tuple(range(100)), 0.05), replace(PREFIX, explained=0.04), LOGISTIC)
    assert without.named is None and "none of the tried operators" in culprit_sentence(without)
    assert culprit_sentence(replace(result(WHOLE, PREFIX), base=1.0)) == ""
    searched = row("found", (3,), 1.0)
    assert result(WHOLE, searched, PREFIX).named == PREFIX  # the same with a search as without


def clipping(kind: str, share: float, fixed: bool, beyond: float = 1.0) -> LayerError:
    return replace(
        layer(30, kind=kind, clipped=share, fall=0.1), clipping_mse=beyond, rounding_mse=0.1, fixed_range=fixed
    )


def test_a_range_that_the_kernel_prescribes_is_not_the_layer_to_look_at() -> None:
    fall = layer(12, fall=9.0)
    assert worst_layer([fall, clipping("LOGISTIC", 0.14, fixed=True)]) == fall
    assert worst_layer([fall, clipping("CONV_2D", 0.14, fixed=False, beyond=0.01)]) == fall  # less than rounding
    chosen = clipping("CONV_2D", 0.14, fixed=False)
    assert worst_layer([fall, chosen]) == chosen
    text = layers_verdict({"int8": errors(fall, clipping("LOGISTIC", 0.14, fixed=True))})
    assert "LOGISTIC" not in text and "the largest drop in SQNR, 9 dB, is at operator 12" in text
    assert "culprit" not in text and "cause" not in text


def test_a_fall_from_an_exact_input_is_not_the_largest() -> None:
    first, later = layer(1, fall=110.0, cumulative=42.0), layer(12, fall=20.0, cumulative=12.0)
    assert worst_layer([first, later]) == later
    assert "from a nearly exact input to 42 dB" in layers_verdict({"int8": errors(first)})


def test_an_operator_that_only_moves_values_is_not_the_largest_fall() -> None:
    gather, later = layer(62, kind="GATHER", fall=46.0), layer(70, fall=4.0)
    assert worst_layer([gather, later]) == later


def test_a_fall_behind_a_prescribed_scale_is_not_the_largest() -> None:
    logistic, later = replace(layer(62, kind="LOGISTIC", fall=17.0), fixed_range=True), layer(70, fall=4.0)
    assert worst_layer([logistic, later]) == later


def test_a_layer_that_amplifies_earlier_error_is_reported_so() -> None:
    row = replace(layer(12, local=22.0, fall=13.0, cumulative=5.0), local_mse=1.0, cumulative_mse=50.0)
    text = layers_verdict({"int8": errors(row)})
    assert "at operator 12 (CONV_2D), which alone keeps 22 dB and amplifies earlier error" in text
    assert "amplifies" not in layers_verdict({"int8": errors(replace(row, cumulative_mse=9.0))})


def test_a_layer_that_an_experiment_clears_is_not_mentioned() -> None:
    measured = errors(layer(30, kind="LOGISTIC", fall=17.0), layer(12, fall=9.0))
    assert "LOGISTIC" in layers_verdict({"int8": measured})
    assert "LOGISTIC" not in layers_verdict({"int8": measured}, {"int8": result(WHOLE, PREFIX, LOGISTIC)})


def test_the_references_number_stands_beside_the_variants() -> None:
    measured = errors(replace(layer(12, fall=9.0), reference_order=11))
    assert "operator 12 (CONV_2D; 11 in the reference)" in layers_verdict({"int8": measured})
    same = errors(replace(layer(12, fall=9.0), reference_order=12))
    assert "operator 12 (CONV_2D)" in layers_verdict({"int8": same})


@pytest.fixture(scope="module")
def session(engine: LocalEngine, sample: Sample) -> Session:
    files = [sample.models[name] for name in ("float32", "int8_wrong_range")]
    return Session(*files, images=[sample.images / name for name in NAMES], engine=engine, cache=False)


def test_all_name_the_input_of_the_wrong_range(session: Session, sample: Sample) -> None:
    quick, whole = session.what_if(quick=True), session.what_if()
    assert quick.named is not None and quick.named.subject == "operator 0 (QUANTIZE)"
    assert whole.named == quick.named and len(quick.sets) < len(whole.sets)
    sentence = culprit_sentence(quick)
    assert sentence in layers_verdict({"int8_wrong_range": session.layers()}, {"int8_wrong_range": quick})
    assert sentence in verdict(quick)
    trace = session.trace(image=sample.images / NAMES[0])
    assert trace.culprits[0].order in quick.named.orders and "operator 0 (QUANTIZE)" in trace.sentence
    assert against_whole(trace, quick) == ""
    elsewhere = replace(quick, sets=(WHOLE, row("layer", (40,), 0.9, "operator 40 (ADD)")))
    assert "over all objects it is different: In float, operator 40 (ADD)" in against_whole(trace, elsewhere)


def test_candidates_can_run_in_float_and_leave_something(session: Session, sample: Sample) -> None:
    graph = read_graph(sample.models["int8_wrong_range"].read_bytes())
    possible = frozenset(range(10, 100))
    sets = candidates(graph, session.layers(), possible)
    assert {one.kind for one in sets} >= {"layer", "prefix", "suffix"}
    assert all(one.orders and one.orders < possible and one.subject for one in sets)
    assert len({one.orders for one in sets}) == len(sets) <= 20


OTHERS = [("yolox_nano_float32", "yolox_nano_integer_quant", "LOGISTIC")]


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "variant", "cleared"), OTHERS)
def test_a_logistic_that_explains_nothing_is_not_named(
    engine: LocalEngine, reference: str, variant: str, cleared: str
) -> None:
    paths = [SHARED / "models" / f"{name}.tflite" for name in (reference, variant)]
    images = sorted((SHARED / "coco" / "images").glob("*.jpg"))[:4]
    if not all(path.exists() for path in paths) or not images:
        pytest.skip("the models beside the project are not there")
    with Session(*paths, images=images, engine=engine, cache=False) as pair:
        tried = pair.what_if(quick=True)
    assert tried.named is not None and tried.named.kind in ("prefix", "window")
    assert cleared not in tried.named.subject
    assert all((one.explained or 0) < 0.2 for one in tried.sets if cleared in one.subject)
