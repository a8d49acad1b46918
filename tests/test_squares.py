"""The detector of coloured squares: its AP, and that each fault which a function promises is in the file.

AP is measured twice: by `qviz evaluate` with the right settings, and by LiteRT and pycocotools without qviz.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from qviz.engine import LocalEngine
from qviz.session import Session
from qviz.structures import Quantization
from qviz.tflite.constants import operator_weights, stored_constant
from qviz.tflite.schema import read_graph
from tests.conftest import ROOT
from tests.squares import Squares, datasets, detectors, scenes

CASES = ROOT.parent / "shared" / "cases"
SETTINGS: Mapping[str, Any] = {"mean": 0, "std": 255, "resize": "stretch"}
RIGHT = 0.666
"""AP of a right detector on the scenes."""


def session(engine: LocalEngine, squares: Squares, *models: Path, **settings: Any) -> Session:
    options = {**SETTINGS, "labels": squares.labels, "dataset": squares.annotations, "dataset_images": squares.images}
    return Session(*models, engine=engine, cache=False, **{**options, **settings})


def qviz_ap(engine: LocalEngine, squares: Squares, *models: Path, **settings: Any) -> list[float]:
    """AP in [0, 1] of every model."""
    with session(engine, squares, *models, **settings) as opened:
        return [np.nan if model.ap is None else model.ap for model in opened.evaluate().models]


AP = [
    ("reference", "float32", 0.666),
    ("reference", "int8", 0.643),
    ("reference", "int8_io", 0.643),
    ("reference", "int16x8", 0.666),
    ("pixels_with_scores", "float32", 0.666),
    ("pixels_with_scores", "int8", 0.222),
    ("pixels_with_scores", "int8_io", 0.222),
    ("input_256", "int8", 0.061),
    ("spread_weights", "float32", 0.666),
    ("spread_weights", "int8_per_tensor", 0.226),
    ("flooding", "int8", 0.643),
    ("flooding", "int16x8", 0.666),
    ("logits_with_boxes", "int8", 0.023),
    ("bgr_inside", "int8", 0.210),
    ("other_class_order", "int8", 0.008),
    ("dead_channel", "float32", 0.666),
    ("dead_channel", "int8", 0.644),
    ("dead_channel", "int16x8", 0.666),
    ("alive_channel", "float32", 0.666),
    ("alive_channel", "int8", 0.644),
]


def test_ap_with_the_right_settings(engine: LocalEngine, squares: Squares) -> None:
    models = [squares.model(name, precision) for name, precision, _ in AP]  # type: ignore[arg-type]
    measured = dict(zip(AP, qviz_ap(engine, squares, *models), strict=True))
    assert {row: ap for row, ap in measured.items() if abs(ap - row[2]) > 0.01} == {}


@pytest.mark.parametrize(("precision", "expected"), [("float32", RIGHT), ("int8", 0.643)])
def test_a_uint8_input_takes_raw_pixels(engine: LocalEngine, squares: Squares, precision: Any, expected: float) -> None:
    model = squares.model("uint8_input", precision)
    assert qviz_ap(engine, squares, model, mean=0, std=1) == pytest.approx([expected], abs=0.01)


def test_heads_that_need_a_setting(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    labels = tmp_path / "labels80.txt"
    labels.write_text(datasets.LABELS_80)
    end_to_end = [squares.model("end_to_end"), squares.model("end_to_end", "int8")]
    assert qviz_ap(engine, squares, *end_to_end, labels=labels) == pytest.approx([RIGHT, 0], abs=0.01)
    background = squares.model("background_class")
    assert qviz_ap(engine, squares, background, class_offset=1) == pytest.approx([RIGHT], abs=0.01)
    rows = squares.model("rows_with_scores")
    assert qviz_ap(engine, squares, rows, decoder="yolov8") == pytest.approx([RIGHT], abs=0.01)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_each_image_has_its_four_squares(engine: LocalEngine, squares: Squares, precision: Any) -> None:
    model = squares.model("reference", precision)
    with session(engine, squares, model) as opened:
        detections = opened.detect(squares.images, score=0.25)[model.name]
    for name, expected in zip(scenes.NAMES, scenes.SQUARES, strict=True):
        classes, corners = detections[name].class_ids, detections[name].boxes[:, :2]
        rows = sorted(zip(classes.tolist(), corners.tolist(), strict=True))
        assert [class_id for class_id, _ in rows] == [square[0] for square in sorted(expected)], name
        for _, left, top, _ in expected:
            assert np.abs(corners - [left, top]).max(axis=1).min() < 5, name


@cache
def outputs_of(data: bytes, image: int, divisor: float = 255) -> list[np.ndarray]:
    """The outputs of a file on one of the scenes, as real numbers."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()[0]
    pixels = cv2.resize(scenes.images()[image], details["shape"][2:0:-1].tolist()).astype(np.float32) / divisor
    scale, zero_point = details["quantization"]
    stored = np.rint(pixels / scale + zero_point).clip(-128, 127) if scale else pixels
    interpreter.set_tensor(details["index"], stored.astype(details["dtype"])[None])
    interpreter.invoke()
    rows = ((interpreter.get_tensor(row["index"]), *row["quantization"]) for row in interpreter.get_output_details())
    return [(values.astype(np.float32) - zero) * (scale or 1) for values, scale, zero in rows]


