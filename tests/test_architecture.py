"""The house of design.md: a room imports only from rooms below it, and guests are received only where they belong.

Read from the source, so imports inside functions and under TYPE_CHECKING count too. Both tables are written out: a new
room or a new package fails here until somebody has decided where it lives.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FLOORS = {
    "app": 10,
    "pages": 10,
    "qviz.__main__": 10,
    "qviz.ui": 9,
    "qviz.cli": 9,
    "qviz": 8.75,  # the front door: names of qviz.api and of the value types
    "qviz.api": 8.5,
    "qviz.report": 8,
    "qviz.plots": 7,
    "qviz.analysis": 6,
    "qviz.detector": 5,
    "qviz.features.building": 5,
    "qviz.datasets": 4,
    "qviz.corruptions": 4,
    "qviz.tflite": 4,
    "qviz.decoders": 4,
    "qviz.tensorflow_models": 4,
    "qviz.structures": 3,
    "qviz.engine": 2,
    "qviz.store": 2,
    "qviz.limits": 1.5,
    "qviz.errors": 1,
    "qviz.progress": 1,
}

GUESTS = {
    "numpy": set(FLOORS),
    "pandas": {"qviz.analysis", "qviz.plots", "qviz.ui", "pages", "qviz.cli"},
    "streamlit": {"app", "pages", "qviz.ui"},
    "plotly": {"qviz.plots"},
    "jinja2": {"qviz.report"},
    "pycocotools": {"qviz.analysis"},
    "scipy": {"qviz.analysis"},
    "ai_edge_quantizer": {"qviz.features.building"},
    "tf_keras": {"qviz.features.building"},
    "tensorflow_model_optimization": {"qviz.features.building"},
    "ai_edge_litert": {"qviz.tflite"},
    "flatbuffers": {"qviz.tflite"},
    "tensorflow": {"qviz.tensorflow_models", "qviz.features.building"},
    "h5py": {"qviz.tensorflow_models"},
    "cv2": {"qviz.analysis", "qviz.datasets", "qviz.corruptions", "qviz.tflite", "qviz.plots"},
    "pillow_heif": {"qviz.datasets"},  # read with where somebody has installed it
    "PIL": {"qviz.datasets", "qviz.corruptions", "qviz.tflite", "qviz.plots"},
    "loky": {"qviz.engine"},
    "dask": {"qviz.engine"},
    "distributed": {"qviz.engine"},
    "cloudpickle": {"qviz.engine"},
    "psutil": {"qviz.engine"},
    "sqlite3": {"qviz.store"},
}

INSIDE_FUNCTIONS = {
    "tensorflow",
    "h5py",
    "tf_keras",
    "tensorflow_model_optimization",
    "ai_edge_quantizer",
    "pillow_heif",
    "dask",
    "distributed",
}
"""Slow to import, or not installed everywhere: only the call that needs them pays."""


def room_of(module: str) -> str:
    """qviz.datasets.images -> qviz.datasets; pages.compare -> pages."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "qviz" else parts[0]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """(module, whether inside a function) of every import; `from qviz import api` is the room qviz.api."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            below = [f"qviz.{alias.name}" for alias in node.names] if module == "qviz" else []
            yield from ((name if name in FLOORS else module, inside) for name in below or [module])
        else:
            yield from imports(node, inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def complaints(source: str, room: str) -> list[str]:
    """What one file of a room imports against the rules."""
    if room not in FLOORS:
        return [f"{room} has no floor"]
    said = (_complaint(room, module, inside) for module, inside in imports(ast.parse(source)))
    return [sentence for sentence in said if sentence]


def _complaint(room: str, module: str, inside: bool) -> str | None:
    top = module.split(".")[0]
    if top in ("qviz", "pages", "app"):
        other = room_of(module)
        if other not in FLOORS:
            return f"{other} has no floor"
        lower = other == room or FLOORS[other] < FLOORS[room]
        return None if lower else f"{room} imports {other}, which is not below it"
    if top in GUESTS:
        if room not in GUESTS[top]:
            return f"{top} is no guest of {room}"
        late = top not in INSIDE_FUNCTIONS or inside
        return None if late else f"{top} is imported by {room} outside of a function"
    return None if top in sys.stdlib_module_names else f"{module or '.'} is unknown to the house"


def drawn(text: str) -> dict[str, float]:
    """room -> floor, of the drawings in a document: fenced blocks whose lines are a floor and its rooms."""
    blocks = [block for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S) if "qviz.structures" in block]
    lines = [line.split(maxsplit=1) for block in blocks for line in block.splitlines()]
    return {room.strip(): float(floor) for floor, rooms in lines for room in rooms.split("|")}


