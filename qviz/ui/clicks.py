"""Buttons whose clicks survive overlapping Streamlit reruns, and waiting that a click can interrupt.

Streamlit reports a click once: the value of st.button is lost when that run is abandoned for a newer one before it
reaches the button, and so is a callback that is cut short where it touches the session state. A button without a key
becomes another button as soon as its label or help changes, and a press on the old one is lost. Here a click is noted
before anything else and stays until its action is done, in whichever run reaches the button; after ten seconds, or on
another page, it is dropped.

A session runs one script at a time (`runner.fastReruns`): a click interrupts the script when it next touches Streamlit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

CLICK_SECONDS = 10.0
"""A recorded click is valid for this long."""


def button(
    where: Any,
    label: str,
    act: Callable[[], object],
    key: str,
    then: Callable[[], object] | None = None,
    disabled: bool = False,
    **options: Any,
) -> None:
    """Draw a button in `where` (a column, or st itself) and act on a click.

    Args:
        act: The action; it may be called again when it is interrupted, so it must not start anything twice.
        then: Called after the action, e.g. st.rerun.
        options: Further arguments of st.button.
    """
    clicks: list[float] = st.session_state.setdefault(f"{key}-clicked", [])
    where.button(label, key=key, disabled=disabled, on_click=_record, args=(clicks,), **options)
    if not clicks:
        return
    try:
        if not disabled and time.monotonic() - clicks[-1] < CLICK_SECONDS:
            act()
    except Exception:  # not Streamlit's signal that another run is waiting
        clicks.clear()
        raise
    clicks.clear()
    if then is not None:
        then()


def _record(clicks: list[float]) -> None:
    """Touches no session state: there a callback is cut short where another run waits."""
    clicks.append(time.monotonic())


def keep(key: str, value: object) -> Callable[[], None]:
    """A callback that puts the value into the session state."""
    return partial(st.session_state.__setitem__, key, value)


T = TypeVar("T")
SECONDS_BETWEEN_CHECKS = 0.05
"""For a click, while waiting."""


def wait_for_result(job: Future[T], seconds: float) -> T:
    """The job's result. Raises TimeoutError after `seconds`, or the error of the job."""
    end = time.monotonic() + seconds
    while not wait([job], timeout=max(0.0, min(SECONDS_BETWEEN_CHECKS, end - time.monotonic()))).done:
        if time.monotonic() >= end:
            raise TimeoutError
        if get_script_run_ctx(suppress_warning=True) is not None:
            st.session_state.get("qviz_waiting")  # here the script is interrupted after a click
    return job.result()
