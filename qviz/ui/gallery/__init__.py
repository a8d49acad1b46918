"""A gallery of images with what a model detects in them; a click reports the image clicked."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

HERE = Path(__file__).parent


def gallery(images: list[dict[str, Any]], colour: str, rev: str, *, key: str) -> str | None:
    """Show the images and return the name of the one that was just clicked, or None.

    Args:
        images: {name, src (data URI, "" while it is under way), width, height, boxes [[x1, y1, x2, y2, change]...],
            text (what changed), badge (its first words), level (ok | some | bad | none)}. Boxes are pixels of
            width x height; those that are lost are drawn as outlines.
        colour: Of the boxes that are kept.
        rev: Changes with everything that is drawn.
    """
    data = {"images": images, "colour": colour, "rev": rev}
    picked = _component()(key=key, data=data, on_picked_change=lambda: None).get("picked")
    return str(picked) if picked is not None else None


@cache
def _component() -> ComponentRenderer:
    css, script = ((HERE / name).read_text(encoding="utf-8") for name in ("gallery.css", "gallery.js"))
    return st.components.v2.component("qviz_gallery", html='<div class="qviz-gallery"></div>', css=css, js=script)