def coco_detections(data: bytes) -> list[dict[str, Any]]:
    """Detections of a file with the joined head: the best class of every cell of the coarsest stride."""
    detections = []
    for image in range(len(scenes.NAMES)):
        rows = outputs_of(data, image)[0][0].T[-100:]
        for x, y, width, height, *scores in rows.tolist():
            box = [scenes.SIZE * value for value in (x - width / 2, y - height / 2, width, height)]
            best = int(np.argmax(scores))
            detections.append({"image_id": image + 1, "category_id": best + 1, "bbox": box, "score": scores[best]})
    return detections


def pycocotools_ap(coco: dict[str, Any], detections: list[dict[str, Any]]) -> float:
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = coco
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


@pytest.mark.parametrize(
    ("variant", "expected"),
    [
        (None, RIGHT),
        (datasets.corner_boxes, 0.01),
        (datasets.normalised_boxes, 0.0),
        (datasets.category_off_by_one, 0.0),
        (datasets.every_box_twice, 0.336),
        (datasets.image_id_twice, RIGHT),
        (datasets.float_image_ids, RIGHT),
        (datasets.windows_paths, RIGHT),
        (datasets.before_resizing, 0.0),
    ],
)
def test_ap_without_qviz(variant: datasets.Variant | None, expected: float) -> None:
    coco = scenes.coco() if variant is None else variant(scenes.coco())
    assert pycocotools_ap(coco, coco_detections(detectors.reference())) == pytest.approx(expected, abs=0.01)


def scale_of(quantization: Quantization | None) -> float:
    """The one scale of a quantized tensor."""
    assert quantization is not None
    (scale,) = quantization.scales.tolist()
    return float(scale)


def convolutions(data: bytes) -> list[np.ndarray]:
    """Weights of the convolutions as real numbers, in the order of the file."""
    graph = read_graph(data)
    weights = operator_weights(data, graph)
    return [weights[op.order] for op in graph.ops if op.kind == "CONV_2D"]


def test_precisions() -> None:
    float32, int8, int8_io, per_tensor = (
        read_graph(detectors.reference(precision)) for precision in ("float32", "int8", "int8_io", "int8_per_tensor")
    )
    assert not any(tensor.quantized for tensor in float32.tensors)
    assert [int8.tensors[index].dtype for index in (*int8.inputs, *int8.outputs)] == ["float32"] * 2
    assert int8.ops[0].kind == "QUANTIZE"
    assert [int8_io.tensors[index].dtype for index in (*int8_io.inputs, *int8_io.outputs)] == ["int8"] * 2
    assert scale_of(int8_io.tensors[int8_io.inputs[0]].quantization) == pytest.approx(1 / 255, rel=1e-3)
    for graph, scales in ((int8, {3, 4}), (per_tensor, {1})):
        weights = [graph.tensors[op.inputs[1] or 0] for op in graph.ops if op.kind == "CONV_2D"]
        assert {len(weight.quantization.scales) for weight in weights if weight.quantization} == scales


def test_pixels_take_the_scale_from_the_scores() -> None:
    graph = read_graph(detectors.pixels_with_scores("int8_io"))
    assert scale_of(graph.tensors[graph.outputs[0]].quantization) == pytest.approx(316 / 255, rel=1e-3)
    scores = outputs_of(detectors.pixels_with_scores("int8"), 0)[0][0, 4:]
    np.testing.assert_allclose(np.unique(scores), [0, 316 / 255], rtol=1e-3)


def test_the_class_takes_the_scale_from_the_boxes() -> None:
    for precision, expected in (("float32", [0, 39, 78]), ("int8", [0, 35.79, 78])):
        classes = outputs_of(detectors.end_to_end(precision), 0)[0][0, :, 5]  # type: ignore[arg-type]
        np.testing.assert_allclose(np.unique(classes), expected, atol=0.01)


