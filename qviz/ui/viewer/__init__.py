"""The viewer: detections of the reference and its variants over one image, in the browser.

Threshold, filters, zoom and swipe work in the browser; Python is informed when the user releases the control. Boxes are
xyxy pixels of the original image, scores and IoU in [0, 1], class ids zero-based. A selection is named
``variant id:reference index:variant index`` with -1 where there is no box.

Every report has the ``rev`` of the data that it refers to and a growing stamp. A selection on an image that is no
longer shown is recognised by ``rev``; a new click is told from a remembered value by the stamp (``acted``).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
# One ES module: plain functions, joined in this order; the last file holds the `export default`.
MODULES = ("dom", "rows", "panes", "tags", "zoom", "swipe", "tooltip", "controls", "toolbar", "png", "present", "keys")
SCRIPTS = tuple(f"{name}.js" for name in (*MODULES, "viewer"))
FIELDS = ("threshold", "selected", "mode", "changes", "classes", "truth", "focus", "present")


@dataclass(frozen=True, slots=True)
class ViewerState:
    """Changes that the user made in the viewer. None: not changed (or, for `selected`, changed on another `rev`)."""

    threshold: float | None = None
    selected: str | None = None  # "" after the user deselected
    mode: str | None = None  # side | swipe
    changes: tuple[str, ...] | None = None
    classes: tuple[int, ...] | None = None  # () is all
    truth: bool | None = None
    step: int = 0  # -1 or +1 in the one run that follows the key or the button
    focus: str | None = None  # variant picked in swipe mode
    present: bool | None = None  # only the images, for a projector
    acted: frozenset[str] = frozenset()  # fields the user changed since the last run


def viewer(data: dict[str, Any], *, key: str) -> ViewerState:
    """Mount the viewer and return what the user did. `data` is documented in viewer.js."""
    callbacks: dict[str, Any] = {f"on_{name}_change": _ignore_change for name in (*FIELDS, "step")}
    result = _component()(key=key, data=data, **callbacks)
    reports = {name: result.get(name) for name in FIELDS}
    return ViewerState(
        **{name: _value(name, report, data["rev"]) for name, report in reports.items() if report},
        step=int(result.get("step") or 0),
        acted=_acted(reports, f"{key}:seen"),
    )


@cache
def _component() -> ComponentRenderer:
    script = "\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    css = (HERE / "viewer.css").read_text(encoding="utf-8")
    return st.components.v2.component("qviz_viewer", html='<div class="qviz-viewer"></div>', css=css, js=script)


def _value(name: str, report: dict[str, Any], rev: str) -> Any:
    value = report["value"]
    if name == "selected":
        return (value or "") if report["rev"] == rev else None
    return tuple(value) if isinstance(value, list) else value


def _acted(reports: dict[str, Any], memory: str) -> frozenset[str]:
    stamps = {name: report["at"] for name, report in reports.items() if report}
    before = st.session_state.get(memory, {})
    st.session_state[memory] = stamps
    return frozenset(name for name, stamp in stamps.items() if before.get(name) != stamp)


def _ignore_change() -> None:
    """Streamlit puts a state into the result only if it has a callback."""
