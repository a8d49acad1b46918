"""The viewer: detections of the reference and its variants over one image, in the browser.

Threshold, filters, zoom and swipe work in the browser; Python is informed when the user releases the control. Boxes are
xyxy in pixels of the original image, scores and IoU are in [0, 1], class ids start at 0. A selected object is named
``variant id:reference index:variant index``, with -1 in place of an index if there is no box.

Every report from the browser has the ``rev`` of the data it refers to and a stamp that increases with each report. The
``rev`` shows whether a selection belongs to an image that is no longer shown; the stamp tells a new click from a value
that Streamlit repeats (see ``acted``).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent
# These files are joined in this order into one ES module; the last one contains the `export default`.
MODULES = ("dom", "rows", "panes", "tags", "zoom", "swipe", "tooltip", "controls", "toolbar", "png", "present", "keys")
SCRIPTS = tuple(f"{name}.js" for name in (*MODULES, "viewer"))
FIELDS = ("threshold", "selected", "mode", "changes", "classes", "truth", "focus", "present")


@dataclass(frozen=True, slots=True)
class ViewerState:
    """What the user changed in the viewer; None if unchanged (or, for `selected`, if changed on another `rev`)."""

    threshold: float | None = None
    selected: str | None = None  # "" if the user deselected the object
    mode: str | None = None  # side | swipe
    changes: tuple[str, ...] | None = None
    classes: tuple[int, ...] | None = None  # () for all classes
    truth: bool | None = None
    step: int = 0  # -1 or +1 in the one run right after the user pressed the key or button
    focus: str | None = None  # variant picked in swipe mode
    present: bool | None = None  # whether only the images are shown, for a projector
    acted: frozenset[str] = frozenset()  # fields the user changed since the last run


def viewer(data: dict[str, Any], *, key: str) -> ViewerState:
    """Mount the viewer and return what the user changed. The format of `data` is documented in viewer.js."""
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
    """Do nothing. Streamlit includes a state in the result only if the state has a callback."""