def test_logits_take_the_scale_from_the_boxes() -> None:
    graph = read_graph(detectors.logits_with_boxes())
    assert "LOGISTIC" not in {op.kind for op in graph.ops}
    rows = outputs_of(detectors.logits_with_boxes(), 0)[0][0]
    assert rows[4:].min() == pytest.approx(-9, abs=0.1)
    assert len(np.unique(rows[:4])) < 20  # boxes in [0, 1] on steps of 0.065


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_uint8_input_has_no_quantization_parameters(precision: Any) -> None:
    graph = read_graph(detectors.uint8_input(precision))
    tensor = graph.tensors[graph.inputs[0]]
    assert (tensor.dtype, tensor.quantization) == ("uint8", None)
    integers = [tensor for tensor in graph.tensors if tensor.dtype == "int8"]
    assert bool(integers) == (precision == "int8")
    best = outputs_of(detectors.uint8_input(precision), 1, divisor=1)[0][0, 4:].max(axis=0)
    assert (best > 0.25).sum() == 4


def test_another_input_size() -> None:
    graph = read_graph(detectors.input_256())
    assert (graph.tensors[graph.inputs[0]].shape, graph.tensors[graph.outputs[0]].shape) == (
        (1, 256, 256, 3),
        (1, 7, 1344),
    )


def test_one_scale_rounds_a_channel_to_zero() -> None:
    pointwise = convolutions(detectors.spread_weights())[2]
    np.testing.assert_allclose(np.diag(pointwise[:, 0, 0]), [1, 50, 0.025])
    rounded = convolutions(detectors.spread_weights("int8_per_tensor"))[2]
    np.testing.assert_allclose(np.diag(rounded[:, 0, 0]), [1.18, 50, 0], atol=0.01)
    graph = read_graph(detectors.spread_weights("int8_per_tensor"))
    kernels = [graph.tensors[op.inputs[1] or 0] for op in graph.ops if op.kind in ("CONV_2D", "DEPTHWISE_CONV_2D")]
    assert scale_of(kernels[3].quantization) == pytest.approx(50 / 127, rel=1e-3)


def test_other_networks() -> None:
    plain = convolutions(detectors.reference("int8"))
    swapped = convolutions(detectors.bgr_inside())
    np.testing.assert_array_equal(swapped[0], plain[0][..., ::-1])
    assert all(np.array_equal(a, b) for a, b in zip(swapped[1:], plain[1:], strict=True))
    permuted = convolutions(detectors.other_class_order())
    assert (classes_of(permuted), classes_of(plain)) == ([1, 2, 0], [0, 1, 2])
    checkpoint = convolutions(detectors.other_checkpoint())
    steps = np.abs(checkpoint[1] - plain[1]) * 127 / np.abs(plain[1]).max()
    assert steps.max() > 10
    best = outputs_of(detectors.other_checkpoint(), 1)[0][0, 4:].max(axis=0)
    assert (best > 0.25).sum() == 4


def classes_of(weights: list[np.ndarray]) -> list[int]:
    """The colour channel of each class: its largest weight in the score convolution of the coarsest stride."""
    (scores,) = (kernel for kernel in weights if kernel.max() > 10)
    return [int(channel) for channel in scores[:, 0, 0].argmax(axis=1)]


@pytest.mark.parametrize("precision", ["float32", "int8_io"])
@pytest.mark.parametrize(("name", "position"), [("four_classes", 1), ("four_classes_scores_first", 0)])
def test_four_classes_beside_four_sides(name: str, position: int, precision: Any) -> None:
    data = getattr(detectors, name)(precision)
    graph = read_graph(data)
    assert [graph.tensors[index].shape for index in graph.outputs] == [(1, 2100, 4)] * 2
    scores = outputs_of(data, 1)[position][0]
    best = scores[scores.max(axis=1) > 0.25]
    assert Counter(best.argmax(axis=1).tolist()) == {0: 2, 1: 1, 2: 1}  # s01.png: two red, a green and a blue square


@pytest.mark.parametrize(("name", "weight"), [("dead_channel", 0.0), ("alive_channel", 0.001)])
def test_a_channel_that_is_its_bias(name: str, weight: float) -> None:
    build = getattr(detectors, name)
    for precision in ("float32", "int8"):
        data = build(precision)
        graph = read_graph(data)
        colour = [op for op in graph.ops if op.kind == "CONV_2D"][1]
        np.testing.assert_allclose(convolutions(data)[1][3], weight, rtol=1e-5)
        bias = graph.tensors[colour.inputs[2] or 0]
        stored = stored_constant(data, bias)
        real = bias.quantization.dequantize(stored) if bias.quantization else stored
        np.testing.assert_allclose(real, [0, 0, 0, 1], rtol=1e-3)


