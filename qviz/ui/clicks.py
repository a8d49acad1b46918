"""A button whose click is heeded, whatever overtakes the run that it starts.

Streamlit tells a script of a click once: the value of st.button is gone where that run is left for a newer one before
it comes to the button, and so is a callback that is cut short where it touches the session state. A button without a
key is another one as soon as its label or help changes, and a press on the old one is void. Here a click is noted
before anything else and stays until what it asks for is done, in whichever run comes to the button; who has gone to
another page meanwhile and comes back later has forgotten it.

Waiting for a job inside a page's script, without keeping the visitor waiting who clicks meanwhile.

A session runs one script at a time (`runner.fastReruns`): a click is heeded when the script touches Streamlit next.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

FRESH = 10.0
"""Seconds for which a click waits for a run that comes to its button."""


def button(
    where: Any,
    label: str,
    act: Callable[[], object],
    key: str,
    then: Callable[[], object] | None = None,
    disabled: bool = False,
    **options: Any,
) -> None:
    """Draw it in `where` (a column, or st itself); act on a click, then leave the script by `then` if given.

    act: may be called again where it is overtaken itself, so it begins nothing twice. options: st.button's own.
    """
    noted: list[float] = st.session_state.setdefault(f"{key}-clicked", [])
    where.button(label, key=key, disabled=disabled, on_click=_note, args=(noted,), **options)
    if not noted:
        return
    try:
        if not disabled and time.monotonic() - noted[-1] < FRESH:
            act()
    except Exception:  # not Streamlit's word that another run is waiting
        noted.clear()
        raise
    noted.clear()
    if then is not None:
        then()


def _note(noted: list[float]) -> None:
    """Touches no session state: there a callback is cut short where another run waits."""
    noted.append(time.monotonic())


def keep(key: str, value: object) -> Callable[[], None]:
    """What puts the value into the session state."""
    return partial(st.session_state.__setitem__, key, value)


T = TypeVar("T")
TURN = 0.05
"""Seconds between two looks for a click."""


def outcome(job: Future[T], seconds: float) -> T:
    """The job's result within that time. Raises TimeoutError, or what the job raised."""
    end = time.monotonic() + seconds
    while not wait([job], timeout=max(0.0, min(TURN, end - time.monotonic()))).done:
        if time.monotonic() >= end:
            raise TimeoutError
        if get_script_run_ctx(suppress_warning=True) is not None:
            st.session_state.get("qviz_waiting")  # here the script is left if something was clicked
    return job.result()
