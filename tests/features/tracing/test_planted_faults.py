"""A fault planted into one operator is the first culprit of a full and of a quick trace, with its cause."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.building import quantize
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model, load_models
from qviz.features.tracing import trace
from qviz.structures import EncodedImage
from qviz.tflite.edit import add_constant, add_tensor, operator_code, packed, unpacked
from qviz.tflite.schema import read_graph
from tests import faults
from tests.conftest import Sample
from tests.features.layer_error.small_detector import PLANTED, SETTINGS, small_detector

Models = dict[str, LoadedModel]

FAULTS = [
    ("scale of operator 9 shrunk", faults.output_scale_shrunk(9), 9, "clipping"),
    ("scale of operator 35 shrunk", faults.output_scale_shrunk(35), 35, "clipping"),
    ("weights of operator 9 in 3 bits", faults.weights_rounded(9), 9, "weights"),
    ("weights of operator 39 in 3 bits", faults.weights_rounded(39), 39, "weights"),
    ("bias of operator 15 in 11 bits", faults.bias_overflown(15, 11), 15, "bias"),
    ("bias of operator 61 in 11 bits", faults.bias_overflown(61, 11), 61, "bias"),
    ("range of the image shifted", faults.input_zero_point_shifted(-110), 0, "input_range"),
]


@pytest.fixture(scope="module")
def biplane(sample: Sample) -> EncodedImage:
    (image,) = load_images([sample.images / "biplane.jpg"])
    return image


@pytest.mark.parametrize(("name", "edit", "order", "cause"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_the_first_culprit(
    engine: LocalEngine, loaded: Models, sample: Sample, biplane: EncodedImage,
    name: str, edit: faults.Edit, order: int, cause: str,
) -> None:  # fmt: skip
    broken = faults.planted(sample.models["int8"].read_bytes(), edit)
    variant = load_models(engine, [ModelSource("broken.tflite", broken, loaded["int8"].settings)])[0]
    for quick in (False, True):
        result = trace(Context(engine), loaded["float32"], variant, biplane, object_number=0, quick=quick)
        assert result.object.variant_score < result.object.reference_score - 0.5
        first = result.culprits[0]
        assert (first.order, first.cause) == (order, cause), [(row.order, row.cause) for row in result.culprits]
        assert first.gain > 0.5 * (result.end_score - result.object.variant_score)


def test_without_a_fault_no_operator_loses_half_of_the_score(
    engine: LocalEngine, loaded: Models, biplane: EncodedImage
) -> None:
    result = trace(Context(engine), loaded["float32"], loaded["int8"], biplane, object_number=0)
    assert all(culprit.gain < 0.2 for culprit in result.culprits)
    assert not {"weights", "bias", "clipping", "input_range"} & {culprit.cause for culprit in result.culprits}


def sliced(data: bytes, order: int) -> bytes:
    """The file in which an operator reads its input as two slices that are joined again."""
    model, graph = unpacked(data), read_graph(data)
    subgraph, entry = model.subgraphs[0], graph.ops[order].inputs[0] or 0
    (_, height, width, channels), parts, added = graph.tensors[entry].shape, [], []
    size = add_constant(model, "size", np.array([1, height // 2, width, channels], np.int32))
    for number in range(2):
        begin = add_constant(model, f"begin{number}", np.array([0, number * height // 2, 0, 0], np.int32))
        parts.append(add_tensor(model, f"part{number}", like=entry))
        subgraph.tensors[parts[-1]].shape[1] = height // 2
        inputs, code = [entry, begin, size], operator_code(model, "SLICE")
        added.append(fb.OperatorT(opcodeIndex=code, inputs=inputs, outputs=[parts[-1]]))
    joined, options = add_tensor(model, "joined", like=entry), fb.ConcatenationOptionsT(axis=1)
    code, kind = operator_code(model, "CONCATENATION"), fb.BuiltinOptions.ConcatenationOptions
    added.append(
        fb.OperatorT(opcodeIndex=code, inputs=parts, outputs=[joined], builtinOptionsType=kind, builtinOptions=options)
    )
    reader = subgraph.operators[order]
    reader.inputs = [joined, *reader.inputs[1:]]
    subgraph.operators[order:order] = added
    return packed(model)


def test_a_culprit_may_read_slices_that_were_joined(engine: LocalEngine, sample: Sample) -> None:
    """A part of the join has fewer values than the tensor that it was cut from."""
    data = sliced(small_detector(), PLANTED)
    reference = load_model(engine, ModelSource("small.tflite", data, settings=SETTINGS))
    built = quantize(Context(engine), source_of(reference), "dynamic_range")
    variant = follow(load_model(engine, ModelSource("dynamic_range.tflite", built.data)), reference)
    (image,) = load_images([sample.images / "biplane.jpg"])
    result = trace(Context(engine), reference, variant, image, object_number=0)
    assert [row.order for row in result.culprits][:1] == [PLANTED + 3]
