"""Outputs of a quantized network: a warning if the file cannot represent its scores, none for common heads."""

from __future__ import annotations

import pytest

from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel, load_models, read_source
from qviz.features.inspection.head import head_warnings
from qviz.features.inspection.lint import lint_model
from qviz.structures import Graph, Quantization
from tests.conftest import ROOT
from tests.graphs import graph, image_tensor, op, per_tensor, tensor

SHARED = ROOT.parent / "shared" / "models"
SIGMOID = per_tensor(1 / 256, -128)
WIDE = per_tensor(16 / 255, 0)
"""[-8, 8]: the usual range of a sigmoid's input."""


def codes(of: Graph) -> list[str]:
    return [warning.code for warning in head_warnings(of, "net.tflite")]


def joined(scale: Quantization | None, dtype: str = "int8", boxes_from: str = "CONV_2D") -> Graph:
    """Boxes beside scores in one output, as the YOLO family has it: tensor 1 boxes, 4 scores, 5 the output."""
    kinds = {"dtype": "float32" if scale is None else dtype}
    first = 128 if dtype == "uint8" else 0
    logits, sigmoid = per_tensor(16 / 255, first), per_tensor(1 / 256, first - 128)
    tensors = [
        image_tensor(),
        tensor(1, "boxes", quantization=scale, **kinds),
        tensor(2, "logits", quantization=scale and logits, **kinds),
        tensor(3, "scores", quantization=scale and sigmoid, **kinds),
        tensor(4, "scores_again", quantization=scale, **kinds),
        tensor(5, "both", quantization=scale, **kinds),
        tensor(6, "moved", quantization=scale, **kinds),
    ]
    ops = [
        op(boxes_from, [0], [1]),
        op("CONV_2D", [0], [2]),
        op("LOGISTIC", [2], [3]),
        op("QUANTIZE", [3], [4]),
        op("CONCATENATION", [1, 4], [5]),
        op("TRANSPOSE", [5], [6]),
    ]
    return graph(tensors, [6], ops)


def test_boxes_in_pixels_beside_scores() -> None:
    (warning,) = head_warnings(joined(per_tensor(640 / 255, -128)), "net.tflite")
    assert warning.code == "shared_concat_scale"
    assert "Its range is [0, 640], so scores between 0 and 1 get less than one of 256 steps" in warning.message
    (warning,) = head_warnings(joined(per_tensor(0.25, -128)), "net.tflite")
    assert "get 4 of 256 steps" in warning.message
    assert (warning.model, "--cures split_head" in (warning.cure or "")) == ("net.tflite", True)


def test_the_cure_that_splits_the_head_is_named_only_where_the_join_is_last() -> None:
    head = joined(per_tensor(640 / 255, -128))
    tensors = [*head.tensors, tensor(7)]
    for kind, named in (("DEQUANTIZE", True), ("STRIDED_SLICE", False)):
        (warning,) = head_warnings(graph(tensors, [7], [*head.ops, op(kind, [6], [7])]), "net.tflite")
        assert ("split_head" in (warning.cure or "")) is named


JOINED = [
    # common scale, type, operator that computes the boxes -> warnings
    (None, "int8", "CONV_2D", []),  # float: no scale at all
    (per_tensor(1 / 255, -128), "int8", "CONV_2D", []),  # boxes normalised to [0, 1]
    (per_tensor(2 / 255, -64), "int8", "CONV_2D", []),  # slightly outside
    (per_tensor(7 / 255, -24), "int8", "CONV_2D", ["shared_concat_scale"]),  # YOLOX's offsets: 36 steps
    (per_tensor(7 / 255, 104), "uint8", "CONV_2D", ["shared_concat_scale"]),
    (per_tensor(640 / 65535, 0), "int16", "CONV_2D", []),  # 16 bits hold both
    (per_tensor(7 / 255, -24), "int8", "LOGISTIC", ["score_resolution"]),  # scores beside scores
]


@pytest.mark.parametrize(("scale", "dtype", "boxes_from", "expected"), JOINED)
def test_a_shared_scale(scale: Quantization | None, dtype: str, boxes_from: str, expected: list[str]) -> None:
    assert codes(joined(scale, dtype, boxes_from)) == expected


def test_sigmoids_inside_the_network_are_not_scores() -> None:
    """SiLU: a LOGISTIC concatenated with the features it scales, followed by a convolution."""
    coarse = per_tensor(0.5, 0)
    tensors = [image_tensor(), *(tensor(i, dtype="int8", quantization=coarse) for i in (1, 2, 3, 4, 5))]
    ops = [
        op("CONV_2D", [0], [1]),
        op("LOGISTIC", [1], [2]),
        op("MUL", [1, 2], [3]),
        op("CONCATENATION", [2, 3], [4]),
        op("CONV_2D", [4], [5]),
    ]
    assert codes(graph(tensors, [5], ops)) == []
    assert codes(graph(tensors, [3], ops)) == []  # not even as an output: a product with features


