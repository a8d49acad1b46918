"""The two sides to compare: each is a folder with a commit or the work tree, and a Python with its requirements.

All files are made in one cache folder; nothing is written into the checkout itself.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
COMPLETE_MARKER = ".golden"
"""Name of a file that marks a virtual environment as completely installed."""

CHECK = """
import sys
from importlib.metadata import version
from packaging.requirements import Requirement
for line in open(sys.argv[1]):
    text = line.split("#")[0].strip()
    if text and not text.startswith("-"):
        row = Requirement(text)
        if row.marker is None or row.marker.evaluate():
            assert row.specifier.contains(version(row.name), prereleases=True), row
"""
"""A script that fails if its interpreter lacks a package of a requirements file."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side. root: the checkout; python: its interpreter; commit: None for the work tree, which may change."""

    name: str
    root: Path
    python: str
    commit: str | None


def cache_folder() -> Path:
    """The folder of work trees, environments and recordings, which is created if it does not exist."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qviz-golden"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _call(*words: str | Path) -> str:
    """Standard output of a command. If it fails, raises SystemExit with its standard error."""
    done = subprocess.run([str(word) for word in words], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, words))} failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def commit_of(rev: str) -> str:
    """The full hash of a commit."""
    return _call("git", "rev-parse", "--verify", f"{rev}^{{commit}}")


def tree_of(commit: str) -> Path:
    """The folder of a work tree of the commit, which is created if it does not exist."""
    folder = cache_folder() / "trees" / commit[:16]
    if not (folder / "app.py").is_file():
        _call("git", "worktree", "add", "--force", "--detach", folder, commit)
    return folder


def satisfies(python: str, requirements: Path) -> bool:
    """Whether the interpreter has all packages of a requirements file."""
    done = subprocess.run([python, "-c", CHECK, str(requirements)], cwd="/", capture_output=True)
    return done.returncode == 0


def environment_of(requirements: Path) -> str:
    """The interpreter of an environment with only the file's requirements. Creating it takes minutes."""
    folder = cache_folder() / "venvs" / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    python = folder / "bin" / "python"
    if not (folder / COMPLETE_MARKER).is_file():
        print(f"installing {requirements} into {folder} ...", flush=True)
        _call(sys.executable, "-m", "venv", "--clear", folder)
        _call(python, "-m", "pip", "install", "-r", requirements, "--quiet", "--disable-pip-version-check")
        (folder / COMPLETE_MARKER).touch()
    return str(python)


def side_of_commit(name: str, rev: str) -> Side:
    """The side of a commit, with its own environment."""
    commit = commit_of(rev)
    root = tree_of(commit)
    return Side(name, root, environment_of(root / "requirements.txt"), commit)


def side_of_work_tree() -> Side:
    """The side of the work tree. Its Python is the running one if that has all requirements, else a new environment."""
    requirements = ROOT / "requirements.txt"
    python = sys.executable if satisfies(sys.executable, requirements) else environment_of(requirements)
    return Side("new", ROOT, python, None)


def environment(side: Side, cache: Path) -> dict[str, str]:
    """Environment variables for commands of a side: they use its code, keep detections in `cache`, and write .pyc files
    outside of the checkout.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("QVIZ_", "PYTHON"))}
    return {
        **inherited,
        "PYTHONPATH": str(side.root),
        "PYTHONPYCACHEPREFIX": str(cache_folder() / "bytecode"),
        "QVIZ_CACHE": str(cache),
        "COLUMNS": "120",
    }


def check_origin(side: Side, env: dict[str, str]) -> None:
    """Raise SystemExit if the side would import qviz from another checkout."""
    code = "import qviz; print(qviz.__file__)"
    done = subprocess.run([side.python, "-c", code], cwd=side.root, env=env, capture_output=True, text=True)
    path = done.stdout.strip()
    if not path or not Path(path).resolve().is_relative_to(side.root.resolve()):
        raise SystemExit(f"{side.name}: qviz comes from {path or done.stderr.strip()[-500:]}, not from {side.root}")
