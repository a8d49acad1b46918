"""The strip of images on Compare: ordered by damage, filled as the answers come."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import streamlit as st

from qviz.errors import QvizError
from qviz.features.comparison import ComparedVariant
from qviz.features.comparison import panel_overview as cards
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from qviz.ui import server, view
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.strip import strip

THUMB = 160
"""Pixels of a thumbnail's longest side."""
STRIP = 200
"""Images in the strip."""
BEAT = 0.7
FILLING = "qviz_strip_filling"


def ordered(images: Sequence[EncodedImage], compared: ComparedVariant | None) -> list[EncodedImage]:
    """The most damaged first; those not run yet at the end, in the order of loading."""
    damage = {image.digest: image.summary.damage for image in compared.images} if compared else {}
    return sorted(images, key=lambda image: -damage.get(image.digest, -1))


def image_strip(
    here: Page, images: Sequence[EncodedImage], current: EncodedImage, variants: Sequence[LoadedModel]
) -> None:
    """Small pictures in the order of damage, filled as they come; a click brings one into view."""
    assert here.models is not None, "pages without a model stop before"
    found, shown = here.models, images[:STRIP]

    def pending() -> bool:
        late = any(server.results().preview(image, THUMB) is None for image in shown)
        return late or server.results().pending([found.reference, *variants[:1]], shown) > 0

    @st.fragment(run_every=BEAT if pending() else None)
    def pictures() -> None:
        if st.session_state.get(FILLING) and not pending():
            st.session_state[FILLING] = False
            st.rerun()  # all answers are there: draw the page once more, in the order of damage
        st.session_state[FILLING] = pending()
        compared = server.compared(found, variants[0], shown, here.view.score) if variants else None
        picked = strip(_strip_rows(shown, compared), current.name, key="strip")
        if picked is not None and picked != current.name:
            view.select(None)
            view.change(image=picked)
            st.rerun()

    pictures()


def _strip_rows(images: Sequence[EncodedImage], compared: ComparedVariant | None) -> list[dict[str, Any]]:
    summaries = {image.digest: image.summary for image in compared.images} if compared else {}
    rows = []
    for image in images:
        picture = server.results().preview(image, THUMB)
        src = (
            "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode() if isinstance(picture, Preview) else ""
        )
        summary = summaries.get(image.digest)
        text, level = (cards.badge(summary), cards.damage_level(summary)) if summary else ("…", "none")
        if isinstance(picture, QvizError):
            text, level = "cannot be read", "bad"
        rows.append({"name": image.name, "src": src, "badge": text, "level": level})
    return rows
