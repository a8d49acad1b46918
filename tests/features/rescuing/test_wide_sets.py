"""A rescue in integers alone gives 16 bits to the operators that need them, and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.context import Context
from qviz.datasets.files import load_images, unannotated_images
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError, SettingsError
from qviz.features.building.source import source_of
from qviz.features.detection.models import ModelSource, load_model
from qviz.features.rescuing import Request, Rescue, rescue
from qviz.features.rescuing.result import AGREEMENT, SIZE, Budget, Candidate, Move
from qviz.store import FILE, Store
from qviz.structures import EncodedImage
from qviz.tflite.edit import add_tensor, operator_code, packed, unpacked
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.features.layer_error.small_detector import OUTLIER, SETTINGS, small_detector

BUDGET = Budget(AGREEMENT, 0.2)
WIDE = (OUTLIER, OUTLIER + 1)


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images(sorted((sample.folder / "calibration").glob("*.jpg"))[:26]))


def run(context: Context, data: bytes, images: list[EncodedImage], report: int = 0, budget: Budget = BUDGET) -> Rescue:
    """A rescue with 6 images for the calibration; with `report`, as many others are those of the report."""
    reference = load_model(context.engine, ModelSource("small.tflite", data, settings=SETTINGS))
    request = Request(budget, SIZE, integers_only=True)
    dataset = unannotated_images("photographs", images[6 + report :])
    others = unannotated_images("others", images[6 : 6 + report]) if report else None
    return rescue(context, reference, source_of(reference), images[:6], dataset, request, others)


def test_only_the_operators_around_an_outlier_get_16_bits(
    engine: LocalEngine, images: list[EncodedImage], tmp_path: Path
) -> None:
    network = small_detector(planted=False, outlier=True)
    with Store(tmp_path / FILE) as store:
        result = run(Context(engine, store), network, images)
        assert result.within_budget and result.chosen is not None
        wide = result.chosen.tried.candidate.wide_operators
        assert set(WIDE) <= set(wide) and len(wide) <= 3
        assert result.chosen.tried.moves[-1] == Move("wide", wide)
        assert result.chosen.tried.scheme == "mixed"
        plain = [row for row in result.tried if not row.moves]
        assert plain and plain[0].search_loss is not None and plain[0].search_loss > 0.5
        assert result.chosen.tried.bytes < 1.02 * plain[0].bytes
        first = result.contributions[0]
        assert (first.code, first.operators) == ("wide", wide)
        assert first.loss is not None and first.loss > 0.5
        operators = [op for op in read_graph(result.data).ops if op.kind not in ("QUANTIZE", "DEQUANTIZE")]
        tensors = read_graph(result.data).tensors
        assert {tensors[op.outputs[0]].dtype for op in operators} == {"int8", "int16"}
        json.dumps(result.to_json(), allow_nan=False)
        (journal,) = (tmp_path / "rescue").iterdir()
        lines = journal.read_bytes()
        again = run(Context(engine, store), network, images)  # every measurement is in the journal
        assert journal.read_bytes() == lines and again.data == result.data


def test_within_limits_the_best_file_is_chosen(engine: LocalEngine, images: list[EncodedImage]) -> None:
    """A limit excludes larger files and those with more 16-bit operators; of the others, quality decides."""
    network = small_detector(planted=False, outlier=True)
    limited = Budget.of(min_agreement=0.999, max_size="1.02x", max_wide_operators=3)
    result = run(Context(engine), network, images, budget=limited)
    best = result.best
    assert best is not None and 2 <= len(best.candidate.wide_operators) <= 3
    measured = [row for row in result.tried if not row.error]
    assert best.quality == max(row.quality or 0.0 for row in measured)
    plain = next(row for row in measured if not row.moves)
    assert all(row.bytes <= 1.02 * plain.bytes and len(row.candidate.wide_operators) <= 3 for row in measured)
    refused = {row.candidate.recipe: row.error for row in result.tried if row.error}
    assert refused == {"int16x8": "All operators in 16 bits, where at most 3 may be."}
    assert not best.within and result.chosen is not None and result.chosen.loss_on_search is not None
    assert "with at most 1.02x the size of plain int8 and at most 3 operators in 16 bits) on 10 search" in str(result)
    assert "search images, where the chosen file has agreement 0." in str(result)
    assert "; the one with the best quality is int8" in str(result)
    tight = Budget.of(min_agreement=0.999, max_size=plain.bytes)
    smallest = run(Context(engine), network, images, budget=tight)
    assert smallest.best is not None and smallest.best.bytes <= plain.bytes
    assert (
        f"bytes, where at most {plain.bytes:,} may be."
        in {row.candidate.recipe: row.error for row in smallest.tried}["int16x8"]
    )


def test_limits_that_are_none_are_refused() -> None:
    for size in ("1.02", "x", "-5", "0", "1e3", "1.02X"):
        with pytest.raises(SettingsError, match="is not a size of a file; give a number of bytes"):
            Budget.of(0.01, max_size=size)
    with pytest.raises(SettingsError, match="-1 operators in 16 bits are not possible"):
        Budget.of(0.01, max_wide_operators=-1)
    assert Budget.of(0.01, max_size=5).bytes_allowed(100) == 5
    assert Budget.of(0.01, max_size="1.5x").bytes_allowed(101) == 151
    assert Budget.of(0.01).bytes_allowed(100) is None


def test_16_bits_that_gain_nothing_are_not_searched_for(engine: LocalEngine, images: list[EncodedImage]) -> None:
    """The fault is in the weights; 16-bit activations leave it."""
    result = run(Context(engine), small_detector(), images)
    assert not result.within_budget
    assert {row.candidate.wide_operators for row in result.tried} == {()}
    assert {row.candidate.float_operators for row in result.tried} == {()}


def test_a_healthy_network_stays_as_it_is(engine: LocalEngine, images: list[EncodedImage]) -> None:
    result = run(Context(engine), small_detector(planted=False), images, report=8)
    assert (result.images.search, result.images.report) == (12, 8)  # with images for the report, no halves
    assert [row.candidate for row in result.tried] == [Candidate("int8")]
    assert result.contributions == ()


def test_recipes_in_float_are_refused() -> None:
    with pytest.raises(SettingsError, match="float16 computes in float; with --integers-only choose int8 and int16x8"):
        Request(BUDGET, SIZE, ("float16",), integers_only=True)
    assert Request(BUDGET, integers_only=True).recipe_names == ("int8", "int16x8")


def test_a_candidate_is_named_and_built_again_with_its_moves() -> None:
    candidate = Candidate("int8", ranges="percentile", float_operators=(9,), wide_operators=(0, 1, 2))
    assert candidate.name == "int8 (percentile), 0-2 in 16 bits, 9 float"
    assert "--keep-operators 9 --wide-operators 0-2 --ranges percentile" in candidate.command("a", ["b"], "c")
    assert [move.code for move in candidate.moves] == ["ranges", "wide", "float"]
    assert candidate.without("wide") == Candidate("int8", ranges="percentile", float_operators=(9,))


def test_a_file_with_an_operator_in_float_is_not_integers_only(engine: LocalEngine, images: list[EncodedImage]) -> None:
    """FLOOR has no integer kernel, so no recipe computes on integers alone."""
    model = unpacked(small_detector(planted=False))
    subgraph = model.subgraphs[0]
    entry = subgraph.inputs[0]
    floored = add_tensor(model, "floored", like=entry)
    for op in subgraph.operators:
        op.inputs = [floored if index == entry else index for index in op.inputs]
    floor = fb.OperatorT(opcodeIndex=operator_code(model, "FLOOR"), inputs=[entry], outputs=[floored])
    subgraph.operators = [floor, *subgraph.operators]
    with pytest.raises(QuantizeError, match="FLOOR in float, where only integers may be"):
        run(Context(engine), packed(model), images)
