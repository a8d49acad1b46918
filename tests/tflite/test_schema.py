from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError
from qviz.tflite.schema import read_graph
from tests.conftest import SCHEMES, Sample
from tests.tflite.files import code, operator, packed, relu, tensor

BUILTIN = fb.BuiltinOperator

COMMON = {"CONV_2D": 55, "DEPTHWISE_CONV_2D": 33, "RESHAPE": 13, "ADD_N": 10, "ADD": 10, "CONCATENATION": 2}
COMMON |= {"LOGISTIC": 1, "TFLite_Detection_PostProcess": 1}
OPERATORS = {
    "float32": COMMON,
    "float16": COMMON | {"DEQUANTIZE": 182},
    "dynamic_range": COMMON,
    "int8": COMMON | {"DEQUANTIZE": 22, "QUANTIZE": 11},
    "int8_wrong_range": COMMON | {"DEQUANTIZE": 22, "QUANTIZE": 11},
}


@pytest.mark.parametrize("name", SCHEMES)
def test_graphs_of_the_sample(name: str, sample: Sample) -> None:
    graph = read_graph(sample.models[name].read_bytes())
    assert Counter(op.kind for op in graph.ops) == OPERATORS[name]
    assert [op.order for op in graph.ops] == list(range(len(graph.ops)))
    assert [(t.shape, t.dtype) for t in graph.input_tensors()] == [((1, 300, 300, 3), "float32")]
    assert [op.kind for op in graph.ops if op.custom] == ["TFLite_Detection_PostProcess"]
    outputs = {graph.signature[f"detection_{part}"] for part in ("boxes", "classes", "scores")}
    assert outputs | {graph.signature["num_detections"]} == set(graph.outputs)


def test_options_of_the_post_process_operator(sample: Sample) -> None:
    options = read_graph(sample.models["float32"].read_bytes()).ops[-1].options
    assert {name: options[name] for name in ("num_classes", "max_detections", "y_scale", "h_scale")} == {
        "num_classes": 90,
        "max_detections": 25,
        "y_scale": 10.0,
        "h_scale": 5.0,
    }
    assert options["nms_iou_threshold"] == pytest.approx(0.6)


def test_the_smallest_file() -> None:
    graph = read_graph(relu())
    assert [(op.kind, op.inputs, op.outputs, op.custom) for op in graph.ops] == [("RELU", (0,), (1,), False)]
    assert [(t.name, t.shape, t.dtype, t.quantization, t.constant) for t in graph.tensors] == [
        ("in", (1, 4), "float32", None, False),
        ("out", (1, 4), "float32", None, False),
    ]


def test_an_absent_optional_input_is_none() -> None:
    without_bias = operator(0, [0, 0, -1], [1])
    data = packed([tensor("in", [1]), tensor("out", [1])], [without_bias], [code(BUILTIN.FULLY_CONNECTED)])
    assert read_graph(data).ops[0].inputs == (0, 0, None)


CODES = [
    (code(BUILTIN.ADD), "ADD", False),
    (code(0, deprecated=BUILTIN.LOGISTIC), "LOGISTIC", False),  # before schema 3a the code was a byte
    (code(BUILTIN.GELU, deprecated=127), "GELU", False),  # 127 is the placeholder of those above it
    (code(BUILTIN.CUSTOM, custom="MyOp"), "MyOp", True),
    (code(BUILTIN.CUSTOM), "CUSTOM", True),
    (code(5000), "BUILTIN_5000", False),  # younger than this schema
]


@pytest.mark.parametrize(("operator_code", "kind", "custom"), CODES)
def test_operator_types(operator_code: fb.OperatorCodeT, kind: str, custom: bool) -> None:
    data = packed([tensor("in", [1]), tensor("out", [1])], [operator(0, [0], [1])], [operator_code])
    assert [(op.kind, op.custom) for op in read_graph(data).ops] == [(kind, custom)]


QUANTIZED = [
    # scales, zero points, axis -> what is read
    ([], [], 0, None),
    ([0.5], [3], 0, ([0.5], [3], None)),
    ([0.5], [], 0, ([0.5], [0], None)),
    ([0.5, 0.25], [0, 1], 1, ([0.5, 0.25], [0, 1], 1)),
    ([0.5, 0.25], [7], 1, ([0.5, 0.25], [7, 7], 1)),  # one zero point for all channels
]