def test_the_house_is_as_it_is_drawn() -> None:
    assert drawn((ROOT / "CONTRIBUTING.md").read_text()) == FLOORS
    assert drawn((ROOT / "README.md").read_text()) in ({}, FLOORS), "a second drawing, if there is one, is the same"


RULES = [
    ("from qviz.structures import Image", "qviz.tflite", []),
    ("from qviz.datasets.images import SUFFIXES", "qviz.datasets", []),
    ("from qviz import api", "qviz.cli", []),
    ("import numpy as np\nimport json", "qviz.structures", []),
    ("def f():\n    import tensorflow", "qviz.features.building", []),
    ("from qviz.analysis import lint", "qviz.detector", ["qviz.detector imports qviz.analysis, which is not below it"]),
    ("import qviz.tflite.runner", "qviz.decoders", ["qviz.decoders imports qviz.tflite, which is not below it"]),
    ("from qviz import Settings", "qviz.tflite", ["qviz.tflite imports qviz, which is not below it"]),
    ("from qviz import api", "qviz.plots", ["qviz.plots imports qviz.api, which is not below it"]),
    ("import app", "qviz.ui", ["qviz.ui imports app, which is not below it"]),
    ("import qviz.helpful", "qviz.cli", ["qviz.helpful has no floor"]),
    ("import json", "qviz.helpful", ["qviz.helpful has no floor"]),
    ("def f():\n    import streamlit", "qviz.analysis", ["streamlit is no guest of qviz.analysis"]),
    ("if TYPE_CHECKING:\n    import pandas as pd", "qviz.tflite", ["pandas is no guest of qviz.tflite"]),
    ("import sqlite3", "qviz.engine", ["sqlite3 is no guest of qviz.engine"]),
    (
        "import tensorflow",
        "qviz.features.building",
        ["tensorflow is imported by qviz.features.building outside of a function"],
    ),
    ("import requests", "qviz.datasets", ["requests is unknown to the house"]),
    ("from . import images", "qviz.datasets", [". is unknown to the house"]),
]


@pytest.mark.parametrize(("source", "room", "expected"), RULES)
def test_the_rules_themselves(source: str, room: str, expected: list[str]) -> None:
    assert complaints(source, room) == expected


def files() -> list[Path]:
    return sorted([*(ROOT / "qviz").rglob("*.py"), *(ROOT / "pages").glob("*.py"), *ROOT.glob("app.py")])


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_a_file_keeps_to_its_floor(path: Path) -> None:
    assert complaints(path.read_text(), room_of(module_of(path))) == []


@pytest.mark.parametrize("path", files(), ids=module_of)
def test_a_file_is_short_and_has_a_name(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 250
    assert not {"utils", "util", "common", "helpers", "misc"} & set(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("qviz", {"numpy", "tensorflow", "streamlit", "cv2", "ai_edge_litert"}),
        ("qviz.cli", {"tensorflow", "streamlit", "cv2", "pandas", "ai_edge_litert", "scipy", "pycocotools", "loky"}),
        ("qviz.engine", {"tensorflow", "streamlit", "cv2", "pandas", "loky", "distributed"}),
        ("qviz.api", {"tensorflow", "streamlit", "pandas", "scipy", "pycocotools"}),
    ],
)
def test_an_import_stays_light(module: str, heavy: set[str]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(json.loads(shown.stdout)) == set()
