"""An HTML page in a frame with its own origin, so that its scripts cannot reach the dashboard."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent


def frame(html: str, rev: str, height: int, *, key: str) -> None:
    """Show an HTML page in the frame.

    Args:
        html: The complete HTML page.
        rev: Revision of the page; the frame is reloaded only if this differs from the last run.
        height: Height of the frame in pixels.
    """
    _component()(key=key, data={"html": html, "rev": rev, "height": height})


@cache
def _component() -> ComponentRenderer:
    script = (HERE / "frame.js").read_text(encoding="utf-8")
    return st.components.v2.component("qviz_frame", html='<div class="qviz-frame"></div>', js=script)