@pytest.mark.parametrize(("scales", "zeros", "axis", "expected"), QUANTIZED)
def test_quantization(scales: list[float], zeros: list[int], axis: int, expected: tuple | None) -> None:
    values = np.arange(4, dtype=np.int8)
    weights = tensor("w", [2, 2], fb.TensorType.INT8, 1, scales, zeros, axis)
    data = packed(
        [tensor("in", [2, 2]), tensor("out", [2, 2]), weights],
        [operator(0, [0, 2], [1])],
        [code(0)],
        constants=[values],
    )
    weights_read = read_graph(data).tensors[2]
    assert (weights_read.dtype, weights_read.constant, weights_read.bytes) == ("int8", True, 4)
    if expected is None:
        assert weights_read.quantization is None
    else:
        quantization = weights_read.quantization
        assert (quantization.scales.tolist(), quantization.zero_points.tolist(), quantization.axis) == expected


def test_dynamic_dimensions_are_read_as_minus_one() -> None:
    entry = tensor("in", [1, 1, 1, 3])
    entry.shapeSignature = [1, -1, -1, 3]
    data = packed([entry, tensor("out", [1])], [operator(0, [0], [1])], [code(BUILTIN.RELU)])
    assert read_graph(data).tensors[0].shape == (1, -1, -1, 3)


PAIR = [tensor("in", [1]), tensor("out", [1])]
RELU = [code(BUILTIN.RELU)]

REFUSED = [
    (b"version https://git-lfs.github.com/spec/v1\noid", "it is a Git LFS pointer"),
    (b"<!DOCTYPE html><html>", "it is a web page"),
    (b"\x89PNG\r\n\x1a\n", "it is a PNG image"),
    (b"\x00\x01\x02\x03", "it begins with the bytes 00 01 02 03. Was it"),
    (b"", "is not a TensorFlow Lite file: it is empty (0 bytes). Copy"),
    (b"PK\3\4....", "it is a zip archive. Unpack it"),
    (b" \n{ }", "it looks like JSON. Recorded results are a list of objects"),
    (
        b"hello, this is a text file",
        "it begins with the bytes 68 65 6c 6c 6f 2c 20 74. Was it exported with another tool",
    ),
    (b"\0\0\0\0TFL3", "holds no subgraph"),
    (b"\xff" * 4 + b"TFL3" + b"\xff" * 100, "is damaged"),
    (packed(PAIR, [], RELU, subgraphs=0), "holds no subgraph"),
    (packed(PAIR, [operator(0, [0], [5])], RELU), "an operator names a tensor that is not among its 2"),
    (packed(PAIR, [operator(0, [9], [1])], RELU), "names a tensor that is not among its 2"),
    (packed(PAIR, [operator(0, [0], [1])], RELU, outputs=[2]), "names a tensor that is not among its 2"),
    (packed(PAIR, [operator(0, [0], [1])], RELU, inputs=[-1]), "names a tensor that is not among its 2"),
    (packed(PAIR, [operator(3, [0], [1])], RELU), "is damaged"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_files_that_are_not_models_are_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_graph(data)
    assert sentence in str(caught.value)


def outcome(data: bytes) -> str:
    """Number of operators, or "ModelError"; any other exception fails the calling test."""
    try:
        return f"{len(read_graph(data).ops)} operators"
    except ModelError:
        return "ModelError"


def test_a_truncated_file_is_refused(sample: Sample) -> None:
    whole, rng = sample.models["int8"].read_bytes(), random.Random(0)
    cuts = [rng.randrange(len(whole)) for _ in range(20)]
    assert {outcome(whole[:cut]) for cut in cuts} == {"ModelError"}


@pytest.mark.parametrize("where", ["head", "tail"])
def test_flipped_bytes_end_in_a_graph_or_a_model_error(where: str, sample: Sample) -> None:
    """The head holds the offsets of the tables, the tail (behind the weights) tensors and operators."""
    whole, rng = sample.models["int8"].read_bytes(), random.Random(1)
    places = range(4000) if where == "head" else range(len(whole) - 60_000, len(whole))
    outcomes = set()
    for _ in range(100):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 2, 8])):
            damaged[rng.choice(places)] ^= rng.randrange(1, 256)
        outcomes.add(outcome(bytes(damaged)))
    assert {"ModelError", "158 operators"} <= outcomes


def test_changes_of_every_byte_give_a_graph_or_a_model_error() -> None:
    whole = relu()
    outcomes = Counter()
    for position in range(len(whole)):
        for bits in (0x01, 0x80, 0xFF):
            damaged = bytearray(whole)
            damaged[position] ^= bits
            outcomes[outcome(bytes(damaged))] += 1
    assert outcomes["ModelError"] > 50
    assert outcomes["1 operators"] > 50
