"""The current view: threshold, image, selection, tabs and filters; in session_state and in the address of the page.

The address has the parameters of its own page alone, and only those that differ from the default. It takes precedence
over the session, so a link and the browser's Back open the same view. On a switch of the page, what the new address
does not name comes from the session. Invalid values are named in a sentence and ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st

from qviz.detector import PAGE_SCORE
from qviz.features.comparison.matching import Change
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import projects

KEY, PAGE, REMARKS = "qviz_view", "qviz_page", "qviz_address_remarks"
CHANGES = tuple(str(change) for change in Change)
MAX_SCORE = 0.95
MAX_LENGTH = 300
"""Characters of one value in the address."""
MAX_WORDS = 500
"""Characters of a list in the address."""
MAX_CLASS = 100_000
_OBJECT = re.compile(r"v[0-9]{1,3}:-?[0-9]{1,5}:-?[0-9]{1,5}")
_LIGHT = re.compile(r"[a-z_]{1,40}:-?[0-9]{1,5}(\.[0-9]{1,4})?")


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
        object: The selected object, `variant id:reference index:variant index`, or empty.
        trace: Whether the trace of the selected object is shown.
        light: `slider:amount` on Robustness, or empty.
        sweep: The sweep in view on Robustness, as its panel writes it, or empty.
        tabs: Page -> the tab in view, where it is not the first.
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
    object: str = ""
    trace: bool = False
    light: str = ""
    sweep: str = ""
    tabs: Mapping[str, str] = field(default_factory=dict)


def current(page: str | None = None) -> View:
    """The view of this session, with the values of the address. `present` ends with the page.

    page: title of the page that is drawn, where it has just begun.
    """
    before: str = st.session_state.get(PAGE, "")
    page = before if page is None else page
    view: View = replace(st.session_state.get(KEY, View()), present=False)
    if before == page:  # what the address leaves out has its default, also after the browser's Back
        view = replace(view, **_defaults(page, view))
    else:
        st.session_state[PAGE] = page
        st.session_state[REMARKS] = ()
    values, sentences = from_query(st.query_params.to_dict(), page)
    if sentences:
        st.session_state[REMARKS] = sentences
    if tab := values.pop("tab", ""):
        values["tabs"] = {**view.tabs, page: tab}
    view = replace(view, **values)
    st.session_state[KEY] = view
    if before != page:
        show(view)  # before the script may begin again, which would find an address that leaves everything out
    return view


def change(**values: Any) -> View:
    """Change fields of the view, in the session and in the address, and return the new view.

    Another image, or other variants, end the selection of an object.
    """
    view = _changed(values)
    st.session_state[KEY] = view
    st.session_state[REMARKS] = ()
    show(view)
    return view


def _changed(values: Mapping[str, Any]) -> View:
    before: View = st.session_state.get(KEY, View())
    view = replace(before, **values)
    if (view.image, view.variants[:1]) == (before.image, before.variants[:1]):
        return view
    return replace(view, object=values.get("object", ""), trace=values.get("trace", False))


def select(name: str | None) -> None:
    """Select an object in viewer and table, by `variant id:reference index:variant index`; its trace is not shown."""
    if (name or "") != (selected() or ""):
        change(object=name or "", trace=False)


def selected() -> str | None:
    """The selected object, or None."""
    view: View = st.session_state.get(KEY, View())
    return view.object or None


def show(view: View) -> None:
    """Write the view into the address."""
    query = to_query(view, st.session_state.get(PAGE, "")) | projects.parameter()
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)


def remarks() -> tuple[str, ...]:
    """Sentences about values of the address that mean nothing, until the view changes."""
    sentences: tuple[str, ...] = st.session_state.get(REMARKS, ())
    return sentences


def link_query(page: str, **values: Any) -> dict[str, str]:
    """Parameters of a link to the page of that title, with these fields changed.

    A link with all parameters leaves the page nothing to add to its address, so Back takes one press.
    """
    return to_query(replace(_changed(values), present=False), page) | projects.parameter()


# ---- parameters of the address --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of the address.

    Attributes:
        pages: Titles of the pages that have it.
        read: Text -> value; None if the text is not valid.
        write: Value -> text.
        expected: What it should be, in words.
    """

    name: str
    field: str
    pages: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    expected: str = ""


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return round(score, 2) if CANDIDATE_FLOOR <= score <= MAX_SCORE else None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text[:MAX_WORDS].split(",") if word)


