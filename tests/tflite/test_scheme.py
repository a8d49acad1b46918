"""The scheme is derived from the tensors: a minimal graph of each scheme, and the sample's files."""

from __future__ import annotations

import pytest

from qviz.structures import Graph, Op, Scheme
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import SchemeFacts, scheme_facts
from tests.conftest import Sample
from tests.graphs import graph, op, per_tensor, tensor

Q = per_tensor(0.1, 0)
ADD_N_ISLANDS = ((12,), (23,), (31,), (42,), (50,), (58,), (69,), (77,), (91,), (99,), (157,))

SAMPLES = {
    "float32": SchemeFacts(Scheme.FLOAT32, 32, 125, 0, (), False),
    "float16": SchemeFacts(Scheme.FLOAT16, 16, 125, 0, (), False),
    "dynamic_range": SchemeFacts(Scheme.DYNAMIC_RANGE, 8, 125, 0, (), True),
    "int8": SchemeFacts(Scheme.INT8, 8, 158, 114, ADD_N_ISLANDS, True),
    "int8_wrong_range": SchemeFacts(Scheme.INT8, 8, 158, 114, ADD_N_ISLANDS, True),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_schemes_of_the_sample(name: str, sample: Sample) -> None:
    assert scheme_facts(read_graph(sample.models[name].read_bytes())) == SAMPLES[name]


def activation(index: int, dtype: str = "float32"):
    return tensor(index, dtype=dtype, quantization=None if dtype.startswith("float") else Q)


def weights(index: int, dtype: str = "float32"):
    return tensor(index, dtype=dtype, quantization=None if dtype.startswith("float") else Q, constant=True)


def conv(inside: str, outside: str, weight: str) -> Graph:
    """One convolution."""
    tensors = [activation(0, inside), activation(1, outside), weights(2, weight)]
    return graph(tensors, [1], [op("CONV_2D", [0, 2, None], [1])])


def unpacked(weight: str) -> Graph:
    """One convolution whose weights pass through a DEQUANTIZE."""
    tensors = [activation(0), activation(1), weights(2, weight), activation(3)]
    return graph(tensors, [1], [op("DEQUANTIZE", [2], [3]), op("CONV_2D", [0, 3], [1])])


def chain(*kinds: str, dtypes: str) -> Graph:
    """Consecutive operators; `dtypes`: f or i for each tensor."""
    tensors = [activation(i, {"f": "float32", "i": "int8"}[letter]) for i, letter in enumerate(dtypes)]
    return graph(tensors, [len(kinds)], [op(kind, [i], [i + 1]) for i, kind in enumerate(kinds)])


SCHEMES = [
    (conv("float32", "float32", "float32"), Scheme.FLOAT32, 32),
    (conv("float16", "float16", "float16"), Scheme.FLOAT16, 16),
    (unpacked("float16"), Scheme.FLOAT16, 16),
    (conv("float32", "float32", "int8"), Scheme.DYNAMIC_RANGE, 8),
    (conv("float32", "float32", "int4"), Scheme.DYNAMIC_RANGE, 4),
    (unpacked("int8"), Scheme.WEIGHT_ONLY, 8),
    (conv("int8", "int8", "int8"), Scheme.INT8, 8),
    (conv("uint8", "uint8", "uint8"), Scheme.INT8, 8),
    (conv("int16", "int16", "int8"), Scheme.INT16X8, 8),
    (chain("QUANTIZE", "RELU", "DEQUANTIZE", dtypes="fiif"), Scheme.INT8, 32),
    (chain("RELU", "DEQUANTIZE", "ADD_N", dtypes="iiff"), Scheme.INT8, 32),  # ADD_N has no int8 kernel
    (chain("RELU", "DEQUANTIZE", "TFLite_Detection_PostProcess", dtypes="iiff"), Scheme.INT8, 32),
    (chain("RELU", "DEQUANTIZE", "CONV_2D", dtypes="iiff"), Scheme.MIXED, 32),  # it could have been quantized
]


@pytest.mark.parametrize(("of", "scheme", "bits"), SCHEMES)
def test_schemes_of_minimal_graphs(of: Graph, scheme: Scheme, bits: int) -> None:
    facts = scheme_facts(of)
    assert (facts.scheme, facts.weight_bits) == (scheme, bits)


def test_two_weight_types_are_a_mixed_scheme() -> None:
    tensors = [*(activation(i) for i in range(4)), weights(4, "int8"), weights(5, "float16")]
    ops: list[Op] = [op("DEQUANTIZE", [5], [3]), op("CONV_2D", [0, 4], [1]), op("CONV_2D", [1, 3], [2])]
    assert scheme_facts(graph(tensors, [2], ops)).scheme == Scheme.MIXED


def test_adjacent_float_operators_are_one_island() -> None:
    of = chain("RELU", "DEQUANTIZE", "ADD_N", "EXP", "QUANTIZE", "RELU", "DEQUANTIZE", "SIN", dtypes="iifffiiff")
    facts = scheme_facts(of)
    assert facts.float_islands == ((2, 3), (7,))
    assert (facts.operators, facts.quantized_operators) == (8, 2)


def test_a_float_model_has_no_islands_and_constants_are_not_counted() -> None:
    facts = scheme_facts(unpacked("float16"))
    assert (facts.float_islands, facts.operators) == ((), 1)
