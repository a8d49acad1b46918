"""Hooks of mkdocs: the API reference from docstrings, and links that lead out of docs/ as plain text."""

from __future__ import annotations

import inspect
import re
from typing import Any

from mkdocs.structure.files import File, Files

import qviz

OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./(?!\w+\.md)[^)]*\)|\[([^\]]+)\]\(\.\./[A-Z][^)]*\)")
"""A link to a file above docs/, such as ../README.md; tutorials link to ../ci.md, which is in docs/."""


def on_files(files: Files, config: Any) -> Files:
    """Add the page api.md."""
    files.append(File.generated(config, "api.md", content=api()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with links out of docs/ as plain text."""
    return OUTSIDE.sub(lambda match: match[1] or match[2], markdown)


def api() -> str:
    """Every public name, with its signature and docstring."""
    parts = [
        "# Python API",
        "Everything that `import qviz` offers. Results have `to_json()`, `to_frame()`, `plot()` and",
    ]
    parts[-1] += " `save()`, and `str(result)` is the verdict in words."
    for name in qviz.__all__:
        value = getattr(qviz, name)
        if not callable(value):
            continue
        parts += [f"## qviz.{name}", _block(f"{name}{_signature(value)}"), _block(inspect.getdoc(value) or "")]
        if name == "Session":
            parts += list(_methods(value))
    return "\n\n".join(parts) + "\n"


def _methods(owner: type) -> list[str]:
    methods = [
        (name, value)
        for name, value in inspect.getmembers(owner, callable)
        if not name.startswith("_") and inspect.getdoc(value)
    ]
    return [
        text
        for name, value in methods
        for text in (f"### Session.{name}", _block(f"{name}{_signature(value)}"), _block(inspect.getdoc(value) or ""))
    ]


def _signature(value: Any) -> str:
    try:
        return str(inspect.signature(value))
    except (TypeError, ValueError):
        return "(...)"


def _block(text: str) -> str:
    return f"```text\n{text}\n```"
