from __future__ import annotations

import math
from typing import Any

import pytest

from qviz.errors import SettingsError
from qviz.structures import Settings

REFUSED: list[tuple[Any, str]] = [
    ([], "not a JSON object"),
    ("mean", "not a JSON object"),
    ({"maen": 127.5}, "has an unknown setting, 'maen'. Possible settings: anchors, channels, class_offset"),
    ({"mean": "grey"}, "mean is 'grey'; give one number, or three"),
    ({"mean": [1, 2]}, "give one number, or three"),
    ({"mean": [1, 2, 3, 4]}, "give one number, or three"),
    ({"mean": []}, "give one number, or three"),
    ({"mean": math.nan}, "give one number, or three"),
    ({"mean": 10**400}, "give one number, or three"),
    ({"std": [1, {}, 2]}, "give one number, or three"),
    ({"std": 0}, "std is 0 for a channel"),
    ({"std": [1, 0, 1]}, "std is 0 for a channel"),
    ({"channels": "grb"}, "channels is 'grb'; choose one of rgb, bgr"),
    ({"channels": ["rgb"]}, "choose one of rgb, bgr"),
    ({"resize": "crop"}, "choose one of stretch, letterbox, letterbox-top-left"),
    ({"nms_iou": 60}, "nms_iou is 60.0; it must be an overlap between 0 and 1"),
    ({"nms_iou": math.nan}, "it must be an overlap between 0 and 1"),
    ({"nms_iou": "much"}, "nms_iou is 'much'; it must be a number"),
    ({"nms_iou": [0.5]}, "it must be a number"),
    ({"max_detections": 0}, "must be at least 1"),
    ({"max_detections": 2.7}, "max_detections is 2.7; it must be a whole number"),
    ({"max_detections": math.inf}, "it must be a whole number"),
    ({"class_offset": 2}, "it must be 1 where class 0 is the background, else 0"),
    ({"labels": "person"}, "labels must be a list of names"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_invalid_values_are_refused_with_value_and_source(data: Any, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_json(data, "model.tflite.qviz.json")
    assert sentence in str(caught.value)


def test_the_file_is_named_where_a_value_does_not_parse() -> None:
    with pytest.raises(SettingsError, match=r"^model\.json: mean is"):
        Settings.from_json({"mean": "x"}, "model.json")


READ: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"mean": None}, {}),  # null is not set
    ({"mean": 127.5}, {"mean": (127.5, 127.5, 127.5)}),
    ({"std": [1, 2, 3]}, {"std": (1.0, 2.0, 3.0)}),
    ({"std": ["58.4"]}, {"std": (58.4, 58.4, 58.4)}),
    ({"nms_iou": 1}, {"nms_iou": 1.0}),
    ({"max_detections": 12.0}, {"max_detections": 12}),
    ({"class_offset": 0}, {"class_offset": 0}),  # zero is a value
    ({"labels": ["a", 5]}, {"labels": ("a", "5")}),
    ({"labels": []}, {"labels": ()}),
]


@pytest.mark.parametrize(("data", "expected"), READ)
def test_settings_from_json(data: dict[str, Any], expected: dict[str, Any]) -> None:
    settings = Settings.from_json(data, "x").given()
    assert settings == expected
    assert [type(value) for value in settings.values()] == [type(value) for value in expected.values()]


def test_with_defaults_completes_field_by_field() -> None:
    first = Settings(channels="bgr", class_offset=0)
    second = Settings(channels="rgb", class_offset=1, nms_iou=0.4)
    assert first.with_defaults(second) == Settings(channels="bgr", class_offset=0, nms_iou=0.4)
    assert second.with_defaults(first) == second
    assert first.with_defaults(Settings()) == first


def test_json_round_trip_except_labels() -> None:
    data = Settings(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0), channels="bgr", max_detections=7)
    assert Settings.from_json(data.to_json(), "x") == data
    assert "labels" not in Settings(labels=("a",)).to_json()
