"""Settings of a model: what qviz needs to know about it beyond what the .tflite file contains.

The field names are those of the command line and of `MODEL.tflite.qviz.json`. None means "not set".
Pixels 0..255 are normalised as x -> (x - mean) / std, one value per channel in the model's channel order.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from qviz.errors import SettingsError

CHANNELS = ("rgb", "bgr")
RESIZES = ("stretch", "letterbox", "letterbox-top-left")


@dataclass(frozen=True, slots=True)
class Settings:
    """Input preparation and decoding of one model.

    Attributes:
        mean, std: One value per channel, for pixels 0..255.
        channels: Order of the channels, one of CHANNELS.
        resize: One of RESIZES.
        decoder: A name from `qviz.decoders.DECODERS`.
        nms_iou: Non-maximum suppression drops a box that overlaps a better one with an IoU above this, 0..1.
        max_detections: Maximum detections per image.
        class_offset: 1 if class 0 of the model is the background, else 0.
        labels: One name per class.
        anchors: Width and height of each anchor in pixels of the input, finest level first, for heads whose anchors are
            not in the file (`yolo_grid`).
    """

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: str | None = None
    resize: str | None = None
    decoder: str | None = None
    nms_iou: float | None = None
    max_detections: int | None = None
    class_offset: int | None = None
    labels: tuple[str, ...] | None = None
    anchors: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        _check_choice("channels", self.channels, CHANNELS)
        _check_choice("resize", self.resize, RESIZES)
        if self.std is not None and any(value == 0 for value in self.std):
            raise SettingsError("std is 0 for a channel, but pixels are divided by it: give the spread, e.g. 127.5.")
        if self.nms_iou is not None and not 0 <= self.nms_iou <= 1:
            raise SettingsError(f"nms_iou is {self.nms_iou}; it must be an overlap between 0 and 1, e.g. 0.6.")
        if self.class_offset not in (None, 0, 1):
            raise SettingsError(
                f"class_offset is {self.class_offset}; it must be 1 where class 0 is the background, else 0."
            )
        if self.max_detections is not None and self.max_detections < 1:
            raise SettingsError(f"max_detections is {self.max_detections}; it must be at least 1.")

    def with_defaults(self, defaults: Settings) -> Settings:
        """These settings, completed by `defaults` where a field is None."""
        return replace(defaults, **self.given())

    def given(self) -> dict[str, Any]:
        """The fields that are set, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    def to_json(self) -> dict[str, Any]:
        """All fields except `labels`; a field that is not set is null."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "labels"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_json(cls, data: Any, where: str) -> Settings:
        """Read a JSON object.

        Args:
            data: The parsed JSON.
            where: The source of the object, for messages.

        Raises:
            SettingsError: A name is unknown, or a value has the wrong type.
        """
        if not isinstance(data, dict):
            raise SettingsError(f'{where} is not a JSON object of settings such as {{"mean": 127.5}}.')
        names = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - names):
            raise SettingsError(
                f"{where} has an unknown setting, {_shown(unknown[0])}. Possible settings: {', '.join(sorted(names))}."
            )
        return cls(**{name: _parse(name, value, where) for name, value in data.items() if value is not None})


def _shown(value: Any) -> str:
    """A value of the wrong type or size as text for a message."""
    return repr(value)[:60]


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise SettingsError(f"{name} is {_shown(value)}; choose one of {', '.join(choices)}.")


def per_channel(value: Any, name: str, where: str) -> tuple[float, float, float]:
    """Three floats, from one number for all channels or from a list of three numbers.

    Raises:
        SettingsError: The value is anything else; the message contains `where` and `name`.
    """
    numbers = value if isinstance(value, (list, tuple)) else [value]
    try:
        numbers = [float(number) for number in numbers]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(abs(number) < 1e6 for number in numbers):
        raise SettingsError(
            f"{where}: {name} is {_shown(value)}; give one number, or three separated by commas, for pixels 0..255."
        )
    return (numbers[0], numbers[1], numbers[2])


def _parse(name: str, value: Any, where: str) -> Any:
    if name in ("mean", "std"):
        return per_channel(value, name, where)
    if name == "labels":
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: labels must be a list of names.")
        return tuple(str(label) for label in value)
    if name == "anchors":
        return _anchors(value, where)
    if name in ("nms_iou", "max_detections", "class_offset"):
        return _number(name, value, where)
    return str(value)


def _anchors(value: Any, where: str) -> tuple[float, ...]:
    """A list of pairs of positive numbers, as floats. Raises SettingsError."""
    numbers = value if isinstance(value, (list, tuple)) else []
    positive = all(isinstance(number, (int, float)) and 0 < number < 1e5 for number in numbers)
    if positive and 0 < len(numbers) <= 100 and len(numbers) % 2 == 0:
        return tuple(float(number) for number in numbers)
    raise SettingsError(f"{where}: anchors must be a list of widths and heights in pixels, e.g. [10, 14, 23, 27].")


def _number(name: str, value: Any, where: str) -> float:
    """The value as a float for `nms_iou`, else as an int. 2.7 detections, for example, are an error.

    Raises SettingsError.
    """
    whole = name != "nms_iou"
    try:
        number = float(value)
        if not whole or number == int(number):
            return int(number) if whole else number
    except (TypeError, ValueError, OverflowError):
        pass
    raise SettingsError(f"{where}: {name} is {_shown(value)}; it must be a {'whole ' if whole else ''}number.")
