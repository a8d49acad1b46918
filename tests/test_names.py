"""Names say what a value is: no definition uses a word that would fit every value.

Only definitions are read (variables, arguments, attributes, functions, classes, imports under another name, modules),
because every other use of a name either refers to one of these or belongs to another library.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

EMPTY_WORD = re.compile(
    "said|told|found|held|kept|asked|wanted|heed|heeded|mine|theirs|place|gotten|spoken|stuff|things?|heard|patience"
    "|nobody|somebody|anybody"
)
"""Not even a part of a name."""

EMPTY_NAME = re.compile("known|seen|made|own|most|least|fewest|nearly|unhurt|hurt|nothing|wild|taken|won|parcel|anew")
"""Not a whole name; with a noun they say something (`known_ids`, `min_seen_share`)."""

PUBLIC = {
    "kept": (
        "features/comparison/",
        "features/backends/",
    ),  # a change of an object, as `lost` and `shifted`: key of JSON, column of CSV
    "reference_found": ("features/accuracy/",),  # keys of an image in `qviz evaluate --json`
    "variant_found": ("features/accuracy/",),
    "still_found": ("features/accuracy/", "features/corruption_sweep/"),  # key in `qviz robustness --json`
    "made": ("features/reporting/",),  # key of a saved study, argument of `report`
}
"""Names that users have -> folders that may define them."""

FOLDERS = ("qviz", "pages", "tests", "benchmarks", "sample_data/build")
FILES = [ROOT / "app.py", *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


def words_of(name: str) -> list[str]:
    """The words of a snake_case or CamelCase name, in lower case."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def is_empty(name: str, path: str) -> bool:
    """Whether a name says nothing about its value; path: of the file that defines it."""
    plain = name.strip("_").lower()
    if any(folder in path for folder in PUBLIC.get(plain, ())):
        return False
    return bool(EMPTY_NAME.fullmatch(plain)) or any(map(EMPTY_WORD.fullmatch, words_of(name)))


def definitions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, name) of everything that a module defines."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name) | ast.alias(asname=str(name)):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield node.lineno, name
            case ast.MatchMapping(rest=str(name)):
                yield node.lineno, name


def empty_names(source: str, path: str) -> list[str]:
    return [f"line {line}: {name}" for line, name in definitions(ast.parse(source)) if is_empty(name, path)]


EXAMPLES = [
    ("said = 1", ["line 1: said"]),
    ("result.found = 1", ["line 1: found"]),
    ("def asked_for(x, *, wanted): ...", ["line 1: asked_for", "line 1: wanted"]),
    ("class TheThing:\n    held: int", ["line 1: TheThing", "line 2: held"]),
    ("import json as stuff", ["line 1: stuff"]),
    ("try: ...\nexcept OSError as seen: ...", ["line 2: seen"]),
    ("for mine, theirs in pairs: lambda own: 0", ["line 1: mine", "line 1: theirs", "line 1: own"]),
    ("MOST = 3", ["line 1: MOST"]),
    ("known_ids = min_seen = foundation = placement = 1", []),
    ("from importlib.metadata import PackageNotFoundError\nraise FileNotFoundError", []),
    ("class Change:\n    KEPT = 1", []),
    ("still_found = 1", ["line 1: still_found"]),
]


@pytest.mark.parametrize(("source", "expected"), EXAMPLES)
def test_examples_of_empty_names(source: str, expected: list[str]) -> None:
    assert sorted(empty_names(source, "qviz/features/comparison/x.py")) == sorted(expected)


def test_names_say_what_a_value_is() -> None:
    """One test for all files: one for each would take longer than the check."""
    assert [str(path) for path in FILES if is_empty(path.stem, str(path))] == []
    empty = {
        str(path.relative_to(ROOT)): empty_names(path.read_text(encoding="utf-8"), path.as_posix()) for path in FILES
    }
    assert {path: names for path, names in empty.items() if names} == {}


@pytest.mark.parametrize(("name", "folder"), [(name, folder) for name, folders in PUBLIC.items() for folder in folders])
def test_every_exception_is_needed(name: str, folder: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in FILES if f"qviz/{folder}" in path.as_posix()]
    assert any(name == other.lower() for source in sources for _, other in definitions(ast.parse(source)))
