"""Causes on the detectors of coloured squares, whose faults are known: each is confirmed by running a part alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qviz.engine import LocalEngine
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.text import layers_verdict
from qviz.features.tracing import Trace
from qviz.features.tracing.cause import cause_of
from qviz.features.tracing.evidence import Evidence, ReadTensor, WeightFacts
from qviz.features.what_if.text import culprit_sentence, verdict
from qviz.session import Session
from qviz.structures import Quantization, Tensor
from qviz.tflite.edit import packed, unpacked
from qviz.tflite.schema import read_graph
from tests import faults
from tests.conftest import Sample
from tests.squares import Squares
from tests.test_squares import session

IMAGE = "s03.png"


@pytest.fixture
def opened(engine: LocalEngine, squares: Squares) -> Callable[..., Session]:
    def pair(reference: Path, variant: Path, **settings: Any) -> Session:
        return session(engine, squares, reference, variant, **{"dataset": None, "dataset_images": None} | settings)

    return pair


def traced(opened: Session, squares: Squares, number: int | None = None) -> Trace:
    with opened:
        return opened.trace(image=squares.images / IMAGE, object_number=number)


def test_a_channel_rounded_to_zero_is_named(opened: Callable[..., Session], squares: Squares) -> None:
    files = squares.model("spread_weights"), squares.model("spread_weights", "int8_per_tensor")
    result = traced(opened(*files), squares, 0)
    first = result.culprits[0]
    assert (first.op_kind, first.cause) == ("CONV_2D", "weights")
    assert (
        "output channel 2 is rounded to zero" in first.sentence and "one scale for the whole tensor" in first.sentence
    )
    assert first.alone is not None and first.alone > 0.9
    with opened(*files, images=squares.images) as compared:
        row = next(layer for layer in compared.layers().layers if layer.order == first.order)
    assert row.weight_sqnr_db is not None and row.weight_sqnr_db > 40
    assert (row.weight_channel, row.weight_channel_sqnr_db) == (2, pytest.approx(0.0, abs=0.01))


def test_the_join_is_named_with_its_columns(opened: Callable[..., Session], squares: Squares) -> None:
    files = squares.model("end_to_end"), squares.model("end_to_end", "int8")
    result = traced(opened(*files, labels=None), squares)
    first = result.culprits[0]
    assert first.op_kind == "CONCATENATION" and first.cause == "rounding"
    assert "columns on one scale" in first.sentence and "ordinary" not in first.sentence
    assert first.alone is not None and first.alone > 0.5 * (result.end_score - result.object.variant_score)
    with opened(*files, labels=None, images=squares.images) as compared:
        whole = compared.what_if(quick=True)
        assert any(layer.column_sqnr_db is not None for layer in compared.layers().layers)
    assert whole.named is not None and whole.named.kind == "join"
    assert first.order in whole.named.orders
    assert f"operator {first.order} (CONCATENATION" in culprit_sentence(whole)


@pytest.mark.parametrize("name", ["bgr_inside", "other_class_order", "other_checkpoint"])
def test_another_network_has_no_cause(opened: Callable[..., Session], squares: Squares, name: str) -> None:
    files = squares.model("reference"), squares.model(name)
    result = traced(opened(*files), squares)
    assert result.culprits == () == result.box_culprits
    assert [warning.code for warning in result.warnings] == ["not_same_network"]
    assert "was not made from" in result.sentence and "operator" not in result.sentence
    with opened(*files, images=squares.images) as compared:
        errors, whole = compared.layers(), compared.what_if(quick=True)
    assert "was not made from" in layers_verdict({"variant": errors}, {"variant": whole})
    assert whole.named is None and culprit_sentence(whole) == "" and "was not made from" in verdict(whole)
    for answer in (result, errors, whole):
        assert answer.to_json()["warnings"][0]["code"] == "not_same_network"


def test_another_input_size_is_a_sentence_and_no_table(opened: Callable[..., Session], squares: Squares) -> None:
    with opened(squares.model("reference"), squares.model("input_256"), images=squares.images) as compared:
        errors: LayerErrors = compared.layers()
    sentence = layers_verdict({"variant": errors})
    assert "256 x 256" in sentence
    assert errors.layers or "cannot be compared" in sentence


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_a_dead_channel_is_not_coarse(opened: Callable[..., Session], squares: Squares, precision: Any) -> None:
    files = squares.model("dead_channel"), squares.model("dead_channel", precision)
    result = traced(opened(*files), squares)
    assert "weights" not in {culprit.cause for culprit in result.culprits}
    with opened(*files, images=squares.images) as compared:
        colour = [layer for layer in compared.layers().layers if "colour" in layer.tensor and layer.weight_sqnr_db]
    assert all(layer.weight_channel != 3 for layer in colour)  # the dead one


def test_an_exact_input_is_no_culprit(opened: Callable[..., Session], squares: Squares) -> None:
    """Pixels are multiples of 1/255, which is the step of the input."""
    for precision in ("int8", "int8_io"):
        files = squares.model("reference"), squares.model("reference", precision)  # type: ignore[arg-type]
        result = traced(opened(*files), squares)
        assert all(culprit.op_kind != "QUANTIZE" or culprit.order for culprit in result.culprits)


def boxes_moved(data: bytes, times: float) -> bytes:
    """Every centre is further from the corner: the constant that scales the centres stands for larger numbers."""
    graph, model = read_graph(data), unpacked(data)
    centre, _ = [op for op in graph.ops if op.kind == "MUL"][-2:]  # of the stride that answers; then the size
    factor = next(index for index in centre.inputs if index is not None and graph.tensors[index].constant)
    parameters = model.subgraphs[0].tensors[factor].quantization
    parameters.scale = np.asarray(parameters.scale) * np.float32(times)
    return packed(model)


def test_a_range_that_is_far_too_wide_is_not_ordinary_rounding(
    opened: Callable[..., Session], squares: Squares
) -> None:
    """The converter gives the sum of two corners a range sixteen times as wide as its values."""
    files = squares.model("pixels_with_scores"), squares.model("pixels_with_scores", "int8")
    first = traced(opened(*files), squares).culprits[0]
    assert first.cause == "rounding" and "is too wide" in first.sentence and "unused" in first.sentence


@pytest.mark.parametrize(("times", "phrase"), [(1.02, "keeps its score"), (1.04, "because its box moves away (IoU")])
def test_a_box_that_moves_is_followed(
    opened: Callable[..., Session], squares: Squares, tmp_path: Path, times: float, phrase: str
) -> None:
    moved = tmp_path / "moved.tflite"
    moved.write_bytes(boxes_moved(squares.model("reference", "int8").read_bytes(), times))
    result = traced(opened(squares.model("reference"), moved), squares, 0)
    assert result.end_iou > 0.9 and 0.3 < result.points[0].iou < 0.85
    assert phrase in result.sentence and "box moves" in result.sentence and "not lose" not in result.sentence
    first = (result.culprits or result.box_culprits)[0]
    assert (first.order, first.op_kind) == (44, "MUL")
    assert first.alone is not None and first.alone > 0.1
    points = json.loads(json.dumps(result.to_json()))["points"]
    assert {"order", "tensor", "op_kind", "score", "iou"} <= points[0].keys()
    if times < 1.03:
        assert result.object.variant_score == pytest.approx(result.object.reference_score, abs=0.02)


def test_the_score_is_lost_in_the_output_itself(opened: Callable[..., Session], squares: Squares) -> None:
    """With an integer output FP32's own values are quantized where they are read: no operator comes after."""
    files = squares.model("end_to_end"), squares.model("end_to_end", "int8_io")
    result = traced(opened(*files, labels=None), squares)
    assert result.object.reference_score - result.object.variant_score > 0.1
    assert result.culprits and "does not lose confidence" not in result.sentence
    assert result.culprits[0].op_kind == "CONCATENATION" and "on one scale" in result.sentence


