"""Warnings are given where they apply, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.checks import input_quantizer, input_warnings
from qviz.features.inspection.lint import lint_comparison, lint_model
from qviz.result import to_json
from qviz.structures import Quantization, Settings
from tests.conftest import SCHEMES
from tests.graphs import graph, image_tensor, op, per_tensor, tensor


def codes(warnings: list) -> list[str]:
    """Codes of the warnings, without the one of every file with NMS inside (see test_nms_lint)."""
    return [warning.code for warning in warnings if warning.code != "class_lost_by_threads"]


@pytest.mark.parametrize("name", SCHEMES)
def test_warnings_about_the_samples_files(name: str, loaded: dict[str, LoadedModel]) -> None:
    expected = {"int8": ["float_islands"], "int8_wrong_range": ["input_range", "float_islands"]}
    assert codes(lint_model(loaded[name])) == expected.get(name, [])
    assert codes(lint_comparison(loaded["float32"], [loaded[name]])) == []


def test_the_wrong_range_warning_gives_the_numbers(loaded: dict[str, LoadedModel]) -> None:
    warning, *_ = lint_model(loaded["int8_wrong_range"])
    assert "represents [0, 1], but normalised pixels span [-1, 1]; 50% of that span is clipped" in warning.message
    assert warning.model == loaded["int8_wrong_range"].name
    assert set(to_json(warning)) == {"model", "code", "message", "cure", "advice", "operators"}


def with_range(like: LoadedModel, quantization: Quantization, **settings: Any) -> LoadedModel:
    entry = image_tensor(dtype="int8", quantization=quantization)
    inspection = replace(
        like.inspection, graph=graph([entry], [0]), settings=Settings(**settings).with_defaults(like.settings)
    )
    return replace(like, inspection=inspection)


RANGES = [
    # scale, zero point, mean, std -> is there a warning?
    (2 / 255, 0, 127.5, 127.5, False),
    (1 / 255, -128, 127.5, 127.5, True),  # [0, 1] for [-1, 1]
    (1 / 255, -128, 0.0, 255.0, False),
    (1.0, -128, 0.0, 1.0, False),  # [0, 255]
    (1 / 255, -128, 0.0, 1.0, True),  # raw pixels into [0, 1]
    (1.0, -128, 127.5, 127.5, True),  # [-1, 1] into [0, 255]: half of it is below the range
    (1.97 / 255, 0, 127.5, 127.5, False),  # a calibration that missed the last pixel values
    (1.9 / 255, 0, 127.5, 127.5, True),
    (0.001, 127, 0.0, 1.0, True),  # nothing fits
]


@pytest.mark.parametrize(("scale", "zero", "mean", "std", "warned"), RANGES)
def test_input_range_warnings(
    scale: float, zero: int, mean: float, std: float, warned: bool, loaded: dict[str, LoadedModel]
) -> None:
    model = with_range(loaded["int8"], per_tensor(scale, zero), mean=(mean,) * 3, std=(std,) * 3)
    assert codes(input_warnings(model)) == ["input_range"] * warned


UNUSUAL = [
    # scale, zero point (None: a float input), mean, std -> sentence
    (
        1.0,
        -128,
        0.0,
        255.0,
        "represents [0, 255], but normalised pixels span [0, 1] in a channel and use 1 of its steps",
    ),
    (21 / 255, 0, 127.5, 127.5, "24 of its steps"),
    (5 / 255, 0, 127.5, 127.5, ""),  # 102 steps
    (None, 0, 0.485, 0.229, "span [-2.12, 1.11e+03] in a channel"),  # ImageNet's for pixels in [0, 1]
    (None, 0, 0.0, 65025.0, "span [0, 0.00392] in a channel"),  # divided by 255 twice
    (None, 0, 123.675, 58.395, ""),
    (None, 0, 127.5, 1.0, ""),
    (None, 0, 128.0, 256.0, ""),
    (None, 0, 0.0, -255.0, ""),  # an odd sign, but an image
    (1 / 255, -128, 0.485, 0.229, "Wrong input range"),  # clipped: one warning
]


@pytest.mark.parametrize(("scale", "zero", "mean", "std", "sentence"), UNUSUAL)
def test_unusual_normalizations(
    scale: float | None, zero: int, mean: float, std: float, sentence: str, loaded: dict[str, LoadedModel]
) -> None:
    settings: dict[str, Any] = {"mean": (mean,) * 3, "std": (std,) * 3}
    floats = inspected(loaded["int8"], graph=graph([image_tensor()], [0]), settings=Settings(**settings))
    model = floats if scale is None else with_range(loaded["int8"], per_tensor(scale, zero), **settings)
    warnings = input_warnings(model)
    assert [sentence in warning.message for warning in warnings] == [True] * bool(sentence)
    assert codes(warnings) in ([], ["input_range" if "Wrong" in sentence else "input_normalisation"])


def test_the_quantizer_behind_a_float_input() -> None:
    tensors = [image_tensor(), tensor(1, dtype="int8", quantization=per_tensor(1, 0)), tensor(2)]
    assert input_quantizer(graph(tensors, [1], [op("QUANTIZE", [0], [1])])) is tensors[1]
    assert input_quantizer(graph(tensors, [2], [op("CONV_2D", [0], [2])])) is None


NAMES = [
    # name, what it is -> is there a warning?
    ("net_int8.tflite", "int8", False),
    ("net_int8.tflite", "float32", True),
    ("net_int8.tflite", "dynamic_range", False),  # int8 weights are often called so
    ("net_quant.tflite", "float16", True),
    ("net_fp16.tflite", "float16", False),
    ("net_fp16.tflite", "float32", True),
    ("net_float32.tflite", "int8", True),
    ("net_dynamic_int8.tflite", "int8", True),  # the more specific claim counts
    ("net.tflite", "int8", False),  # no claim in the name
    ("net_uint8in_float.tflite", "float32", False),  # the type of the input
    ("net_int8_float_outputs.tflite", "int8", False),
    ("net_float.tflite", "int8", True),
    ("net_float32 + int8.tflite", "int8", False),  # built by qviz: the recipe is its name
    ("net_float32 + dynamic_range.tflite", "int8", True),
]


@pytest.mark.parametrize(("name", "scheme", "warned"), NAMES)
def test_a_name_that_contradicts_the_scheme(
    name: str, scheme: str, warned: bool, loaded: dict[str, LoadedModel]
) -> None:
    model = replace(loaded[scheme], model=replace(loaded[scheme].model, name=name))
    warnings = [
        warning for warning in lint_model(model) if warning.code not in ("float_islands", "class_lost_by_threads")
    ]
    assert codes(warnings) == ["name_lies"] * warned
    assert not warned or f"This file is {scheme}" in warnings[0].message


def inspected(like: LoadedModel, **changed: Any) -> LoadedModel:
    return replace(like, inspection=replace(like.inspection, **changed))


def set_to(like: LoadedModel, **settings: Any) -> LoadedModel:
    return inspected(like, settings=Settings(**settings).with_defaults(like.settings))


SETTINGS = [
    ({"mean": (0.0, 0.0, 0.0)}, "uses mean 0;", "uses mean 127.5."),
    ({"std": (1.0, 2.0, 3.0)}, "uses std (1, 2, 3);", "uses std 127.5."),
    ({"channels": "bgr"}, "uses channels bgr;", "uses channels rgb."),
    ({"resize": "letterbox"}, "uses resize letterbox;", "uses resize stretch."),
    ({"class_offset": 1}, "uses class_offset 1;", "uses class_offset 0."),
]


@pytest.mark.parametrize(("settings", "variant", "reference"), SETTINGS)
def test_settings_that_differ(
    settings: dict[str, Any], variant: str, reference: str, loaded: dict[str, LoadedModel]
) -> None:
    (warning,) = lint_comparison(loaded["float32"], [set_to(loaded["int8"], **settings)])
    assert warning.code == "settings_differ"
    assert f"{loaded['int8'].name} {variant} {loaded['float32'].name} {reference}" in warning.message


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
    assert "max_detections 10;" in warning.message
    raw = inspected(loaded["int8"], decoder="ssd_raw", post_process={})
    (warning,) = lint_comparison(loaded["float32"], [raw])
    assert "decoder ssd_raw;" in warning.message


def test_labels_that_differ(loaded: dict[str, LoadedModel]) -> None:
    variant = set_to(loaded["int8"], labels=("a", "b"))
    (warning,) = lint_comparison(loaded["float32"], [variant])
    assert warning.code == "labels_differ"
    assert "has 2 labels" in warning.message


COUNTS = [
    # labels, background counted -> is there a warning? The sample's head has 90 classes
    (90, 0, False),
    (89, 1, False),
    (90, 1, False),
    (80, 0, True),
    (91, 0, True),
    (0, 0, False),  # no labels
]


@pytest.mark.parametrize(("labels", "offset", "warned"), COUNTS)
def test_labels_for_other_classes(labels: int, offset: int, warned: bool, loaded: dict[str, LoadedModel]) -> None:
    model = set_to(loaded["float32"], labels=tuple(f"n{i}" for i in range(labels)), class_offset=offset)
    warnings = lint_model(model)
    assert codes(warnings) == ["label_count"] * warned
    assert not warned or f"has {labels} labels for 90 classes" in warnings[0].message
