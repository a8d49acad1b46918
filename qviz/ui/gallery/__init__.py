"""A gallery of images with a model's detections; a click picks an image."""

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
        images: {name, src (data URI, "" while it is being made), width, height, boxes [[x1, y1, x2, y2, change]...],
            text (what changed), badge (its first words), level (ok | some | bad | none)}. Boxes are in pixels of an
            image of size width x height; lost ones are drawn as outlines.
        colour: Colour of the boxes that are kept.
        rev: Revision of the data; it must differ whenever anything that is drawn differs.
    """
    data = {"images": images, "colour": colour, "rev": rev}
    clicked = f"{key}-clicked"

    def record() -> None:
        """Keep the click until a run has drawn the gallery: the run that it caused may be replaced before that."""
        st.session_state[clicked] = st.session_state[key].get("picked") or st.session_state.get(clicked)

    picked = _component()(key=key, data=data, on_picked_change=record).get("picked")
    picked = st.session_state.pop(clicked, None) or picked
    return str(picked) if picked is not None else None


@cache
def _component() -> ComponentRenderer:
    css, script = ((HERE / name).read_text(encoding="utf-8") for name in ("gallery.css", "gallery.js"))
    return st.components.v2.component("qviz_gallery", html='<div class="qviz-gallery"></div>', css=css, js=script)