def test_a_zeroed_channel_of_a_real_network_is_named(engine: LocalEngine, sample: Sample, tmp_path: Path) -> None:
    order, channel = 9, 5

    def edit(model: Any, graph: Any) -> None:
        weights = graph.tensors[graph.operators[order].inputs[1]]
        values = np.frombuffer(bytes(model.buffers[weights.buffer].data), np.int8).reshape(weights.shape).copy()
        values[..., channel] = 0
        model.buffers[weights.buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    broken = tmp_path / "int8_channel.tflite"
    broken.write_bytes(faults.planted(sample.models["int8"].read_bytes(), edit))
    images = [sample.images / "biplane.jpg"]
    with Session(sample.models["float32"], broken, images=images, engine=engine, cache=False) as compared:
        row = next(layer for layer in compared.layers().layers if layer.order == order)
    assert row.weight_channel == channel and row.weight_channel_sqnr_db == pytest.approx(0.0, abs=0.01)


def evidence(**facts: Any) -> Evidence:
    """An operator whose error is twenty steps and lies inside it."""
    scales, zero_points = np.array([0.1], np.float32), np.zeros(1, np.int64)
    tensor = Tensor(0, "t", (1, 8), "int8", Quantization(scales, zero_points, None), False)
    exact = np.linspace(-5, 5, 8, dtype=np.float32)[None]
    defaults: dict[str, Any] = {
        "reads": (),
        "actual": exact + 2,
        "floated": exact,
        "repaired": 1.0,
        "weights": None,
        "bias_error": lambda: None,
        "lost_by_weights": lambda: None,
        "other_kernels": lambda: None,
    }
    return Evidence(tensor=tensor, exact=exact, **{**defaults, **facts})


def test_a_kernel_is_named_only_after_other_kernels_gave_another_result() -> None:
    def refuse() -> float:
        raise AssertionError("nothing else to try")

    assert cause_of(evidence(other_kernels=lambda: ("reference", 0.9)))[0] == "kernel"
    cause, sentence = cause_of(evidence(other_kernels=lambda: ("reference", 0.0)))
    assert cause == "rounding" and "the reference kernels are no better" in sentence
    assert cause_of(evidence())[0] == "rounding"
    fine = evidence(actual=np.linspace(-5, 5, 8, dtype=np.float32)[None] + 0.03, other_kernels=refuse)
    assert cause_of(fine)[0] == "rounding"


def test_weights_are_named_only_where_running_with_them_loses_the_score() -> None:
    weights = WeightFacts(48.7, 44.0, 30.0, channel=2, channel_db=0.0, zeroed=True, per_tensor=True)
    assert cause_of(evidence(weights=weights, lost_by_weights=lambda: 0.98))[0] == "weights"
    cause, sentence = cause_of(evidence(weights=weights, lost_by_weights=lambda: 0.02))
    assert cause == "rounding" and "its weights alone are not the cause" in sentence
    ordinary = WeightFacts(48.7, 44.0, 30.0, channel=2, channel_db=41.0)
    assert cause_of(evidence(weights=ordinary, lost_by_weights=lambda: 0.98))[0] == "rounding"


def test_a_range_that_the_kernel_prescribes_does_not_clip() -> None:
    quantization = Quantization(np.array([1 / 256], np.float32), np.array([-128]), None)
    tensor = Tensor(0, "scores", (1, 8), "int8", quantization, False)
    exact = np.full((1, 8), 0.9999, np.float32)
    entering = quantization.dequantize(quantization.quantize(exact, "int8"))
    assert ReadTensor(tensor, exact, entering).clips_most
    assert not ReadTensor(tensor, exact, entering, fixed_range=True).clips_most
