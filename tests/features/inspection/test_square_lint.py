"""Warnings about whole files with one known fault each, and none about files without."""

from __future__ import annotations

from dataclasses import replace

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import ModelError
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.features.inspection.checks import capped_warnings
from qviz.features.inspection.lint import lint_model
from tests.squares import Squares

CASES = [
    ("reference", "int8", []),
    ("alive_channel", "int8", []),
    ("dead_channel", "int8", []),
    ("uint8_input", "int8", []),
    ("spread_weights", "int8_per_tensor", []),
    ("four_classes", "int8", []),
    ("pixels_with_scores", "int8", ["shared_concat_scale"]),
    ("logits_with_boxes", "int8", ["boxes_share_scale"]),
    ("end_to_end", "int8", ["class_index_shares_scale"]),
    ("flooding", "int8", ["saturated_bias"]),
    ("end_to_end", "float32", []),
]


@pytest.mark.parametrize(("name", "precision", "codes"), CASES)
def test_warnings(name: str, precision: str, codes: list[str], squares: Squares, engine: LocalEngine) -> None:
    path = squares.model(name, precision)  # type: ignore[arg-type]
    model = load_model(engine, ModelSource(f"{name}.tflite", path.read_bytes()))
    assert [warning.code for warning in lint_model(model) if not warning.advice] == codes


def test_the_widest_column_of_an_end_to_end_head_is_named(squares: Squares) -> None:
    info = qviz.info(squares.model("end_to_end", "int8"), mean=0, std=255)
    (warning,) = [w for w in info.models[0].warnings if w.code == "class_index_shares_scale"]
    assert "set by the class number: range [0, 78]" in warning.message
    assert "normalise" not in warning.cure  # the boxes are normalised already
    assert "qviz diagnose FLOAT32 VARIANT --images PATH --fix" in warning.cure


def test_nms_that_keeps_few_objects_has_a_warning(loaded: dict[str, LoadedModel]) -> None:
    model = loaded["int8"]
    assert list(capped_warnings(model)) == []  # 25 objects
    inspection = replace(model.inspection, post_process={**model.inspection.post_process, "max_detections": 10.0})
    (warning,) = capped_warnings(replace(model, inspection=inspection))
    assert "at most 10 objects per image" in warning.message


def test_a_file_compiled_for_the_edge_tpu_is_refused_with_the_reason(engine: LocalEngine, squares: Squares) -> None:
    from tests.faults import planted

    def compiled(model: object, graph: object) -> None:
        from ai_edge_litert import schema_py_generated as fb

        code = fb.OperatorCodeT()
        code.deprecatedBuiltinCode, code.builtinCode = 32, fb.BuiltinOperator.CUSTOM
        code.customCode = b"edgetpu-custom-op"
        model.operatorCodes.append(code)  # type: ignore[attr-defined]
        graph.operators[-1].opcodeIndex = len(model.operatorCodes) - 1  # type: ignore[attr-defined]

    data = planted(squares.model("reference", "int8").read_bytes(), compiled)
    with pytest.raises(ModelError, match=r"compiled for the Edge TPU.*that it was compiled from"):
        load_model(engine, ModelSource("net_edgetpu.tflite", data))


def test_four_classes_are_distinguished_from_four_coordinates(squares: Squares) -> None:
    for name in ("four_classes", "four_classes_scores_first"):
        info = qviz.info(squares.model(name, "float32"), squares.model(name, "int8"))
        assert {model.decoder for model in info.models} == {"boxes_and_scores"}


def test_the_number_of_labels_decides_between_heads(squares: Squares) -> None:
    path = squares.model("rows_with_scores", "float32")
    assert qviz.info(path).models[0].decoder == "yolox"
    assert qviz.info(path, labels=squares.labels).models[0].decoder == "yolov8"
