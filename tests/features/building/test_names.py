"""Files with repeated or missing tensor names, and data appended to the flatbuffer."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import flatbuffers
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.engine import LocalEngine
from qviz.features.building.build import start_building
from qviz.features.building.recipes import Options
from qviz.features.building.source import Source, with_unique_tensor_names
from qviz.structures import EncodedImage
from qviz.tensorflow_models import SourceKind
from qviz.tflite.metadata import label_file
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts
from tests.features.conftest import calibrated, source_of

NAMES: dict[str, Callable[[int], str]] = {"none": lambda index: "", "two": lambda index: f"half {index // 2}"}


def renamed(data: bytes, name: Callable[[int], str]) -> bytes:
    model = fb.ModelT.InitFromObj(fb.Model.GetRootAs(data))
    for index, tensor in enumerate(model.subgraphs[0].tensors):
        tensor.name = name(index).encode()
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@pytest.mark.parametrize("kind", NAMES)
def test_shared_names(
    kind: str, workers: LocalEngine, engine: LocalEngine, dense: Source, images: list[EncodedImage]
) -> None:
    data = renamed(dense.data, NAMES[kind])
    source = source_of(SourceKind.TFLITE, data, data)
    ranges = calibrated(engine, source, images)
    plain = calibrated(engine, dense, images)
    assert sorted(ranges.ranges.values()) == sorted(plain.ranges.values())  # none is shared
    built = start_building(workers, source, "int8", Options(keep_orders=(0,)), ranges).result()
    expected = start_building(workers, dense, "int8", Options(keep_orders=(0,)), plain).result()
    facts = [scheme_facts(read_graph(data)) for data in (built.data, expected.data)]
    assert facts[0] == facts[1]
    assert [row.reason for row in built.stayed_float] == [row.reason for row in expected.stayed_float]


def test_a_graph_with_unique_names_is_not_changed(tflite: Source) -> None:
    assert with_unique_tensor_names(tflite.graph) is tflite.graph


def test_appended_labels_are_copied(workers: LocalEngine, dense: Source) -> None:
    buffer = io.BytesIO(dense.data)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    data = buffer.getvalue()
    built = start_building(workers, source_of(SourceKind.TFLITE, data, data), "weight_only_int8").result()
    assert label_file(built.data) == b"cat\ndog\n"
    assert built.data == start_building(workers, source_of(SourceKind.TFLITE, data, data), built.recipe).result().data
