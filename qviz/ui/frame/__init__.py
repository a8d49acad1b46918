"""An HTML page shown in a frame with an origin of its own, so that nothing in it can reach the dashboard."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent


def frame(html: str, rev: str, height: int, *, key: str) -> None:
    """Show a page.

    Args:
        html: The whole page.
        rev: Changes with the page; the frame is filled again only then.
        height: In pixels.
    """
    _component()(key=key, data={"html": html, "rev": rev, "height": height})


@cache
def _component() -> ComponentRenderer:
    script = (HERE / "frame.js").read_text(encoding="utf-8")
    return st.components.v2.component("qviz_frame", html='<div class="qviz-frame"></div>', js=script)
