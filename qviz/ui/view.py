"""The current view: threshold, image, variants, filters; stored in session_state and in the address of the page.

Values in the address take precedence (a link opens the same view); others come from the session, so that they survive a
switch of the page. Invalid values are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from qviz.detector import PAGE_SCORE
from qviz.features.comparison.matching import Change
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import projects

KEY = "qviz_view"
SELECTED = "qviz_selected"
CHANGES = tuple(str(change) for change in Change)
MAX_SCORE = 0.95
MAX_LENGTH = 300
"""Characters of one value in the address."""


@dataclass(frozen=True, slots=True)
class View:
    """One view; the defaults are left out of the address.

    Attributes:
        score: Confidence threshold.
        image: Name of the image, or None for the first.
        variants: Short names, the one in focus first; empty for the worst one.
        changes: The changes that are drawn.
        classes: The classes that are drawn; empty for all.
        mode: `side` or `swipe`.
        truth: Whether ground truth is drawn.
        present: Whether only the images are shown, for a projector.
        layer: `variant:operator index` of the layer in view.
        data, label: Dataset and class in view on Accuracy; empty for the default.
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
    """The view of this session, with the values of the address. `present` is not kept: it ends with the page."""
    previous: View = st.session_state.get(KEY, View())
    view = replace(previous, **{"present": False, **_from_query(st.query_params.to_dict())})
    st.session_state[KEY] = view
    return view


def change(**values: Any) -> View:
    """Change fields of the view, in the session and in the address, and return the new view."""
    view: View = replace(st.session_state.get(KEY, View()), **values)
    st.session_state[KEY] = view
    show(view)
    return view


def select(name: str | None) -> None:
    """Select an object in viewer and table, by `variant id:reference index:variant index`."""
    st.session_state[SELECTED] = name


def selected() -> str | None:
    """The selected object, or None."""
    name: str | None = st.session_state.get(SELECTED)
    return name


def show(view: View) -> None:
    """Write the view into the address."""
    query = to_query(view) | projects.parameter()
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)


def to_query(view: View) -> dict[str, str]:
    """Parameters of the address: only what differs from the default view."""
    default = View()
    query = {
        "score": f"{view.score:.2f}" if view.score != default.score else "",
        "image": view.image or "",
        "variant": ",".join(view.variants),
        "change": ",".join(view.changes) if view.changes != default.changes else "",
        "class": ",".join(str(class_id) for class_id in view.classes),
        "mode": view.mode if view.mode != default.mode else "",
        "truth": "1" if view.truth else "",
        "present": "1" if view.present else "",
        "layer": view.layer,
        "data": view.data,
        "label": view.label,
    }
    return {name: value for name, value in query.items() if value}


def _from_query(query: Mapping[str, str]) -> dict[str, Any]:
    """Fields of the view that the address names with a sensible value."""
    changes = tuple(word for word in _words(query.get("change")) if word in CHANGES)
    classes = tuple(int(word) for word in _words(query.get("class")) if word.isdigit())
    values: dict[str, Any] = {
        "score": _score(query.get("score")),
        "image": query.get("image", "")[:MAX_LENGTH],
        "variants": _words(query.get("variant")),
        "changes": changes,
        "classes": classes,
        "mode": query.get("mode") if query.get("mode") in ("side", "swipe") else None,
        **{name: query.get(name, "")[:MAX_LENGTH] for name in ("layer", "data", "label")},
    }
    switches = {name: query[name] == "1" for name in ("truth", "present") if query.get(name) in ("0", "1")}
    return {name: value for name, value in values.items() if value} | switches


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word for word in (text or "")[:500].split(",") if word)


def _score(text: str | None) -> float | None:
    try:
        score = float(text or "")
    except ValueError:
        return None
    return round(score, 2) if CANDIDATE_FLOOR <= score <= MAX_SCORE else None
