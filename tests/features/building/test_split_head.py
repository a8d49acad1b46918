"""Boxes and scores that share one output become two outputs, each with a scale of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.calibration import network_input
from qviz.features.building.split_head import split_head
from qviz.structures import EncodedImage, Scheme, Settings
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from tests.conftest import ROOT, Sample
from tests.squares import Squares
from tests.squares.detectors import pixels_with_scores

PIXELS = {"mean": 0, "std": 255}


def test_the_parts_are_the_same_numbers() -> None:
    data = pixels_with_scores("float32")
    split = split_head(data)
    graph, whole = read_graph(split), read_graph(data).output_tensors()[0]
    assert [tensor.shape for tensor in graph.output_tensors()] == [(1, 2100, 4), (1, 2100, 3)]
    assert (graph.signature["boxes"], graph.signature["scores"]) == graph.outputs
    image = np.random.default_rng(0).uniform(0, 1, graph.input_tensors()[0].shape).astype(np.float32)
    (joined,) = Runner(data).run([image])
    parts = np.concatenate([part.transpose(0, 2, 1) for part in Runner(split).run([image])], 1)
    assert joined.shape == whole.shape
    np.testing.assert_array_equal(parts, joined)


def test_a_split_head_keeps_what_a_shared_scale_loses(squares: Squares, engine: LocalEngine, tmp_path: Path) -> None:
    """Boxes in pixels and scores on one scale leave few steps for scores."""
    path = tmp_path / "float32.tflite"
    path.write_bytes(pixels_with_scores("float32"))
    with qviz.open(path, calibration=squares.images, engine=engine, cache=False, **PIXELS) as session:
        plain = session.quantize("int8").save(tmp_path / "plain.tflite")
        built = session.quantize("int8", cures=["split_head"])
        others = session.quantize("int8", cures=["equalize", "round_weights", "correct_biases"])
    assert built.scheme is Scheme.INT8 and built.changes == ("Boxes and scores are separate outputs.",)
    assert "shared_concat_scale" not in {warning.code for warning in built.warnings}
    split = built.save(tmp_path / "split.tflite")
    result = qviz.evaluate(
        path,
        plain,
        split,
        others.save(tmp_path / "others.tflite"),
        dataset=squares.annotations,
        dataset_images=squares.images,
        labels=squares.labels,
        engine=engine,
        cache=False,
        **PIXELS,
    )
    reference, shared, separate, with_other_cures = (100 * (model.ap or 0) for model in result.models)
    assert shared < reference - 5
    assert separate > reference - 3
    assert with_other_cures < reference - 5, "no other cure mends it"


def test_the_decoding_in_the_documentation_gives_the_same_objects(
    squares: Squares, engine: LocalEngine, tmp_path: Path
) -> None:
    code = re.search(r"```python\n(def decode.*?)```", (ROOT / "docs" / "rescue.md").read_text(), re.DOTALL)
    assert code is not None and len(code[1].splitlines()) <= 12
    names: dict[str, Any] = {"np": np}
    exec(code[1], names)
    path = tmp_path / "split.tflite"
    path.write_bytes(split_head(pixels_with_scores("float32")))
    photograph = squares.images / "s00.png" if (squares.images / "s00.png").is_file() else min(squares.images.iterdir())
    (detections,) = qviz.detect(path, images=photograph, engine=engine, cache=False, nms_iou=0.6, **PIXELS)[
        path.name
    ].values()
    tensor = read_graph(path.read_bytes()).input_tensors()[0]
    settings = Settings((0.0,) * 3, (255.0,) * 3, "rgb", "stretch")
    image = network_input(EncodedImage("x", photograph.read_bytes()), settings, tensor)
    boxes, scores = (part[0] for part in Runner(path.read_bytes()).run([image]))
    corners, best, classes = names["decode"](boxes, scores)
    assert len(best) == len(detections) > 0
    np.testing.assert_allclose(best, detections.scores, atol=1e-5)
    np.testing.assert_array_equal(classes, detections.class_ids)
    np.testing.assert_allclose(corners, detections.boxes, atol=0.1)


def test_a_head_without_such_an_output_is_refused(sample: Sample) -> None:
    with pytest.raises(QuantizeError, match="The head cannot be split: split_head is for networks whose single output"):
        split_head(sample.models["float32"].read_bytes())