def ending(logits: Quantization, scores: Quantization = SIGMOID, dtype: str = "int8") -> Graph:
    """A graph that ends in a sigmoid, reshaped and dequantized."""
    tensors = [
        image_tensor(),
        tensor(1, "logits", dtype=dtype, quantization=logits),
        tensor(2, "scores", dtype=dtype, quantization=scores),
        tensor(3, "flat", dtype=dtype, quantization=scores),
        tensor(4, "real"),
    ]
    ops = [op("CONV_2D", [0], [1]), op("LOGISTIC", [1], [2]), op("RESHAPE", [2], [3]), op("DEQUANTIZE", [3], [4])]
    return graph(tensors, [4], ops)


ENDS = [
    # sigmoid's input, its output -> warnings
    (WIDE, SIGMOID, []),
    (per_tensor(0.2048, 45), SIGMOID, []),  # [-35, 17]: a step of .038 at the threshold
    (per_tensor(0.4, 0), SIGMOID, ["score_resolution"]),  # [-51, 51]: .075
    (per_tensor(0.0497, 95), SIGMOID, ["sigmoid_saturated"]),  # ends at 1.59: no score above .83
    (per_tensor(0.04, -128), SIGMOID, ["sigmoid_saturated"]),  # begins at 0: no score below .5
    (per_tensor(0.04, 0), SIGMOID, []),  # [-5.1, 5.1] is sufficient
    (WIDE, per_tensor(0.9 / 255, -128), ["scores_below_one"]),
    (WIDE, per_tensor(0.96 / 255, -128), []),
    (WIDE, per_tensor(0.05, -128), ["score_resolution"]),
    (per_tensor(0.0, 0), SIGMOID, []),  # an invalid scale
    (per_tensor(float("nan"), 0), SIGMOID, []),
]


@pytest.mark.parametrize(("logits", "scores", "expected"), ENDS)
def test_a_sigmoid_at_the_end(logits: Quantization, scores: Quantization, expected: list[str]) -> None:
    assert codes(ending(logits, scores)) == expected


def test_the_warnings_give_the_numbers() -> None:
    (warning,) = head_warnings(ending(per_tensor(0.0497, 95)), "net")
    assert "limited to [0.00, 0.83]" in warning.message
    assert "LOGISTIC, operator 1" in warning.message
    (warning,) = head_warnings(ending(WIDE, per_tensor(0.05, -128)), "net")
    assert "have steps of 0.05" in warning.message
    (warning,) = head_warnings(ending(per_tensor(0.4, 0)), "net")
    assert "changes a score by 0.075 at the threshold of 0.25" in warning.message
    (warning,) = head_warnings(ending(WIDE, per_tensor(0.9 / 255, -128)), "net")
    assert "clipped at 0.9" in warning.message


def test_scores_that_enter_a_post_process() -> None:
    coarse = per_tensor(0.05, -128)
    tensors = [
        image_tensor(),
        tensor(1, dtype="int8", quantization=WIDE),
        tensor(2, dtype="int8", quantization=coarse),
        tensor(3, "boxes", dtype="int8", quantization=per_tensor(0.1, 0)),  # coarse boxes are allowed
        *(tensor(i) for i in (4, 5, 6, 7)),
        tensor(8, "given out", dtype="int8", quantization=per_tensor(0.5 / 255, -128)),
    ]
    ops = [
        op("LOGISTIC", [1], [2]),
        op("TFLite_Detection_PostProcess", [3, 2], [4, 5, 6, 7]),
        op("QUANTIZE", [6], [8]),
    ]
    assert codes(graph(tensors, [4, 5, 6, 7], ops)) == ["score_resolution"]
    assert codes(graph(tensors, [4, 5, 8, 7], ops)) == ["score_resolution", "scores_below_one"]


def test_a_graph_with_a_cycle() -> None:
    tensors = [image_tensor(), tensor(1), tensor(2)]
    assert codes(graph(tensors, [1], [op("RESHAPE", [2], [1]), op("RESHAPE", [1], [2])])) == []


REAL = {
    "yolox_nano_full_integer_quant": ["shared_concat_scale"],
    "yolox_nano_integer_quant": ["shared_concat_scale"],
    "yolox_nano_integer_quant_with_int16_act": [],
    "yolox_nano_float32": [],
    "nanodet_m_320_int8_full": [],
    "nanodet_m_320_int8_floatio": [],
    "ssd_mobilenet_v1_coco_quant": [
        "sigmoid_saturated",
        "caps_detections",
    ],  # trained through quantization; its scores end at .83
}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the models beside the sample are not here")
@pytest.mark.parametrize("name", REAL)
def test_warnings_about_real_models(name: str, engine: LocalEngine) -> None:
    models: list[LoadedModel] = load_models(engine, [read_source(SHARED / f"{name}.tflite")])
    assert [warning.code for warning in lint_model(models[0])] == REAL[name]
