"""Measures of the code's structure: `python -m benchmarks shape [REV]` compares a commit with the work tree.

code lines          number of lines of qviz/ after `ruff format`, without docstrings, comments and blank lines
single importer     number of modules that only one module imports, without decoders and the files of a feature that
                    have a fixed role (cli, text, plot, html, panel)
longest function    number of lines, without the docstring
circles             number of modules that import one another in a circle; imports inside functions count
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = "58b38a2"
ROLES = re.compile(r"\.(cli|text|html|plot|plot_\w+|panel|panel_\w+)$")
REGISTRIES = ("qviz.decoders.",)
NOT_CODE = {getattr(tokenize, name) for name in ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER")}


def docstring_lines(tree: ast.AST) -> set[int]:
    """Numbers of the lines of strings that are statements of their own."""
    statements = (node for node in ast.walk(tree) if isinstance(node, ast.Expr))
    texts = [node for node in statements if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)]
    return {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}


def code_lines(text: str) -> int:
    """Number of lines with at least one token of code."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - docstring_lines(ast.parse(text)))


def function_lines(tree: ast.AST) -> Iterator[int]:
    """Number of lines of each function, without its docstring."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = docstring_lines(ast.Module(node.body[:1], []))
            yield (node.end_lineno or 0) - node.lineno + 1 - len(inner)


def imported(tree: ast.AST, modules: set[str]) -> set[str]:
    """The modules of qviz that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules else node.module for name in full}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & modules


def in_circles(graph: dict[str, set[str]]) -> int:
    """Number of modules in import circles.

    Modules that import none of the others, or that none of the others imports, are removed until there are none.
    """
    left = dict(graph)
    while True:
        readers = {name: {other for other in left if name in left[other]} for name in left}
        leaves = [name for name in left if not left[name] & left.keys() or not readers[name]]
        if not leaves:
            return len(left)
        for name in leaves:
            del left[name]


def measure(root: Path) -> dict[str, object]:
    """Name -> value of each measure for one checkout."""
    files = {".".join(p.relative_to(root).with_suffix("").parts): p for p in sorted((root / "qviz").rglob("*.py"))}
    files = {name.removesuffix(".__init__"): path for name, path in files.items()}
    pages = [*sorted((root / "pages").glob("*.py")), root / "app.py"]
    trees = {name: ast.parse(path.read_text()) for name, path in files.items()}
    graph = {name: imported(tree, set(files)) - {name} for name, tree in trees.items()}
    counts = Counter(other for names in graph.values() for other in names)
    counts.update(other for path in pages for other in imported(ast.parse(path.read_text()), set(files)))
    single = [n for n in files if counts[n] == 1 and not ROLES.search(n) and not n.startswith(REGISTRIES)]
    folders = Counter(path.parent for path in files.values())
    return {
        "code lines": sum(code_lines(path.read_text()) for path in files.values()),
        "files": len(files),
        "modules with a single importer": len(single),
        "most files in a folder": max(folders.values()),
        "longest function": max(length for tree in trees.values() for length in function_lines(tree)),
        "longest file": max(len(path.read_text().splitlines()) for path in files.values()),
        "modules in import circles": in_circles(graph),
    }


def formatted(archive: bytes, folder: Path) -> Path:
    """Unpack a checkout into `folder` and format it with ruff, ignoring `fmt: skip`, so that lines are comparable."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    for path in folder.rglob("*.py"):
        path.write_text(re.sub(r"  # fmt: skip", "", path.read_text()))
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", "--line-length", "120", str(folder)], check=True)
    return folder


def main(revision: str = BASE) -> None:
    with tempfile.TemporaryDirectory() as before, tempfile.TemporaryDirectory() as after:
        sides = []
        for commit, folder in ((revision, before), ("HEAD", after)):
            archive = subprocess.run(
                ["git", "archive", commit, "qviz", "pages", "app.py"], cwd=ROOT, capture_output=True
            )
            sides.append(measure(formatted(archive.stdout, Path(folder))))
    print(f"{'':32}{revision:>10}{'HEAD':>10}")
    for name in sides[0]:
        print(f"{name:32}{sides[0][name]!s:>10}{sides[1][name]!s:>10}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
