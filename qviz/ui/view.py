"""The current view: threshold, image, selection, tabs and filters; in session_state and in the address of the page.

An address contains only the parameters of its own page, and only values that differ from the default. It takes
precedence over the session, so that a link or the browser's Back opens the same view. A run that the browser requested
before it knew the newest address comes with an older address, which is ignored. When the user switches pages, values
that are not in the new address come from the session. Invalid values are ignored and reported in a sentence.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from qviz.detector import PAGE_SCORE
from qviz.features.comparison.matching import Change
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.ui import projects

KEY, PAGE, REMARKS = "qviz_view", "qviz_page", "qviz_address_remarks"
OLDER, OLDER_SECONDS = "qviz_address_older", 30.0
"""Session key of the addresses that this page had before, each with the time of its replacement. For OLDER_SECONDS from
then on, a run that comes with such an address uses the view's address instead."""
CHANGES = tuple(str(change) for change in Change)
MAX_SCORE = 0.95
MAX_LENGTH = 300
"""Maximum number of characters of one value in the address."""
MAX_WORDS = 500
"""Maximum number of characters of a list in the address."""
MAX_CLASS = 100_000
_OBJECT = re.compile(r"v[0-9]{1,3}:-?[0-9]{1,5}:-?[0-9]{1,5}")
_LIGHT = re.compile(r"[a-z_]{1,40}:-?[0-9]{1,5}(\.[0-9]{1,4})?")


@dataclass(frozen=True, slots=True)
class View:
    """One view. Values that equal the defaults are left out of the address.

    Attributes:
        score: Confidence threshold.
        image: Name of the image, or None for the first one.
        variants: Short names of the variants, the one in focus first; empty for the worst variant.
        changes: The kinds of change that are drawn.
        classes: The classes that are drawn; empty for all classes.
        mode: `side` or `swipe`.
        truth: Whether ground truth is drawn.
        present: Whether only the images are shown, for a projector.
        layer: The layer in view as `variant:operator index`.
        data, label: Dataset and class in view on Accuracy; empty for the default.
        object: The selected object as `variant id:reference index:variant index`, or empty.
        trace: Whether the trace of the selected object is shown.
        light: The slider in use on Robustness and its value, as `slider:amount`, or empty.
        sweep: The sweep in view on Robustness, in the format of its panel, or empty.
        tabs: Page title -> name of the open tab, for pages on which it is not the first.
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
    """The view of this session, updated with the values of the address. `present` is true only if the address says so.

    page: title of the page that has just started to draw; None during the rest of the run.
    """
    before: str = st.session_state.get(PAGE, "")
    page = before if page is None else page
    view: View = replace(st.session_state.get(KEY, View()), present=False)
    if before == page:  # values missing in the address take their default, also after the browser's Back
        view = replace(view, **_defaults(page, view))
    else:
        st.session_state[PAGE] = page
        st.session_state[REMARKS] = ()
        st.session_state[OLDER] = {}
    ignore_older_address(page)
    values, sentences = from_query(st.query_params.to_dict(), page)
    if sentences:
        st.session_state[REMARKS] = sentences
    if tab := values.pop("tab", ""):
        values["tabs"] = {**view.tabs, page: tab}
    view = replace(view, **values)
    st.session_state[KEY] = view
    if before != page:
        show(view)  # now, because a rerun before this would find an address without values and reset them
    return view


def change(**values: Any) -> View:
    """Change fields of the view, in the session and in the address, and return the new view.

    If the image or the variant in focus changes, the object is deselected.
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
    """Select the object `variant id:reference index:variant index` in viewer and table, without showing its trace."""
    if (name or "") != (selected() or ""):
        change(object=name or "", trace=False)


def selected() -> str | None:
    """The selected object, or None."""
    view: View = st.session_state.get(KEY, View())
    return view.object or None


def show(view: View) -> None:
    """Write the view into the address."""
    query = to_query(view, st.session_state.get(PAGE, "")) | projects.parameter()
    before = st.query_params.to_dict()
    if before != query:
        older: dict[str, float] = st.session_state.get(OLDER, {})
        now = time.monotonic()
        recent = {text: then for text, then in older.items() if now - then < OLDER_SECONDS and text != _text_of(query)}
        st.session_state[OLDER] = recent | {_text_of(before): now}
        st.query_params.from_dict(query)


def ignore_older_address(page: str) -> None:
    """If this run comes with an address that the view has just replaced, use the view's address instead."""
    replaced = st.session_state.get(OLDER, {}).get(_text_of(st.query_params.to_dict()))
    context = get_script_run_ctx(suppress_warning=True)
    if replaced is None or page != st.session_state.get(PAGE) or (context and context.is_history_navigation):
        return
    if time.monotonic() - replaced < OLDER_SECONDS:
        st.query_params.from_dict(to_query(st.session_state.get(KEY, View()), page) | projects.parameter())


def _text_of(query: Mapping[str, str]) -> str:
    return repr(sorted(query.items()))


def remarks() -> tuple[str, ...]:
    """Sentences about invalid values in the address; they are kept until the view changes."""
    sentences: tuple[str, ...] = st.session_state.get(REMARKS, ())
    return sentences


def link_query(page: str, **values: Any) -> dict[str, str]:
    """Query parameters of a link to the page with this title, showing the current view with these fields changed.

    The link contains all parameters, so that the page does not have to add any to its address. Otherwise the user would
    have to press the browser's Back twice.
    """
    return to_query(replace(_changed(values), present=False), page) | projects.parameter()


# ---- query parameters of the address --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter of the address.

    Attributes:
        pages: Titles of the pages that use it.
        read: Converts the text to a value; None if the text is not valid.
        write: Converts a value to text.
        expected: Which values are valid, in words.
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
    """Query parameters of a page's address: only the values that differ from the default view."""
    default = View()
    query = {}
    for row in _of(page):
        value = view.tabs.get(page, "") if row.field == "tab" else getattr(view, row.field)
        if row.field == "tab" or value != getattr(default, row.field):
            query[row.name] = row.write(value)
    return {name: value for name, value in query.items() if value}


def from_query(query: Mapping[str, str], page: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """(valid values of the fields in a page's address, sentences about the invalid ones)."""
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
    """The default value of each field that the address of a page can contain."""
    default = View()
    fields = {row.field: getattr(default, row.field) for row in _of(page) if row.field != "tab"}
    return fields | {"tabs": {title: tab for title, tab in view.tabs.items() if title != page}}