@pytest.mark.parametrize("precision", ["int8", "int16x8"])
def test_saturated_biases_flood_the_image(engine: LocalEngine, squares: Squares, precision: Any) -> None:
    data = detectors.flooding(precision)
    graph = read_graph(data)
    biases = [graph.tensors[op.inputs[2] or 0] for op in graph.ops if op.kind == "CONV_2D"]
    saturated = [bias.shape for bias in biases if (stored_constant(data, bias) == np.iinfo(np.int32).min).all()]
    assert saturated == [(3,), (3,)]
    model = squares.model("flooding", precision)
    with session(engine, squares, model) as opened:
        detections = opened.detect(squares.images, score=0.25)[model.name]
    assert all(len(row.scores) > 90 for row in detections.values())


def test_the_score_convolutions_of_small_strides_are_dead() -> None:
    """A converter that takes the scale of the bias from these weights makes it 0, and every cell scores 0.5."""
    data = detectors.pixels_with_scores()
    graph = read_graph(data)
    dead = {
        graph.tensors[op.outputs[0]].shape: stored_constant(data, graph.tensors[op.inputs[2] or 0]).tolist()
        for op in graph.ops
        if op.kind == "CONV_2D" and not operator_weights(data, graph)[op.order].any()
    }
    assert dead[1, 40, 40, 3] == dead[1, 20, 20, 3] == [-9, -9, -9]


CASE_MODELS = {
    "inputs/ref": ("reference", "float32"),
    "inputs/uint8in_float": ("uint8_input", "float32"),
    "inputs/uint8in_int8": ("uint8_input", "int8"),
    "inputs/size256": ("input_256", "int8"),
    "inputs/spread_float": ("spread_weights", "float32"),
    "inputs/spread_int8_pertensor": ("spread_weights", "int8_per_tensor"),
    "inputs/logits_int8": ("logits_with_boxes", "int8"),
    "concat_scale/float32": ("pixels_with_scores", "float32"),
    "concat_scale/int8": ("pixels_with_scores", "int8"),
    "concat_scale/int8_full": ("pixels_with_scores", "int8_io"),
    "end_to_end/c80_float32": ("end_to_end", "float32"),
    "end_to_end/c80_int8": ("end_to_end", "int8"),
    "other_network/bgr_int8": ("bgr_inside", "int8"),
    "other_network/other_class_order_int8": ("other_class_order", "int8"),
    "heads/four_sb_float": ("four_classes", "float32"),
    "heads/four_sb_int8": ("four_classes", "int8_io"),
    "build/dead0_float32": ("dead_channel", "float32"),
    "build/dead0_tf_int8": ("dead_channel", "int8"),
    "build/alive_float32": ("alive_channel", "float32"),
    "build/alive_tf_int8": ("alive_channel", "int8"),
    "rescue/float32": ("pixels_with_scores", "float32"),
}


beside_the_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not beside this checkout")


@beside_the_cases
@pytest.mark.parametrize("case", CASE_MODELS)
def test_a_model_is_like_its_case(case: str) -> None:
    name, precision = CASE_MODELS[case]
    data, original = getattr(detectors, name)(precision), (CASES / f"{case}.tflite").read_bytes()
    graph, case_graph = read_graph(data), read_graph(original)
    for ends, case_ends in ((graph.inputs, case_graph.inputs), (graph.outputs, case_graph.outputs)):
        tensors = [graph.tensors[index] for index in ends]
        case_tensors = [case_graph.tensors[index] for index in case_ends]
        assert [(row.shape, row.dtype) for row in tensors] == [(row.shape, row.dtype) for row in case_tensors]
        assert [row.quantized for row in tensors] == [row.quantized for row in case_tensors]
    kernels, case_kernels = (sorted(map(_flat, convolutions(file))) for file in (data, original))
    assert [shape for shape, _ in kernels] == [shape for shape, _ in case_kernels]
    for (_, values), (_, case_values) in zip(kernels, case_kernels, strict=True):
        np.testing.assert_allclose(values, case_values, atol=0.01 * max(np.abs(values)) + 1e-9)


def _flat(kernel: np.ndarray) -> tuple[tuple[int, ...], list[float]]:
    return kernel.shape, kernel.round(5).ravel().tolist()
