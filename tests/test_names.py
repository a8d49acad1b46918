"""Names say what a value is: a list of words that say nothing, and their synonyms, for everything that has a name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

EMPTY_WORDS = {
    *(
        "said",
        "told",
        "found",
        "held",
        "kept",
        "asked",
        "wanted",
        "heed",
        "heeded",
        "mine",
        "theirs",
        "gotten",
        "spoken",
    ),
    *("stuff", "thing", "things", "whatever", "somewhat", "taken", "seeks"),
}
"""Not a name, nor a part of one: they fit every value."""
EMPTY_NAMES = {"place", "known", "seen", "most", "least", "fewest"}
"""Not a name on their own; as a part of one (`known_labels`, `most_bytes`) they may say something."""
FOLDERS = ("qviz", "pages", "tests", "benchmarks", "docs", "sample_data/build")


def names_of(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, line) of every variable, argument, attribute, function and class that is defined."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.alias) and node.asname:
            yield node.asname, 0


def is_empty(name: str) -> bool:
    """Whether a name is one of the words, or has one of them as a part; tests may be sentences."""
    bare = name.strip("_").lower()
    if bare.startswith("test_"):
        return False
    return bare in EMPTY_NAMES or not EMPTY_WORDS.isdisjoint(re.split(r"_+", bare))


@pytest.mark.parametrize("name", ["said", "_found", "asked_for", "KEPT_SHARE", "place", "things_left", "known"])
def test_an_empty_name_is_noticed(name: str) -> None:
    assert is_empty(name)


@pytest.mark.parametrize(
    "name", ["detections", "known_labels", "placement", "foundation", "max_images", "test_it_is_found"]
)
def test_a_good_name_is_not(name: str) -> None:
    assert not is_empty(name)


def files() -> list[Path]:
    return [*ROOT.glob("*.py"), *(path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))]


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_names_say_what_a_value_is(path: Path) -> None:
    assert [f"{line}: {name}" for name, line in names_of(ast.parse(path.read_text())) if is_empty(name)] == []
