"""What a model needs beyond what its file says: one small, visible set.

The names are those of the command line and of `MODEL.tflite.qviz.json`. None means: not said here.
Normalisation is on pixel values 0..255: x -> (x - mean) / std, a value a channel in the model's channel order.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from qviz.errors import SettingsError

CHANNELS = ("rgb", "bgr")
RESIZES = ("stretch", "letterbox", "letterbox-top-left")


@dataclass(frozen=True, slots=True)
class Settings:
    """mean, std: 3 floats; channels, resize: see above; decoder: a name of DECODERS; labels: a name a class."""

    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: str | None = None
    resize: str | None = None
    decoder: str | None = None
    nms_iou: float | None = None
    max_detections: int | None = None
    class_offset: int | None = None
    labels: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_choice("channels", self.channels, CHANNELS)
        _check_choice("resize", self.resize, RESIZES)
        if self.std is not None and any(value == 0 for value in self.std):
            raise SettingsError("std is 0 for a channel, and pixels are divided by it: give the spread, e.g. 127.5.")
        if self.nms_iou is not None and not 0 <= self.nms_iou <= 1:
            raise SettingsError(f"nms_iou is {self.nms_iou}; it is an overlap between 0 and 1, e.g. 0.6.")
        if self.class_offset not in (None, 0, 1):
            raise SettingsError(f"class_offset is {self.class_offset}; it is 1 where class 0 is background, else 0.")
        if self.max_detections is not None and self.max_detections < 1:
            raise SettingsError(f"max_detections is {self.max_detections}; it must be at least 1.")

    def over(self, base: Settings) -> Settings:
        """These settings, and those of `base` where these say nothing."""
        return replace(base, **self.said())

    def said(self) -> dict[str, Any]:
        """Only what is said here."""
        return {
            field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) is not None
        }

    def to_json(self) -> dict[str, Any]:
        """All names, null where nothing is said; labels are left to their own key."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
            if name != "labels"
        }

    @classmethod
    def from_json(cls, said: Any, where: str) -> Settings:
        """From a JSON object. Raises SettingsError for an unknown name or a value of the wrong kind."""
        if not isinstance(said, dict):
            raise SettingsError(f'{where} is not a JSON object of settings such as {{"mean": 127.5}}.')
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(said) - known):
            raise SettingsError(
                f"{where} names {unknown[0]!r}, which is no setting. Known: {', '.join(sorted(known))}."
            )
        return cls(**{name: _parse(name, value, where) for name, value in said.items() if value is not None})


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def triple(value: Any, name: str, where: str) -> tuple[float, float, float]:
    """One number for all channels, or one each."""
    numbers = value if isinstance(value, (list, tuple)) else [value] * 3
    try:
        numbers = [float(number) for number in numbers]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3 or not all(abs(number) < 1e6 for number in numbers):
        raise SettingsError(f"{where}: {name} is {value!r}; give one number, or three with commas, on pixels 0..255.")
    return (numbers[0], numbers[1], numbers[2])


def _parse(name: str, value: Any, where: str) -> Any:
    if name in ("mean", "std"):
        return triple(value, name, where)
    if name == "labels":
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{where}: labels must be a list of names.")
        return tuple(str(label) for label in value)
    if name in ("nms_iou", "max_detections", "class_offset"):
        return _number(name, value, where)
    return str(value)


def _number(name: str, value: Any, where: str) -> float:
    """A float for `nms_iou`, else an int: 2.7 detections are refused, not cut to 2."""
    whole = name != "nms_iou"
    try:
        number = float(value)
        if not whole or number == int(number):
            return int(number) if whole else number
    except (TypeError, ValueError, OverflowError):
        pass
    raise SettingsError(f"{where}: {name} is {value!r}; a {'whole ' if whole else ''}number is needed.")
