"""Waiting for a job inside a page's script, without keeping the visitor waiting who clicks meanwhile.

A session runs one script at a time (`runner.fastReruns`): a click is heeded when the script touches Streamlit next.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, wait
from typing import TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

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
