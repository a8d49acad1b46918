"""Parts of a page that our own scripts draw in the browser, and the reports of what the user did in them.

A component reports with `setStateValue(name, {value, at: stamp(), ...})`. Streamlit passes such a state to every run as
long as the component is on the page. A trigger would be passed to a single run, and a click would be lost if a newer
run replaced that run. The stamp `at` shows which reports the session has not acted on yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

STAMP = Path(__file__).with_name("stamp.js")


def mount(
    folder: Path, data: Mapping[str, Any], key: str, names: Iterable[str] = (), scripts: tuple[Path, ...] = ()
) -> None:
    """Draw the component of a folder, which contains `<folder>.js` and may contain `<folder>.css`.

    Args:
        data: Data for the script.
        names: Names of the reports that the component makes; see `reports`.
        scripts: Further scripts. They are joined in this order, followed by the script of the folder, into one ES
            module.
    """
    callbacks: dict[str, Any] = {f"on_{name}_change": _ignore_change for name in names}
    result = _component(folder, scripts)(key=key, data=data, **callbacks)
    memory = _memory(key)
    if memory not in st.session_state:  # what a browser repeats to a restarted server was not done in this session
        st.session_state[memory] = {name: report["at"] for name in names if (report := result.get(name))}


@dataclass(frozen=True, slots=True)
class Reports:
    """What the user did in one component since the session last acted on it.

    Attributes:
        new: Name -> report that the session has not acted on yet.
        last: Name -> latest report, new or not.
        stamps: Name -> stamp of the report that the session acted on last.
    """

    new: Mapping[str, Mapping[str, Any]]
    last: Mapping[str, Mapping[str, Any]]
    stamps: dict[str, int]

    def done(self) -> None:
        """Mark all new reports as acted on. Call this after acting: a newer run may interrupt the action."""
        self.stamps.update({name: report["at"] for name, report in self.new.items()})

    def act(self, name: str, act: Callable[[Any], object], then: Callable[[], object] | None = None) -> None:
        """Call `act` with the value of a new report, and `then` afterwards, e.g. st.rerun.

        If a newer run interrupts the action, that run acts again, so a repeated call must not do anything twice.
        """
        report = self.new.get(name)
        if report is None:
            return
        try:
            act(report["value"])
        except Exception:  # does not catch Streamlit's signal that another run is waiting
            self.done()
            raise
        self.done()
        if then is not None:
            then()


def reports(key: str, *names: str) -> Reports:
    """What the user did in the component with this key. May be called before the component is drawn."""
    stamps: dict[str, int] | None = st.session_state.get(_memory(key))
    if stamps is None:
        return Reports({}, {}, {})
    state = st.session_state.get(key) or {}
    last = {name: report for name in names if (report := state.get(name))}
    return Reports({name: report for name, report in last.items() if report["at"] != stamps.get(name)}, last, stamps)


def _memory(key: str) -> str:
    return f"{key}-seen"


@cache
def _component(folder: Path, scripts: tuple[Path, ...]) -> ComponentRenderer:
    name, style = folder.name, folder / f"{folder.name}.css"
    script = "\n".join(path.read_text(encoding="utf-8") for path in (STAMP, *scripts, folder / f"{name}.js"))
    css = style.read_text(encoding="utf-8") if style.is_file() else None
    html = f'<div class="qviz-{name.replace("_", "-")}"></div>'
    return st.components.v2.component(f"qviz_{name}", html=html, css=css, js=script)


def _ignore_change() -> None:
    """Do nothing. Streamlit includes a state in the result only if the state has a callback."""
