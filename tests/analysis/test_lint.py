"""Warnings come where there is something to warn of, and only there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qviz.analysis.lint import input_quantizer, lint_comparison, lint_model
from qviz.analysis.models import LoadedModel
from qviz.structures import Quantization, Settings
from tests.conftest import SCHEMES
from tests.graphs import graph, image_tensor, op, per_tensor, tensor


def codes(warnings: list) -> list[str]:
    return [warning.code for warning in warnings]


@pytest.mark.parametrize("name", SCHEMES)
def test_of_the_samples_files_only_the_wrong_range_is_warned_of(name: str, loaded: dict[str, LoadedModel]) -> None:
    expected = ["input_range"] if name == "int8_wrong_range" else []
    assert codes(lint_model(loaded[name])) == expected
    assert codes(lint_comparison(loaded["float32"], [loaded[name]])) == []


def test_the_wrong_range_is_told_in_numbers(loaded: dict[str, LoadedModel]) -> None:
    (warning,) = lint_model(loaded["int8_wrong_range"])
    assert "holds [0, 1], but images normalised as set span [-1, 1]; 50% of that is clipped" in warning.message
    assert warning.model == loaded["int8_wrong_range"].name
    assert set(warning.to_json()) == {"model", "code", "message", "cure"}


def with_range(like: LoadedModel, quantization: Quantization, **said: Any) -> LoadedModel:
    entry = image_tensor(dtype="int8", quantization=quantization)
    inspection = replace(like.inspection, graph=graph([entry], [0]), settings=Settings(**said).over(like.settings))
    return replace(like, inspection=inspection)


RANGES = [
    # scale, zero point, mean, std -> warned of?
    (2 / 255, 0, 127.5, 127.5, False),
    (1 / 255, -128, 127.5, 127.5, True),  # [0, 1] for [-1, 1]
    (1 / 255, -128, 0.0, 255.0, False),
    (1.0, -128, 0.0, 1.0, False),  # [0, 255]
    (1 / 255, -128, 0.0, 1.0, True),  # pixels as they are into [0, 1]
    (1.0, -128, 127.5, 127.5, True),  # [-1, 1] into [0, 255]: half of it is below the range
    (1.97 / 255, 0, 127.5, 127.5, False),  # a calibration that missed the last pixel values
    (1.9 / 255, 0, 127.5, 127.5, True),
    (0.001, 127, 0.0, 1.0, True),  # nothing fits
]


@pytest.mark.parametrize(("scale", "zero", "mean", "std", "warned"), RANGES)
def test_the_inputs_range(
    scale: float, zero: int, mean: float, std: float, warned: bool, loaded: dict[str, LoadedModel]
) -> None:
    model = with_range(loaded["int8"], per_tensor(scale, zero), mean=(mean,) * 3, std=(std,) * 3)
    assert codes(lint_model(model)) == ["input_range"] * warned


def test_the_quantizer_behind_a_float_input() -> None:
    tensors = [image_tensor(), tensor(1, dtype="int8", quantization=per_tensor(1, 0)), tensor(2)]
    assert input_quantizer(graph(tensors, [1], [op("QUANTIZE", [0], [1])])) is tensors[1]
    assert input_quantizer(graph(tensors, [2], [op("CONV_2D", [0], [2])])) is None


LIES = [
    # name, what it is -> warned of?
    ("net_int8.tflite", "int8", False),
    ("net_int8.tflite", "float32", True),
    ("net_int8.tflite", "dynamic_range", False),  # int8 weights are often called so
    ("net_quant.tflite", "float16", True),
    ("net_fp16.tflite", "float16", False),
    ("net_fp16.tflite", "float32", True),
    ("net_float32.tflite", "int8", True),
    ("net_dynamic_int8.tflite", "int8", True),  # the more specific claim counts
    ("net.tflite", "int8", False),  # no claim, no lie
]


@pytest.mark.parametrize(("name", "scheme", "warned"), LIES)
def test_a_name_that_lies(name: str, scheme: str, warned: bool, loaded: dict[str, LoadedModel]) -> None:
    model = replace(loaded[scheme], model=replace(loaded[scheme].model, name=name))
    assert codes(lint_model(model)) == ["name_lies"] * warned
    assert not warned or f"the file is {scheme}" in lint_model(model)[0].message


def inspected(like: LoadedModel, **changed: Any) -> LoadedModel:
    return replace(like, inspection=replace(like.inspection, **changed))


def set_to(like: LoadedModel, **said: Any) -> LoadedModel:
    return inspected(like, settings=Settings(**said).over(like.settings))


SETTINGS = [
    ({"mean": (0.0, 0.0, 0.0)}, "mean 127.5 against 0."),
    ({"std": (1.0, 2.0, 3.0)}, "std 127.5 against (1, 2, 3)."),
    ({"channels": "bgr"}, "channels rgb against bgr."),
    ({"resize": "letterbox"}, "resize stretch against letterbox."),
    ({"class_offset": 1}, "class_offset 0 against 1."),
]


@pytest.mark.parametrize(("said", "told"), SETTINGS)
def test_settings_that_differ(said: dict[str, Any], told: str, loaded: dict[str, LoadedModel]) -> None:
    (warning,) = lint_comparison(loaded["float32"], [set_to(loaded["int8"], **said)])
    assert warning.code == "settings_differ"
    assert told in warning.message


def test_nms_settings_differ_only_where_they_are_used(loaded: dict[str, LoadedModel]) -> None:
    variant = set_to(loaded["int8"], nms_iou=0.9, max_detections=7)
    assert codes(lint_comparison(loaded["float32"], [variant])) == []  # NMS is inside the file
    outside = inspected(variant, post_process={}), inspected(loaded["float32"], post_process={})
    assert codes(lint_comparison(outside[1], [outside[0]])) == ["settings_differ"]


def test_post_processing_that_differs(loaded: dict[str, LoadedModel]) -> None:
    options = loaded["int8"].inspection.post_process
    fewer = inspected(loaded["int8"], post_process={**options, "max_detections": 10.0})
    (warning,) = lint_comparison(loaded["float32"], [fewer])
    assert (warning.code, warning.model) == ("post_process_differ", fewer.name)
    assert "max_detections 25 against 10." in warning.message
    raw = inspected(loaded["int8"], decoder="ssd_raw", post_process={})
    (warning,) = lint_comparison(loaded["float32"], [raw])
    assert "tflite_post_process against ssd_raw." in warning.message


def test_labels_that_differ(loaded: dict[str, LoadedModel]) -> None:
    variant = set_to(loaded["int8"], labels=("a", "b"))
    (warning,) = lint_comparison(loaded["float32"], [variant])
    assert warning.code == "labels_differ"
    assert "names 2 classes" in warning.message
