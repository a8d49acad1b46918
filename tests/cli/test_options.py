"""Every option of a command is read by it; an invalid value is refused before any work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from qviz import session_inputs
from qviz.cli import COMMANDS, build_parser
from qviz.context import Context
from tests.conftest import Sample

BESIDES = {"recipes"}
"""Printed while the arguments are parsed, as --version is."""


def options_of(command: str) -> list[argparse.Action]:
    """All arguments of a command, --help left out."""
    (commands,) = [a for a in build_parser(command)._actions if isinstance(a, argparse._SubParsersAction)]
    return [action for action in commands.choices[command]._actions if action.dest != "help"]


def numbers() -> Iterator[tuple[str, argparse.Action]]:
    """The options that take one number, of every command."""
    for command in COMMANDS:
        for action in options_of(command):
            if action.metavar in ("X", "N") and action.option_strings:
                yield command, action


NUMBERS = list(numbers())


@pytest.mark.parametrize(("command", "action"), NUMBERS, ids=[f"{name} {a.option_strings[-1]}" for name, a in NUMBERS])
@pytest.mark.parametrize("value", ["many", "nan", "-1e9", "1e300"])
def test_numbers_out_of_range_are_refused_while_parsing(command: str, action: argparse.Action, value: str) -> None:
    assert callable(action.type), f"{command} {action.option_strings[-1]} takes any text"
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        action.type(value)


class Recording(argparse.Namespace):
    """Remembers which arguments were read."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name in super().__getattribute__("__dict__"):
            super().__getattribute__("_read").add(name)
        return super().__getattribute__(name)


class RecordingContext(Context):
    """Remembers whether a computation read the number of threads and the store."""

    read: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        if name in ("threads", "store"):
            RecordingContext.read.add(name)
        return super().__getattribute__(name)


def folder_of(image: Path, folder: Path) -> Path:
    """A folder with one frame."""
    frames = folder / "frames"
    frames.mkdir()
    (frames / image.name).write_bytes(image.read_bytes())
    return frames


def lines(sample: Sample, folder: Path) -> dict[str, list[object]]:
    """A quick call of every command that works on models."""
    reference, variant = sample.models["float32"], sample.models["int8"]
    image, scenes = sample.images / "astronaut.jpg", [*sorted(sample.images.iterdir())[:8]]
    calibration = sorted((sample.folder / "calibration").iterdir())[:10]
    data = ["--dataset", sample.annotations, "--dataset-images", sample.images]
    return {
        "info": [variant],
        "detect": [variant, "--images", image],
        "compare": [reference, variant, "--images", image],
        "export": [reference, variant, "--images", image, "--as", "coco", "-o", folder / "relabel"],
        "evaluate": [reference, variant, *data],
        "dataset": [sample.annotations, "--dataset-images", sample.images],
        "robustness": [reference, variant, "--images", image, "--corruptions", "night", "--severities", "3"],
        "layers": [reference, variant, "--images", image],
        "trace": [reference, variant, "--image", image, "--quick"],
        "diagnose": [reference, variant, "--images", image],
        "what-if": [reference, variant, "--images", image, "--float", "0-2"],
        "risk": [reference, variant, "--images", image, "--calibration", *calibration],
        "quantize": [reference, "--recipe", "dynamic_range", "-o", folder / "built.tflite"],
        "calibration": [reference, "--calibration", *calibration, "--draws", "1", "--mistakes", "none"],
        "rescue": [
            *(reference, "--calibration", *calibration, "--images", *scenes, "--min-agreement", "0.5"),
            *("--recipes", "dynamic_range", "--tries", "1", "-o", folder / "small.tflite"),
        ],
        "backends": [reference, *data, "--on", "xnnpack"],
        "doctor": [],
        "device": ["pack", variant, "--images", image, "-o", folder / "device"],
        "profile": [variant, "--runs", "3"],
        "video": [reference, variant, "--video", folder_of(image, folder)],
        "report": [reference, variant, "--images", image, "--sections", "models", "-o", folder / "report.html"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("app", "card", "qat")])
def test_every_option_is_read(command: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_inputs, "Context", RecordingContext)
    RecordingContext.read = set()
    args = Recording(_read=set())
    words = [command, *map(str, lines(sample, tmp_path)[command])]
    build_parser(command).parse_args(words, namespace=args)
    args._read.clear()
    assert args.run(args) == 0
    offered = {action.dest for action in options_of(command)} - BESIDES
    assert offered - args._read == set()
    if "threads" in offered and command != "profile":
        assert "threads" in RecordingContext.read
    if "cache" in offered:
        assert "store" in RecordingContext.read
