"""Clicks that survive overlapping Streamlit reruns, and a way to wait that a click can interrupt.

Streamlit reports a click only once. The click is lost if that run is abandoned for a newer one before it reaches the
button, or if the button's callback is cut short when it accesses the session state. A button without a key becomes a
different button when its label or help changes, so a click on the old one is lost too. Here, a click is recorded before
anything else and kept until some run has reached the button and completed its action (`button`). It is dropped after
half a minute, or on another page.

The callback of another widget, such as a chart whose bar was clicked, is cut short in the same way; `callback` prevents
the loss. Reports of our own components are not lost, because the components report states (`qviz/ui/component`).

A session runs one script at a time (`runner.fastReruns`), and a click interrupts it at its next call to Streamlit.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

P = ParamSpec("P")
CLICK_SECONDS = 30.0
"""A recorded click is valid for this long."""
WAITING = "qviz_callbacks"
"""Session key of the list of callbacks that were called and have not completed."""


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
        act: The action. It is called again if it was interrupted, so a repeated call must not start anything twice.
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
    except Exception:  # does not catch Streamlit's signal that another run is waiting
        clicks.clear()
        raise
    clicks.clear()
    if then is not None:
        then()


def _record(clicks: list[float]) -> None:
    """Record a click without the session state: accessing it ends the callback if another run is waiting."""
    clicks.append(time.monotonic())


def callback(act: Callable[[], object]) -> Callable[[], None]:
    """A callback for a widget, which calls `act`.

    Streamlit ends a callback at its first access to the session state if another run is waiting. `act` is then called
    again by that run (`finish_callbacks`), so a repeated call must not do anything twice.
    """
    waiting: list[Callable[[], object]] = st.session_state.setdefault(WAITING, [])

    def record() -> None:
        waiting.append(act)
        _complete(waiting)

    return record


def finish_callbacks(is_same_page: bool) -> None:
    """Call the callbacks that an interrupted run has not completed; every page does this first.

    is_same_page: whether the interrupted run was of the same page. If not, the callbacks are dropped.
    """
    waiting: list[Callable[[], object]] = st.session_state.setdefault(WAITING, [])
    if not is_same_page:
        waiting.clear()
    _complete(waiting)


def fragment(run_every: float | None = None) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """A decorator like `st.fragment`: Streamlit can run this part of a page alone, also every `run_every` seconds.

    If an interrupted run has left a callback, a run of the part alone calls it and then reruns the page. Otherwise the
    part would draw its widgets with their old values, and the user's choice would be lost.
    """

    def decorate(draw: Callable[P, None]) -> Callable[P, None]:
        @wraps(draw)
        def run(*args: P.args, **options: P.kwargs) -> None:
            if st.session_state.get(WAITING):  # never in a run of the page: it begins with `finish_callbacks`
                finish_callbacks(is_same_page=True)
                st.rerun()
            draw(*args, **options)

        return st.fragment(run, run_every=run_every)

    return decorate


def _complete(waiting: list[Callable[[], object]]) -> None:
    while waiting:
        try:
            waiting[0]()
        except Exception:  # does not catch Streamlit's signal that another run is waiting
            waiting.pop(0)
            raise
        waiting.pop(0)


def rerun_part() -> None:
    """Rerun the fragment if it is running alone, else the page."""
    context = get_script_run_ctx(suppress_warning=True)
    st.rerun(scope="fragment" if context is not None and context.fragment_ids_this_run else "app")


def keep(key: str, value: object) -> Callable[[], None]:
    """A callback that puts the value into the session state."""
    return partial(st.session_state.__setitem__, key, value)


T = TypeVar("T")
SECONDS_BETWEEN_CHECKS = 0.05
"""Seconds between two checks for a click while waiting."""


def wait_for_result(job: Future[T], seconds: float) -> T:
    """Wait for a job's result. A click interrupts the wait. Raises the job's error, or TimeoutError after `seconds`."""
    end = time.monotonic() + seconds
    while not wait([job], timeout=max(0.0, min(SECONDS_BETWEEN_CHECKS, end - time.monotonic()))).done:
        if time.monotonic() >= end:
            raise TimeoutError
        if get_script_run_ctx(suppress_warning=True) is not None:
            st.session_state.get("qviz_waiting")  # a click interrupts the script at this call
    return job.result()