def _changes(text: str) -> tuple[str, ...] | None:
    words = _words(text)
    return words if words and set(words) <= set(CHANGES) else None


def _classes(text: str) -> tuple[int, ...] | None:
    words = _words(text)
    if not words or not all(re.fullmatch("[0-9]{1,6}", word) for word in words):
        return None
    return tuple(map(int, words))


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str | None]:
    return lambda text: text if pattern.fullmatch(text) else None


def _text(text: str) -> str:
    return text[:MAX_LENGTH]


def _switch(text: str) -> bool | None:
    return {"0": False, "1": True}.get(text)


def _flag(value: bool) -> str:
    return "1" if value else ""


def _joined(values: tuple[object, ...]) -> str:
    return ",".join(map(str, values))


def _mode(text: str) -> str | None:
    return text if text in ("side", "swipe") else None


_ON_OFF = "1 or 0"
PARAMETERS = (
    Parameter(
        "score",
        "score",
        "Overview Diagnosis Compare Layers Robustness Backends Variants Report",
        _score,
        "{:.2f}".format,
        f"a confidence from {CANDIDATE_FLOOR:g} to {MAX_SCORE:g}",
    ),
    Parameter("image", "image", "Compare Layers Robustness", _text, lambda name: name or ""),
    Parameter("variant", "variants", "Diagnosis Compare Layers Accuracy Robustness Video", _words, _joined),
    Parameter("change", "changes", "Compare", _changes, _joined, f"names of changes ({', '.join(CHANGES)})"),
    Parameter("class", "classes", "Compare", _classes, _joined, "numbers of classes"),
    Parameter("mode", "mode", "Compare", _mode, str, "side or swipe"),
    Parameter("truth", "truth", "Compare", _switch, _flag, _ON_OFF),
    Parameter("present", "present", "Compare", _switch, _flag, _ON_OFF),
    Parameter("object", "object", "Compare", _matching(_OBJECT), str, "an object such as v0:3:4"),
    Parameter("trace", "trace", "Compare", _switch, _flag, _ON_OFF),
    Parameter("layer", "layer", "Layers", _text),
    Parameter("data", "data", "Accuracy", _text),
    Parameter("label", "label", "Accuracy", _text),
    Parameter("light", "light", "Robustness", _matching(_LIGHT), str, "a slider and its amount, such as exposure:-2"),
    Parameter("sweep", "sweep", "Robustness", lambda text: text[: 2 * MAX_WORDS]),
    Parameter("tab", "tab", "Layers Accuracy Robustness Variants", _text),
)


def to_query(view: View, page: str) -> dict[str, str]:
    """Parameters of the address of that page: only what differs from the default view."""
    default = View()
    query = {}
    for row in _of(page):
        value = view.tabs.get(page, "") if row.field == "tab" else getattr(view, row.field)
        if row.field == "tab" or value != getattr(default, row.field):
            query[row.name] = row.write(value)
    return {name: value for name, value in query.items() if value}


def from_query(query: Mapping[str, str], page: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(fields that the address of that page names with a sensible value, sentences about other values)."""
    values: dict[str, Any] = {}
    sentences: list[str] = []
    for row in _of(page):
        if text := query.get(row.name, ""):
            value = row.read(text)
            if value is None:
                sentences.append(f"The address has {row.name}={text[:40]}, which is not {row.expected}; it is ignored.")
            else:
                values[row.field] = value
    return values, tuple(sentences)


def _of(page: str) -> tuple[Parameter, ...]:
    return tuple(row for row in PARAMETERS if page in row.pages.split())


def _defaults(page: str, view: View) -> dict[str, Any]:
    """The default of each field that the address of that page may have."""
    default = View()
    fields = {row.field: getattr(default, row.field) for row in _of(page) if row.field != "tab"}
    return fields | {"tabs": {title: tab for title, tab in view.tabs.items() if title != page}}
