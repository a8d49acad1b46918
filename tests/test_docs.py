"""The tutorials' commands and snippets run, in order, on the demo; the site builds and loads nothing from elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qviz.cli import main
from qviz.ui.demo import FOLDER
from tests.conftest import ROOT

DOCS = ROOT / "docs"
TUTORIALS = ("inspect", "diagnose", "on_call", "cure", "gate", "present")
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.M | re.S)
STATUS = re.compile(r"\s+# status (\d)$")
SAYS = {
    "inspect": ("12", "concatenates scores and boxes on one scale"),
    "diagnose": ("In float, operators 39-51 bring back 100% of the lost agreement.", "Build it again with 16-bit"),
    "on_call": (
        "in 25% of their frames with squares_int8.tflite, in 83% with squares_float32.tflite",
        "They agree least in second 3 (agreement 0.00). It is dark there",
        "most at operator 49 (CONCATENATION; 47 in the reference)",
    ),
    "cure": ("cured.tflite", "1.000"),
    "gate": ("failed by squares_int8.tflite", "gate: at most 2.0 AP points lost: passed"),
    "present": ("report.html", "card.md", "6 images as pictures"),
}
"""What the commands of each tutorial print, as its text says."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = tmp_path_factory.mktemp("tutorial") / "demo"
    shutil.copytree(FOLDER, target)
    before = Path.cwd()
    os.chdir(target)
    yield target
    os.chdir(before)


def status_of(words: list[str]) -> int:
    try:
        return int(main(words))
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", TUTORIALS)  # in this order: `gate` uses the file that `cure` builds
def test_a_tutorial_runs(name: str, folder: Path) -> None:
    printed = io.StringIO()
    for kind, text in BLOCK.findall((DOCS / "tutorials" / f"{name}.md").read_text()):
        if kind == "python":
            exec(compile(text, name, "exec"), {})
            continue
        for line in text.splitlines():
            expected = int(match[1]) if (match := STATUS.search(line)) else 0
            words = shlex.split(STATUS.sub("", line))
            if words[0] != "qviz":  # copies the demo, as the fixture does
                assert name == "inspect" and words[0] in ("cp", "cd")
                continue
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                assert status_of(words[1:]) == expected, line
    assert [text for text in SAYS[name] if text not in printed.getvalue()] == []


def navigation(rows: object) -> Iterator[str]:
    for row in rows if isinstance(rows, list) else rows.values() if isinstance(rows, dict) else ():
        if isinstance(row, str):
            yield row
        else:
            yield from navigation(row)


def test_every_page_is_in_the_navigation() -> None:
    listed = set(navigation(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])) - {"api.md"}
    assert listed == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    commands = pytest.importorskip("mkdocs.commands.build")
    from mkdocs.config import load_config

    commands.build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path)))
    files = (path for path in tmp_path.rglob("*.html") if path.name != "404.html")
    pages = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in files}
    assert {"index.html", "api.html", "tutorials/gate.html"} <= set(pages)
    loaded = re.compile(r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//")
    assert {name: loaded.findall(text) for name, text in pages.items() if loaded.search(text)} == {}
    assert "qviz.compare" in pages["api.html"] and "Session.export" in pages["api.html"]
    targets = {
        (name, target)
        for name, text in pages.items()
        for target in re.findall(r'<a[^>]+href="([^"#:]+\.html)[^"]*"', text)
        if not ((tmp_path / name).parent / target).resolve().is_file()
    }
    assert targets == set()


CITED = re.compile(r"`(?:tests/)?([\w/]+\.py)?(?:::(\w+))?`")
"""A test in a table: a file, a file and a function, or another function of the file before it."""


@pytest.mark.parametrize("name", ["security.md", "reliability.md"])
def test_every_claim_and_fault_has_a_test_that_exists(name: str) -> None:
    rows = [line for line in (DOCS / name).read_text().splitlines() if re.search(r"\| .*test_\w+\.py.*\|$", line)]
    assert len(rows) >= 12
    for row in rows:
        file = ""
        for cited, function in CITED.findall(row.rsplit(" | ", 1)[1]):
            file = cited or file
            content = (ROOT / "tests" / file).read_text()
            assert not function or f"def {function}(" in content, (file, function)


def test_the_table_of_dependencies_has_every_pinned_version() -> None:
    rows = re.findall(r"^\| ([\w, -]+) \| ([\d.]+) \|", (DOCS / "security.md").read_text(), re.M)
    listed = {package: version for packages, version in rows for package in packages.split(", ")}
    pinned = re.findall(r"^([\w-]+)==([\d.]+)", (ROOT / "requirements.txt").read_text(), re.M)
    assert listed == dict(pinned)
