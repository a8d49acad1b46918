"""The wheel: two builds are equal, it is small, it holds the dashboard, and nothing but `qviz` at its top."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from qviz.optional import DISTRIBUTION, PARTS, InputError, install_command, require
from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
COPIED = ("qviz", "pages", "docs/glossary.md", "app.py", "setup.py", "pyproject.toml", "MANIFEST.in", ".streamlit")
COPIED_TOO = ("README.md", "LICENSE")
MAX_BYTES = 10_000_000


def built(folder: Path, mode: int = 0o644) -> Path:
    """A wheel, built from a copy of the sources, all with this mode; another umask makes another one."""
    source = folder / "source"
    source.mkdir(parents=True)
    for name in (*COPIED, *COPIED_TOO):
        target = source / name
        target.parent.mkdir(exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name, target, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copy
            )
        else:
            shutil.copy(ROOT / name, target)
    for path in (path for path in source.rglob("*") if path.is_file()):
        path.chmod(mode)
    stale = source / "build" / "lib" / "qviz" / "stale.py"  # of an earlier build
    stale.parent.mkdir(parents=True)
    stale.touch()
    call = [sys.executable, "-c", BUILD, str(folder)]
    ended = subprocess.run(call, cwd=source, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return folder / ended.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    pytest.importorskip("setuptools")
    return built(tmp_path_factory.mktemp("one") / "a"), built(tmp_path_factory.mktemp("two") / "b", mode=0o664)


def test_two_builds_are_equal_byte_for_byte(wheels: tuple[Path, Path]) -> None:
    first, second = (path.read_bytes() for path in wheels)
    assert first == second
    assert len(first) < MAX_BYTES


def test_it_holds_the_dashboard_and_only_qviz_at_its_top(wheels: tuple[Path, Path]) -> None:
    names = zipfile.ZipFile(wheels[0]).namelist()
    assert {name.split("/")[0] for name in names} == {"qviz", f"qviz_tflite-{PROJECT_VERSION}.dist-info"}
    pages = {f"qviz/dashboard/pages/{path.name}" for path in (ROOT / "pages").glob("*.py")}
    dashboard = {"qviz/dashboard/app.py", "qviz/dashboard/.streamlit/config.toml", "qviz/dashboard/docs/glossary.md"}
    assert pages | dashboard <= set(names)
    assert "qviz/stale.py" not in names
    others = {path for path in (ROOT / "qviz").rglob("*") if path.is_file() and path.suffix not in (".pyc", ".md")}
    assert {path.relative_to(ROOT).as_posix() for path in others} - set(names) == set(), "a file is not in the wheel"


def test_the_installed_package_finds_its_dashboard_and_has_no_sample(wheels: tuple[Path, Path], tmp_path: Path) -> None:
    zipfile.ZipFile(wheels[0]).extractall(tmp_path / "site")
    code = (
        "from qviz.cli.app import _script; from qviz.ui import glossary, sample; from qviz.ui.demo import demo;"
        "images = len(sample.sample().images), len(demo().images);"
        "print(_script(), len(glossary.terms()) > 20, sample.is_installed(), *images)"
    )
    call = [sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    ended = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
    script = tmp_path / "site" / "qviz" / "dashboard" / "app.py"
    assert ended.stdout == f"{script} True False 0 8\n", ended.stderr


PROJECT_VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "qviz/__init__.py").read_text()).group(1)  # type: ignore[union-attr]


def test_every_part_is_an_extra_and_all_has_them() -> None:
    extras = PROJECT["optional-dependencies"]
    assert {*PARTS, "all"} == set(extras)
    assert extras["all"] == [f"{DISTRIBUTION}[{','.join(sorted(PARTS))}]"]


def test_the_base_install_has_no_tensorflow() -> None:
    names = {re.match(r"[\w.-]+", text).group() for text in PROJECT["dependencies"]}  # type: ignore[union-attr]
    pinned = {
        re.match(r"[\w.-]+", text).group()
        for text in (ROOT / "requirements.txt").read_text().splitlines()
        if text[0] != "#"
    }  # type: ignore[union-attr]
    assert names < pinned, "make run installs all of the base"
    assert pinned - names == {"litert-quantizer", "tensorflow", "tf_keras"}


def test_a_missing_part_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.optional.find_spec", lambda name: None if name.startswith("tensorflow") else object())
    with pytest.raises(InputError) as raised:
        require("build", "Building a variant")
    assert str(raised.value) == (
        'Building a variant needs tensorflow, which is not installed: pip install "qviz-tflite[build]"'
    )
    assert all(install_command(name).endswith(f'qviz-tflite[{name}]"') for name in PARTS)


SUFFIXES = (".py", ".md", ".yml", ".ipynb", ".txt", ".toml", ".html")
OTHER_PACKAGE = re.compile(r"(?:pip install|pipx run|--spec|uvx|--from)\s+[\"']?qviz(?![\w-])\S*")


def test_no_text_installs_another_package() -> None:
    folders = [path for folder in ("qviz", "docs", "examples") for path in (ROOT / folder).rglob("*")]
    texts = [path for path in folders if path.suffix in SUFFIXES]
    texts += [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "action.yml")]
    wrong = {
        path.name: commands for path in texts if (commands := OTHER_PACKAGE.findall(path.read_text(encoding="utf-8")))
    }
    assert wrong == {}
    assert OTHER_PACKAGE.findall('pip install "qviz[onnx]"') and not OTHER_PACKAGE.findall("pip install qviz-tflite")
