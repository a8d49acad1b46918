"""A source with compressed weights and float activations is unfolded to float32, and this is stated."""

from __future__ import annotations

import numpy as np
import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import ModelError, QuantizeError
from qviz.features.building.source import source_of
from qviz.features.detection.models import ModelSource, load_model
from qviz.structures import Scheme
from qviz.tflite.edit import packed, unpacked
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts
from qviz.tflite.unfold import unfolded
from tests.conftest import Sample

SCALE = 0.02
"""Of the noise that the networks are run on."""


@pytest.mark.parametrize(("scheme", "error"), [("float16", 0.0), ("dynamic_range", 0.05)])
def test_an_unfolded_file_computes_the_same(scheme: str, error: float, sample: Sample) -> None:
    data = sample.models[scheme].read_bytes()
    graph = read_graph(data)
    result = unfolded(data, graph)
    float_graph, original = read_graph(result), read_graph(sample.models["float32"].read_bytes())
    assert scheme_facts(float_graph).scheme is Scheme.FLOAT32
    assert [op.kind for op in float_graph.ops] == [op.kind for op in original.ops]
    assert len(float_graph.tensors) <= len(original.tensors)
    assert float_graph.signature.keys() == graph.signature.keys()
    image = np.random.default_rng(0).uniform(-SCALE, SCALE, (1, 300, 300, 3)).astype(np.float32)
    for one, other in zip(Runner(data).run([image]), Runner(result).run([image]), strict=True):
        np.testing.assert_allclose(one, other, atol=error)


@pytest.mark.parametrize("scheme", ["float16", "dynamic_range"])
def test_variants_are_built_from_an_unfolded_file(scheme: str, sample: Sample, engine: LocalEngine) -> None:
    with qviz.open(sample.models[scheme], calibration=sample.images, engine=engine, cache=False) as session:
        built = session.quantize("int8")
    assert built.scheme is Scheme.INT8
    (warning,) = (row for row in built.warnings if row.code == "unfolded_source")
    assert f"is {scheme}, so it was dequantized to float32 first" in warning.message


def test_a_float32_file_is_left_alone(sample: Sample, engine: LocalEngine) -> None:
    data = sample.models["float32"].read_bytes()
    source = source_of(load_model(engine, ModelSource("float32.tflite", data)))
    assert source.float_data == data


@pytest.mark.parametrize("recipe", ["float16", "int8"])
def test_a_file_with_integer_activations_is_refused(recipe: str, sample: Sample, engine: LocalEngine) -> None:
    with pytest.raises(QuantizeError, match=f"The file is already int8, and recipe {recipe} starts from float32"):
        qviz.quantize(sample.models["int8"], recipe, calibration=sample.images, engine=engine)


def test_constants_behind_the_flatbuffer_are_unfolded_too(sample: Sample) -> None:
    """Files over 2 GB, and those of litert-quantizer, store constants outside of the table."""
    data = sample.models["float16"].read_bytes()
    model = unpacked(data)
    buffer = max(model.buffers, key=lambda row: 0 if row.data is None else len(row.data))
    raw, buffer.data, buffer.offset, buffer.size = buffer.data.tobytes(), None, 1 << 30, len(buffer.data)
    short = packed(model)
    buffer.offset = -(-len(short) // 16) * 16
    outside = packed(model).ljust(buffer.offset, b"\0") + raw
    image = np.zeros((1, 300, 300, 3), np.float32)
    expected = Runner(data).run([image])
    for one, other in zip(expected, Runner(unfolded(outside, read_graph(outside))).run([image]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_that_cannot_be_read_are_refused(sample: Sample) -> None:
    data = sample.models["dynamic_range"].read_bytes()
    model = unpacked(data)
    weights = next(t for t in model.subgraphs[0].tensors if t.quantization is not None and t.type == 9)
    model.buffers[weights.buffer].data = model.buffers[weights.buffer].data[:8]
    damaged = packed(model)
    with pytest.raises(ModelError, match=r"is damaged: .* cannot be read"):
        unfolded(damaged, read_graph(damaged))
