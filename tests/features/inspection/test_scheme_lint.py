"""Float operators between integer ones give a warning; those at either end do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import inner_islands, scheme_warnings
from qviz.structures import Graph, Op, Scheme
from qviz.tflite.scheme import scheme_facts
from tests.graphs import graph, image_tensor, op, per_tensor, tensor


def chain(*kinds: str, quantized: str) -> Graph:
    """One operator after another; quantized: i or f for each tensor, the input first."""
    scale = per_tensor(0.1, 0)
    tensors = [
        tensor(i, dtype="int8", quantization=scale) if kind == "i" else tensor(i) for i, kind in enumerate(quantized)
    ]
    return graph([image_tensor() if quantized[0] == "f" else tensors[0], *tensors[1:]], [len(kinds)], ops_of(kinds))


def ops_of(kinds: tuple[str, ...]) -> list[Op]:
    return [op(kind, [i], [i + 1]) for i, kind in enumerate(kinds)]


def islands(of: Graph) -> list[tuple[int, ...]]:
    return inner_islands(of, scheme_facts(of).float_islands)


def test_a_float_island_between_integer_operators_is_a_warning() -> None:
    inside = chain("CONV_2D", "DEQUANTIZE", "ADD_N", "RELU", "QUANTIZE", "CONV_2D", quantized="iifffii")
    assert islands(inside) == [(2, 3)]
    last = chain("CONV_2D", "DEQUANTIZE", "ADD_N", "RELU", quantized="iifff")
    assert islands(last) == []  # the end
    given_out = chain("CONV_2D", "DEQUANTIZE", "ADD_N", "QUANTIZE", quantized="iiffi")
    assert islands(given_out) == []  # the end; the integers after it are not used by an operator
    first = chain("SUB", "QUANTIZE", "CONV_2D", "CONV_2D", quantized="ffiii")
    assert islands(first) == []  # the preparation of the input


def linted(of: Graph, like: LoadedModel, scheme: Scheme = Scheme.INT8) -> list[tuple[str, str, str]]:
    facts = replace(scheme_facts(of), scheme=scheme)
    model = replace(like, model=replace(like.model, name="net.tflite", scheme=scheme))
    model = replace(model, inspection=replace(like.inspection, graph=of, facts=facts))
    return [(warning.code, warning.message, warning.cure) for warning in scheme_warnings(model)]


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        ("ADD_N", "ADD_N has no integer kernel: build the model with ADD in place of ADD_N"),
        ("COS", "COS has no integer kernel: build the model without it"),
        ("RELU", "RELU has an integer kernel: convert again"),
    ],
)
def test_the_cure_depends_on_whether_there_is_a_kernel(kind: str, cure: str, loaded: dict[str, LoadedModel]) -> None:
    inside = chain("CONV_2D", "DEQUANTIZE", kind, "QUANTIZE", "CONV_2D", quantized="iiffii")
    ((code, message, advice),) = linted(inside, loaded["int8"])
    assert code == "float_islands"
    assert f"in 1 place (1 {kind})" in message
    assert cure in advice


def test_a_mixed_file_has_no_warning(loaded: dict[str, LoadedModel]) -> None:
    inside = chain("CONV_2D", "DEQUANTIZE", "ADD_N", "QUANTIZE", "CONV_2D", quantized="iiffii")
    assert linted(inside, loaded["int8"], Scheme.MIXED) == []
    assert linted(inside, loaded["int8"], Scheme.INT16X8) != []


def test_float_islands_of_the_sample(loaded: dict[str, LoadedModel]) -> None:
    inspection = loaded["int8"].inspection
    inner = inner_islands(inspection.graph, inspection.facts.float_islands)
    assert [[inspection.graph.ops[order].kind for order in island] for island in inner] == [["ADD_N"]] * 10
    assert len(inspection.facts.float_islands) == 11  # including the post-process operator at the end
