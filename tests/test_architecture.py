"""The rules of the house: who may import whom, which third-party package belongs where, how large things may grow.

Read from the source, so imports inside functions and under TYPE_CHECKING count too. The tables are written out: a new
package or a new third-party import fails here until it is added to them. CONTRIBUTING.md draws the
same order, and a test compares the two.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FEATURES = [
    "installation",
    "detection",
    "inspection",
    "comparison",
    "exporting",
    "settings",
    "accuracy",
    "object_risk",
    "layer_error",
    "what_if",
    "tracing",
    "corruption_sweep",
    "backends",
    "building",
    "cost",
    "calibrating",
    "training",
    "rescuing",
    "slices",
    "video",
    "diagnosis",
    "reporting",
]
"""Computation of features, in the order in which one may import another: only from those before it."""

LOWER = {
    "errors": 0,
    "progress": 0,
    "formatting": 0,
    "limits": 1,
    "optional": 1,
    "metrics": 0,
    "structures": 2,
    "engine": 3,
    "store": 3,
    "tflite": 4,
    "decoders": 4,
    "datasets": 4,
    "corruptions": 4,
    "tensorflow_models": 4,
    "onnx_model": 4,
    "detector": 5,
    "context": 6,
    "result": 6,
    "job": 7,
    "job_times": 6,
    "chart_style": 7,
    "cache": 0,
}
"""Packages and modules below the features; equal levels do not import one another."""

LEVELS = LOWER | {f"features.{name}": 10 + number for number, name in enumerate(FEATURES)}
TEXT, PLOT, HTML, SESSION, FRAME, PANEL, PAGE = 40, 41, 42, 50, 60, 70, 80

GUESTS = {
    "pandas": {"computation", "panel", "ui", "cli", "result"},
    "streamlit": {"ui", "panel", "page"},
    "plotly": {"plot", "ui", "result"},
    "jinja2": {"html"},
    "pycocotools": {"computation", "datasets"},
    "scipy": {"computation"},
    "litert_quantizer": {"computation"},
    "tf_keras": {"computation"},
    "tensorflow": {"computation", "tensorflow_models"},
    "ai_edge_litert": {"tflite"},
    "flatbuffers": {"tflite"},
    "h5py": {"computation", "tensorflow_models"},
    "onnxruntime": {"onnx_model"},
    "tflite_micro": {"computation"},
    "ethosu": {"computation"},
    "cv2": {"computation", "datasets", "corruptions", "tflite", "plot"},
    "PIL": {"datasets", "corruptions", "tflite", "plot"},
    "pillow_heif": {"datasets"},
    "yaml": {"datasets"},
    "google": {"datasets"},
    "loky": {"engine"},
    "dask": {"engine"},
    "distributed": {"engine"},
    "cloudpickle": {"engine"},
    "psutil": {"engine"},
    "pytest": {"pytest_plugin"},
    "model_explorer": {"model_explorer"},
    "sqlite3": {"store"},
}
"""Third-party package -> the roles that may import it; numpy everywhere."""

INSIDE_FUNCTIONS = {
    *("tensorflow", "h5py", "tf_keras", "litert_quantizer", "pillow_heif", "dask", "distributed"),
    *("yaml", "google", "onnxruntime", "tflite_micro", "ethosu"),
}
"""Slow to import, or not installed everywhere: only the call that needs them pays."""

LOADS_A_CHOSEN_ROW = {"qviz", "qviz.session", "qviz.session_inputs", "qviz.session_variant", "qviz.result", "qviz.cli"}
"""Modules that import what was chosen by name: a public name, a result's plot and text, a command."""

MAX_LINES, MAX_FILES, MAX_FUNCTION = 400, 30, 40
REGISTRIES = {"decoders"}


def level_of(module: str) -> int:
    """The level of a module; it may import modules of lower levels and of its own unit (see `unit_of`)."""
    parts = module.split(".")
    if parts[0] in ("app", "pages"):
        return PAGE
    if parts[-1] == "__main__":
        return PAGE
    if parts == ["qviz"] or parts[1] in ("session", "session_inputs", "session_variant", "top_level"):
        return SESSION
    if parts[1] in ("ui", "cli", "pytest_plugin", "model_explorer"):
        return FRAME
    if parts[1] == "features":
        if len(parts) == 2:
            return min(LEVELS[f"features.{name}"] for name in FEATURES) - 1
        return {"computation": LEVELS[f"features.{parts[2]}"], "text": TEXT, "plot": PLOT, "html": HTML}.get(
            role_of(module), PANEL
        )
    return LEVELS.get(parts[1], -1)


