"""What the user looks at: threshold, image, variants, filters. In session_state, and in the URL.

The URL wins where it speaks (a link opens the same view); what it leaves out comes from the session, so that a page
switch keeps it. A value that means nothing is dropped, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from qviz.api import SEEN_FROM
from qviz.detector import PAGE_SCORE
from qviz.features.comparison.matching import Change

KEY = "qviz_view"
SELECTED = "qviz_selected"
CHANGES = tuple(str(change) for change in Change)


@dataclass(frozen=True, slots=True)
class View:
    """variants: short names, the one in focus first, () is the worst one. changes: those shown. classes: () is all.

    layer: `variant:order` of the layer in view; data, label: the dataset and the class in view on Accuracy. "" is the
    usual one.
    """

    score: float = PAGE_SCORE
    image: str | None = None
    variants: tuple[str, ...] = ()
    changes: tuple[str, ...] = CHANGES
    classes: tuple[int, ...] = ()
    mode: str = "side"
    truth: bool = False
    present: bool = False
    layer: str = ""
    data: str = ""
    label: str = ""


def current() -> View:
    """This session's view, with what the URL says. Presenting is the URL's alone: it ends with the page."""
    kept: View = st.session_state.get(KEY, View())
    view = replace(kept, **{"present": False, **_read(st.query_params.to_dict())})
    st.session_state[KEY] = view
    return view


def change(**said: Any) -> View:
    """Another view, kept and written into the URL."""
    view: View = replace(st.session_state.get(KEY, View()), **said)
    st.session_state[KEY] = view
    show(view)
    return view


def select(name: str | None) -> None:
    """The object selected in viewer or table, named `variant id:reference index:variant index`."""
    st.session_state[SELECTED] = name


def selected() -> str | None:
    """The object selected, if any."""
    name: str | None = st.session_state.get(SELECTED)
    return name


def show(view: View) -> None:
    """The view in the URL; what is as usual is left out."""
    said = to_query(view)
    if st.query_params.to_dict() != said:
        st.query_params.from_dict(said)


def to_query(view: View) -> dict[str, str]:
    """Only what differs from the usual view."""
    usual = View()
    said = {
        "score": f"{view.score:.2f}" if view.score != usual.score else "",
        "image": view.image or "",
        "variant": ",".join(view.variants),
        "change": ",".join(view.changes) if view.changes != usual.changes else "",
        "class": ",".join(str(class_id) for class_id in view.classes),
        "mode": view.mode if view.mode != usual.mode else "",
        "truth": "1" if view.truth else "",
        "present": "1" if view.present else "",
        "layer": view.layer,
        "data": view.data,
        "label": view.label,
    }
    return {name: value for name, value in said.items() if value}


def _read(query: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if (score := _number(query.get("score"))) is not None and SEEN_FROM <= score <= 0.95:
        said["score"] = round(score, 2)
    if image := query.get("image"):
        said["image"] = image[:300]
    if variants := _words(query.get("variant")):
        said["variants"] = variants
    if changes := tuple(word for word in _words(query.get("change")) if word in CHANGES):
        said["changes"] = changes
    if classes := tuple(int(word) for word in _words(query.get("class")) if word.isdigit()):
        said["classes"] = classes
    if query.get("mode") in ("side", "swipe"):
        said["mode"] = query["mode"]
    for name in ("layer", "data", "label"):
        if text := query.get(name):
            said[name] = text[:300]
    for name in ("truth", "present"):
        if query.get(name) in ("0", "1"):
            said[name] = query[name] == "1"
    return said


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word for word in (text or "")[:500].split(",") if word)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
