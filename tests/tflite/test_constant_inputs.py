"""Files with further inputs of known values, as PaddleDetection and DETR export them."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.engine import LocalEngine
from qviz.errors import ModelError
from qviz.features.inspection.lint import lint_model
from qviz.session import Session
from qviz.tflite.constant_inputs import constant_inputs, with_constant_inputs
from qviz.tflite.metadata import exporter_notes
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.tflite.files import code, operator, packed, tensor

WIDTH, HEIGHT = 96, 64
SIZE = (WIDTH, HEIGHT)


def two_inputs(name: str, values: tuple[float, ...], shape: tuple[int, ...] = (1, 2), dtype: int = 0) -> bytes:
    """One object whose box, [0, 0, 1, 1] times these values, is multiplied by the second input.

    Operators: TILE the input [1, 2] to [1, 4], MUL with the box, CONCATENATION with score and class, RESHAPE.
    """
    tensors = [
        *(tensor(name, shape, dtype), tensor("image", (1, HEIGHT, WIDTH, 3))),
        *(tensor("times", (2,), fb.TensorType.INT32, 1), tensor("box", (1, 4), buffer=2)),
        *(tensor("score", (1, 2), buffer=3), tensor("tiled", (1, 4)), tensor("scaled", (1, 4))),
        *(tensor("rows", (1, 6)), tensor("finished", (1, 6))),
    ]
    joining = operator(2, [6, 4], [7])
    joining.builtinOptionsType, joining.builtinOptions = (
        fb.BuiltinOptions.ConcatenationOptions,
        fb.ConcatenationOptionsT(),
    )
    joining.builtinOptions.axis = 1
    scaling = operator(1, [5, 3], [6])
    scaling.builtinOptionsType, scaling.builtinOptions = fb.BuiltinOptions.MulOptions, fb.MulOptionsT()
    kinds = fb.BuiltinOperator
    return packed(
        tensors,
        [operator(0, [0, 2], [5]), scaling, joining, operator(3, [7], [8])],
        [code(kind) for kind in (kinds.TILE, kinds.MUL, kinds.CONCATENATION, kinds.RELU)],
        inputs=(0, 1),
        outputs=(8,),
        constants=[np.int32([1, 2]), np.float32([values]), np.float32([[0.8, 2]])],
    )


FACTOR = two_inputs("scale_factor", (10, 20, 40, 50))
FILES = [(FACTOR, "'scale_factor' is 1, 1"), (two_inputs("orig_target_sizes", (0.1, 0.25, 0.5, 0.75)), "is 96, 64")]


def session(path: Path, sample: Sample, engine: LocalEngine) -> Session:
    return Session(path, images=sample.images / "hens.jpg", engine=engine, cache=False, resize="stretch")


@pytest.mark.parametrize(("data", "words"), FILES)
def test_boxes_are_in_pixels_of_the_input(
    data: bytes, words: str, tmp_path: Path, sample: Sample, engine: LocalEngine
) -> None:
    path = tmp_path / "picodet.tflite"
    path.write_bytes(data)
    with session(path, sample, engine) as opened:
        (model,) = opened.models_for(opened.images_of())
        (image,) = opened.detect().images
    assert model.inspection.decoder == "end_to_end" and len(model.inspection.graph.inputs) == 1
    (warning,) = [w for w in lint_model(model) if w.code == "constant_inputs"]
    assert words in warning.message
    box = (10, 20, 40, 50) if data is FACTOR else (9.6, 16, 48, 48)
    scale = np.array([image.width / WIDTH, image.height / HEIGHT] * 2)
    np.testing.assert_allclose(image.detections.boxes, [box * scale], rtol=1e-5)


@pytest.mark.parametrize(
    "data",
    [
        two_inputs("camera", (1, 1, 1, 1)),
        two_inputs("scale_factor", (1, 1, 1, 1), shape=(1, 3)),
        two_inputs("scale_factor", (1, 1, 1, 1), dtype=fb.TensorType.INT8),
    ],
)
def test_inputs_of_another_name_shape_or_type_are_refused(
    data: bytes, tmp_path: Path, sample: Sample, engine: LocalEngine
) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"net.tflite has 2 inputs .* perhaps with a scale_factor"):
        session(path, sample, engine).detect()


def test_what_is_appended_to_the_file_stays() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("metadata.json", json.dumps({"names": {"0": "person"}, "task": "detect"}))
    data = FACTOR + archive.getvalue()
    constants: dict[int, Any] = constant_inputs(read_graph(data))
    rewritten = with_constant_inputs(data, constants)
    assert exporter_notes(rewritten) == exporter_notes(data) != {}
    graph = read_graph(rewritten)
    assert [tensor.name for tensor in graph.input_tensors()] == ["image"]
    assert not constant_inputs(graph)