def role_of(module: str) -> str:
    """What a file does: the name of its package below the features, in a feature by the file's name."""
    parts = module.split(".")
    if parts[0] != "qviz" or parts == ["qviz", "__main__"]:
        return "page"
    if len(parts) > 2 and parts[1] == "features":
        name = parts[3] if len(parts) > 3 else ""
        match = re.match(r"(panel|plot|text|html|cli)(_|$)", name)
        return match.group(1) if match else "computation"
    return parts[1] if len(parts) > 1 else "qviz"


def unit_of(module: str) -> str:
    """What may import within itself at will: a package, a feature's computation, all panels together."""
    parts = module.split(".")
    role = role_of(module)
    if role in ("panel", "page"):
        return role
    if role == "qviz" or parts[1] in ("session", "session_inputs", "session_variant", "top_level"):
        return "session"
    if role in ("text", "plot", "html"):
        return role
    return ".".join(parts[:3]) + f":{role}" if parts[1] == "features" else ".".join(parts[:2])


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def files() -> list[Path]:
    return sorted([*(ROOT / "qviz").rglob("*.py"), *(ROOT / "pages").glob("*.py"), *ROOT.glob("app.py")])


MODULES = {module_of(path): path for path in files()}


def imports(tree: ast.AST, inside: bool = False) -> Iterator[tuple[str, bool]]:
    """(module, whether inside a function) of every import; `from qviz.ui import page` is the module qviz.ui.page."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            full = [f"{module}.{alias.name}" for alias in node.names]
            yield from ((name if name in MODULES else module, inside) for name in full)
        else:
            yield from imports(node, inside or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))


def complaints(source: str, module: str) -> list[str]:
    """What one file imports against the rules."""
    if level_of(module) < 0:
        return [f"{module} has no level"]
    sentences = (_complaint(module, name, inside) for name, inside in imports(ast.parse(source)))
    return list(dict.fromkeys(sentence for sentence in sentences if sentence))


def _complaint(module: str, name: str, inside: bool) -> str | None:
    top = name.split(".")[0]
    if top in ("qviz", "pages", "app"):
        if level_of(name) < 0:
            return f"{name} has no level"
        chosen = inside and module in LOADS_A_CHOSEN_ROW
        lower = unit_of(name) == unit_of(module) or level_of(name) < level_of(module) or chosen
        return None if lower else f"{module} imports {name}, which is not below it"
    if top in GUESTS:
        if role_of(module) not in GUESTS[top]:
            return f"{top} does not belong in {module}"
        return None if top not in INSIDE_FUNCTIONS or inside else f"{top} is imported by {module} outside of a function"
    return None if top in sys.stdlib_module_names or top == "numpy" else f"{name or '.'} is unknown"


def drawn(text: str) -> list[list[str]]:
    """The drawing in CONTRIBUTING.md: a fenced block, one line per level, lowest first, `name | name`."""
    block = next(block for block in re.findall(r"^```\n(.*?)^```", text, re.M | re.S) if "\nstructures\n" in block)
    return [[name.strip() for name in line.split("|")] for line in reversed(block.strip().splitlines())]


def test_the_order_equals_the_drawing_in_contributing() -> None:
    levels = drawn((ROOT / "CONTRIBUTING.md").read_text())
    below = [names for names in levels if names[0] in LOWER]
    by_level: dict[int, list[str]] = {}
    for name, level in LOWER.items():
        by_level.setdefault(level, []).append(name)
    assert [sorted(names) for names in below] == [sorted(by_level[level]) for level in sorted(by_level)]
    features = [name for names in levels if len(names) == 1 and "<" in names[0] for name in names[0].split(" < ")]
    assert features == FEATURES


RULES = [
    ("from qviz.structures import Image", "qviz.tflite.runner", []),
    ("from qviz.datasets.images import SUFFIXES", "qviz.datasets.coco", []),
    ("import numpy as np\nimport json", "qviz.structures.boxes", []),
    ("def f():\n    import tensorflow", "qviz.features.training.train", []),
    ("from qviz.features.detection.models import LoadedModel", "qviz.features.accuracy.gate", []),
    ("from qviz.features.accuracy.text import markdown", "qviz.features.accuracy.panel", []),
    ("from qviz.ui import page", "qviz.features.accuracy.panel", []),
    (
        "from qviz.features.accuracy.ap import ClassAP",
        "qviz.features.detection.models",
        ["qviz.features.detection.models imports qviz.features.accuracy.ap, which is not below it"],
    ),
    (
        "from qviz.features.accuracy.text import markdown",
        "qviz.features.accuracy.gate",
        ["qviz.features.accuracy.gate imports qviz.features.accuracy.text, which is not below it"],
    ),
    (
        "from qviz.tflite import runner",
        "qviz.decoders.yolo",
        ["qviz.decoders.yolo imports qviz.tflite.runner, which is not below it"],
    ),
    ("import app", "qviz.ui.page", ["qviz.ui.page imports app, which is not below it"]),
    ("import qviz.helpful", "qviz.cli.output", ["qviz.helpful has no level"]),
    ("import json", "qviz.helpful", ["qviz.helpful has no level"]),
    ("def f():\n    import streamlit", "qviz.features.cost", ["streamlit does not belong in qviz.features.cost"]),
    ("import plotly", "qviz.features.cost.text", ["plotly does not belong in qviz.features.cost.text"]),
    ("import sqlite3", "qviz.engine.local", ["sqlite3 does not belong in qviz.engine.local"]),
    (
        "import tensorflow",
        "qviz.features.building.build",
        ["tensorflow is imported by qviz.features.building.build outside of a function"],
    ),
    ("import requests", "qviz.datasets.coco", ["requests is unknown"]),
    ("from . import images", "qviz.datasets.coco", [". is unknown"]),
]


@pytest.mark.parametrize(("source", "module", "expected"), RULES)
def test_examples_of_allowed_and_forbidden_imports(source: str, module: str, expected: list[str]) -> None:
    assert complaints(source, module) == expected


def test_imports_follow_the_order() -> None:
    """One test for all files: one for each would take longer than the check."""
    all_complaints = {module_of(path): complaints(path.read_text(), module_of(path)) for path in files()}
    assert {module: sentences for module, sentences in all_complaints.items() if sentences} == {}


def test_no_import_circles() -> None:
    """Between modules, imports inside functions included, those that load a chosen row excepted."""
    graph = {
        module: {
            name
            for name, inside in imports(ast.parse(path.read_text()))
            if name in MODULES and name != module and not (inside and module in LOADS_A_CHOSEN_ROW)
        }
        for module, path in MODULES.items()
    }
    while leaves := [module for module, names in graph.items() if not names & graph.keys()]:
        for module in leaves:
            del graph[module]
    assert sorted(graph) == [], "these import one another in a circle"


def test_a_file_is_one_concept() -> None:
    too_long, vague, long_functions = {}, [], {}
    for path in files():
        text, name = path.read_text(), str(path.relative_to(ROOT))
        if (lines := len(text.splitlines())) > MAX_LINES:
            too_long[name] = lines
        if {"utils", "util", "common", "helpers", "misc"} & set(path.relative_to(ROOT).with_suffix("").parts):
            vague.append(name)
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        if names := [function.name for function in functions if length(function) > MAX_FUNCTION]:
            long_functions[name] = names
    assert (too_long, vague, long_functions) == ({}, [], {})


def length(function: ast.FunctionDef) -> int:
    """Lines of a function with its signature, without its docstring."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - ((first.end_lineno or 0) - first.lineno + 1 if is_docstring else 0)


def test_folders_stay_small() -> None:
    counts = Counter(path.parent.relative_to(ROOT).as_posix() for path in files())
    assert {folder: n for folder, n in counts.items() if n > MAX_FILES and Path(folder).name not in REGISTRIES} == {}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("qviz", {"numpy", "tensorflow", "streamlit", "cv2", "ai_edge_litert"}),
        ("qviz.pytest_plugin", {"numpy", "tensorflow", "streamlit", "cv2", "ai_edge_litert"}),
        ("qviz.cli", {"tensorflow", "streamlit", "cv2", "pandas", "ai_edge_litert", "scipy", "pycocotools", "loky"}),
        ("qviz.engine", {"tensorflow", "streamlit", "cv2", "pandas", "loky", "distributed"}),
        ("qviz.features.reporting", {"tensorflow", "streamlit", "pandas", "scipy", "pycocotools"}),
    ],
)
def test_an_import_stays_light(module: str, heavy: set[str]) -> None:
    code = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert heavy & set(json.loads(shown.stdout)) == set()
