"""The Overview page: the worst images of one variant, with what it detects in them; a click opens one on Compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from qviz.features.comparison import ComparedImage, ComparedVariant
from qviz.features.comparison.text import badge, by_severity, changed_counts, damage_level
from qviz.formatting import as_text
from qviz.structures import EncodedImage, digest_of
from qviz.ui import server, view
from qviz.ui.gallery import gallery
from qviz.ui.page import Page
from qviz.ui.results import Preview

MAX_WORST = 8
THUMBNAIL = 480
"""Pixels of a picture's longer side: as many as a 4K projector shows of it."""
COMPARE = "pages/compare.py"


def show(here: Page, compared: Mapping[str, ComparedVariant], worst: str) -> None:
    """The images with the most lost objects in one variant, by default the one with the lowest agreement."""
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.subheader("Worst images first")
    chosen = right.pills(
        "Variant",
        list(compared),
        default=worst,
        format_func=as_text,
        key=f"worst-of-{worst}",
        wrap=True,
        label_visibility="collapsed",
    )
    name = chosen if chosen and chosen in compared else worst
    rows = sorted(
        (image for image in compared[name].images if image.summary.damage),
        key=lambda image: by_severity(image.summary),
        reverse=True,
    )[:MAX_WORST]
    if not rows:
        st.caption(f"No image is damaged: {as_text(name)} has every object of the reference, and no others.")
        return
    images = {image.digest: image for image in here.workspace.images}
    shown = [(row, images[row.digest]) for row in rows if row.digest in images]
    server.results().want_previews([image for _, image in shown], THUMBNAIL, urgent=True)
    st.caption(f"What {as_text(name)} detects; dashed outlines: lost objects. A click opens an image on Compare.")
    _gallery(here, name, shown)


def _gallery(here: Page, name: str, shown: list[tuple[ComparedImage, EncodedImage]]) -> None:
    models = here.loaded
    variant = models.variant_named(name)
    items = [_item(row, image) for row, image in shown]
    rev = digest_of(repr((name, [(item | {"src": bool(item["src"])}) for item in items])).encode())[:16]
    colour = models.colours[variant.digest] if variant is not None else "#5f6b76"
    picked = gallery(items, colour, rev, key=f"worst-{name}")
    if picked is not None:
        view.select(None)
        st.switch_page(COMPARE, query_params={"image": picked, "variant": name})


def _item(row: ComparedImage, image: EncodedImage) -> dict[str, Any]:
    preview = server.results().preview(image, THUMBNAIL)
    picture = preview if isinstance(preview, Preview) else None
    boxes = [(box, change.change) for change in row.objects if (box := change.variant_box or change.reference_box)]
    right = max((box[2] for box, _ in boxes), default=1.0)
    bottom = max((box[3] for box, _ in boxes), default=1.0)
    return {
        "name": image.name,
        "src": picture.source if picture is not None else "",
        "width": picture.width if picture is not None else right,
        "height": picture.height if picture is not None else bottom,
        "boxes": [[*(round(float(side), 1) for side in box[:4]), change] for box, change in boxes],
        "badge": badge(row.summary),
        "level": damage_level(row.summary),
        "text": " · ".join(changed_counts(row.summary)),
    }
