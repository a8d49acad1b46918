"""Part of the Overview page: the worst images of a variant with its detections; a click opens one on Compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from qviz.features.comparison import ComparedImage, ComparedVariant
from qviz.features.comparison.matching import worst_first
from qviz.features.comparison.text import badge, by_severity, changed_counts, damage_level
from qviz.formatting import as_text
from qviz.structures import EncodedImage, digest_of
from qviz.ui import page, server, view
from qviz.ui.gallery import gallery
from qviz.ui.page import Page
from qviz.ui.results import Preview, redraw_while_pending

MAX_WORST = 8
THUMBNAIL = 480
"""Length of a picture's longer side in pixels: as many as a 4K projector shows."""
COMPARE = "pages/compare.py"


def show(here: Page, compared: Callable[[], Mapping[str, ComparedVariant]], is_running: Callable[[], bool]) -> None:
    """Show the images with the most lost objects in a variant; redrawn until all are run and all pictures are ready.

    Args:
        compared: Returns short name of a variant -> its comparison on the images that have been run.
        is_running: Returns whether more images will be run.
    """

    def is_pending() -> bool:
        results = server.results()
        return is_running() or any(results.preview(image, THUMBNAIL) is None for _, image in _shown(here, compared()))

    redraw_while_pending("overview-worst", is_pending, lambda: _draw(here, compared()))


def _worst_variant(compared: Mapping[str, ComparedVariant]) -> str:
    return min(compared, key=lambda name: worst_first(compared[name].summary.agreement))


def _chosen(compared: Mapping[str, ComparedVariant]) -> str:
    """Name of the variant to show: the one that the user chose, else the one with the lowest agreement."""
    name: str | None = st.session_state.get(f"worst-of-{_worst_variant(compared)}")
    return name if name is not None and name in compared else _worst_variant(compared)


def _shown(here: Page, compared: Mapping[str, ComparedVariant]) -> list[tuple[ComparedImage, EncodedImage]]:
    """The worst images of the shown variant, those that are still loaded."""
    images = {image.digest: image for image in here.workspace.images}
    rows = [row for row in compared[_chosen(compared)].images if row.summary.damage] if compared else []
    rows.sort(key=lambda row: by_severity(row.summary), reverse=True)
    return [(row, images[row.digest]) for row in rows[:MAX_WORST] if row.digest in images]


def _draw(here: Page, compared: Mapping[str, ComparedVariant]) -> None:
    if not any(variant.images for variant in compared.values()):
        return
    left, right = st.columns([1, 3], vertical_alignment="center")
    left.subheader("Worst images first")
    worst = _worst_variant(compared)
    right.pills(
        "Variant",
        list(compared),
        default=worst,
        format_func=as_text,
        key=f"worst-of-{worst}",
        wrap=True,
        label_visibility="collapsed",
    )
    name, shown = _chosen(compared), _shown(here, compared)
    if not shown:
        st.caption(f"No image is damaged: {as_text(name)} has every object of the reference, and no others.")
        return
    server.results().want_previews([image for _, image in shown], THUMBNAIL, urgent=True)
    st.caption(f"What {as_text(name)} detects; dashed outlines: lost objects. A click opens an image on Compare.")
    _gallery(here, name, shown)


def _gallery(here: Page, name: str, shown: list[tuple[ComparedImage, EncodedImage]]) -> None:
    models = here.loaded
    variant = models.variant_named(name)
    items = [_item(row, image) for row, image in shown]
    rev = digest_of(repr((name, [(item | {"src": bool(item["src"])}) for item in items])).encode())[:16]
    colour = models.colours[variant.digest] if variant is not None else "#5f6b76"
    gallery(
        items,
        colour,
        rev,
        lambda image: page.go("Compare", COMPARE, view.link_query("Compare", image=image, variants=(name,))),
        key=f"worst-{name}",
    )


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
