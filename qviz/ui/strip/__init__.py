"""A strip of thumbnails that shows how much changed in each image and marks the current one; a click picks an image."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent


def strip(images: list[dict[str, Any]], current: str | None, *, key: str) -> str | None:
    """Show the strip and return the name of the image that was just clicked, or None.

    Each image is {name, src (data URI, "" while it is being made), badge (short text or ""),
    level (ok | some | bad | none)}.
    """
    rev = str(hash(tuple((image["name"], image["src"], image["badge"]) for image in images)))
    result = _component()(
        key=key, data={"images": images, "current": current, "rev": rev}, on_picked_change=lambda: None
    )
    picked = result.get("picked")
    return str(picked) if picked is not None else None


@cache
def _component() -> ComponentRenderer:
    css, script = ((HERE / name).read_text(encoding="utf-8") for name in ("strip.css", "strip.js"))
    return st.components.v2.component("qviz_strip", html='<div class="qviz-strip"></div>', css=css, js=script)
