"""Parts of the Compare page: the choice of variants, the strip of images, and the table of objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from qviz.errors import QvizError
from qviz.features.comparison import ComparedObject, ComparedVariant
from qviz.features.comparison.matching import worst_first
from qviz.features.comparison.text import badge, by_severity, damage_level
from qviz.features.detection.models import LoadedModel
from qviz.formatting import score, score_difference
from qviz.structures import Detections, EncodedImage, Inference
from qviz.ui import glossary, server, view
from qviz.ui.page import Page
from qviz.ui.results import Preview, redraw_while_pending
from qviz.ui.strip import strip

SCREEN = 1280
"""Maximum length of each side of the image on the screen, in pixels."""
TIMEOUT = 20.0
"""Seconds that the page waits for the image in view."""
THUMBNAIL = 192
"""Length of a thumbnail's longer side in pixels: as many as a 4K projector shows."""
MAX_THUMBNAILS = 200
MAX_URGENT = 40
"""Images that run ahead of other jobs, such as a diagnosis, until the worst image is known."""


def choose_variants(here: Page, compared: Sequence[ComparedVariant]) -> list[LoadedModel]:
    """The variants to show, the one in focus first: those that the view names, else the one with lowest agreement."""
    models = here.loaded
    shown = [variant for name in here.view.variants if (variant := models.variant_named(name)) is not None]
    if not shown and models.variants:
        worst = min(compared, key=lambda variant: worst_first(variant.summary.agreement), default=None)
        shown = [(models.variant_named(worst.name) if worst else None) or models.variants[0]]
    names, shown_names = [models.name(v) for v in models.variants], [models.name(v) for v in shown]
    chosen = st.pills(
        "Variants beside the reference",
        names,
        selection_mode="multi",
        default=shown_names,
        wrap=True,
        key=f"qviz_variants-{','.join(names)}-{','.join(shown_names)}",
        label_visibility="collapsed",
    )
    before = here.view.variants
    picked = [name for name in before if name in chosen] + [name for name in chosen if name not in before]
    if picked and picked != shown_names:
        view.change(variants=tuple(picked))
        st.rerun()
    return shown


def run_now(here: Page, image: EncodedImage, variants: Sequence[LoadedModel]) -> tuple[Preview, list[Inference]]:
    """(the picture, the inferences of the reference and of these variants). Raises QvizError if one of them fails."""
    results, models = server.results(), [here.loaded.reference, *variants]
    results.want(models, [image], urgent=True)
    results.want_previews([image], SCREEN, urgent=True)
    runs = [results.inference(model, image, TIMEOUT) for model in models]
    picture = results.preview(image, SCREEN, TIMEOUT)
    for result in (picture, *runs):
        if isinstance(result, QvizError):
            raise result
        if result is None:
            raise QvizError(f"{image.name} is not ready after {TIMEOUT:.0f} s, as the server is busy. Try again.")
    assert isinstance(picture, Preview), "errors were raised above"
    return picture, [run for run in runs if isinstance(run, Inference)]


def run_first(
    here: Page, images: Sequence[EncodedImage], order: Sequence[EncodedImage], variants: Sequence[LoadedModel]
) -> None:
    """Make the first thumbnails ahead of other jobs.

    If the address names no image, the first images are run ahead of other jobs, too: the page opens the worst of them.
    """
    server.results().want_previews(order[:MAX_URGENT], THUMBNAIL, urgent=True)
    if here.view.image is None and variants:
        server.results().want([here.loaded.reference, variants[0]], images[:MAX_URGENT], urgent=True)


# ---- the strip of images ------------------------------------------------------------------------------------------


def by_damage(images: Sequence[EncodedImage], compared: ComparedVariant | None) -> list[EncodedImage]:
    """The images with the most lost objects first, then by the numbers of relabelled, spurious and shifted objects.

    The badges use the same order of changes. Images that have not been run come last, in the order of loading.
    """
    counts = {image.digest: by_severity(image.summary) for image in compared.images} if compared else {}
    return sorted(images, key=lambda image: counts.get(image.digest, (-1,)), reverse=True)


def image_strip(
    here: Page, images: Sequence[EncodedImage], current: EncodedImage, variants: Sequence[LoadedModel]
) -> None:
    """Thumbnails of the images with badges for their damage, which appear as results arrive; a click shows an image."""
    models, shown = here.loaded, images[:MAX_THUMBNAILS]

    def is_pending() -> bool:
        results = server.results()
        missing = any(results.preview(image, THUMBNAIL) is None for image in shown)
        return missing or results.pending([models.reference, *variants[:1]], shown) > 0

    def draw() -> None:
        compared = server.compared(models, variants[0], shown, here.view.score) if variants else None
        strip(_strip_rows(shown, compared), current.name, lambda name: view.change(image=name), key="strip")

    redraw_while_pending("strip", is_pending, draw)


def _strip_rows(images: Sequence[EncodedImage], compared: ComparedVariant | None) -> list[dict[str, Any]]:
    summaries = {image.digest: image.summary for image in compared.images} if compared else {}
    rows = []
    for image in images:
        picture, summary = server.results().preview(image, THUMBNAIL), summaries.get(image.digest)
        text, level = (badge(summary), damage_level(summary)) if summary else ("", "none")
        if isinstance(picture, QvizError):
            text, level = "cannot be read", "bad"
        source = picture.source if isinstance(picture, Preview) else ""
        rows.append({"name": image.name, "src": source, "badge": text, "level": level})
    return rows


# ---- the table of objects -----------------------------------------------------------------------------------------

BECAUSE = {"gone": "gone from the head", "threshold": "low score", "nms": "NMS", "unknown": "unknown"}
TABLE_TERMS = {
    **{"reference": "reference's confidence", "variant": "variant's confidence"},
    **{"keypoints": "keypoint similarity", "mask IoU": "mask IoU"},
}
TABLE_HEIGHT, MAX_ROWS = 640, 20
"""Height in pixels of a table that scrolls; maximum number of rows that are shown without scrolling."""
WHY_WIDTH = 130
"""Width in pixels of the column `why`: fitted to the first rows alone, it would cut off those below."""
SHAPES = ("keypoints", "mask IoU")
TABLE_FORMATS = {
    **{"reference": "%.2f", "variant": "%.2f", "Δ conf.": "%+.2f", "IoU": "%.2f", "Δ IoU": "%+.2f"},
    **dict.fromkeys((*SHAPES, "risk"), "%.2f"),
}


def object_table(
    objects: Sequence[ComparedObject], variant_id: str, key: str, risks: Mapping[int, float] | None = None
) -> None:
    """A table with one row per object. The table and the viewer share the selected object.

    `risks` maps indices of the reference's objects to their risk of being lost or relabelled.
    """
    frame = pd.DataFrame([_table_row(row) for row in objects])
    if risks:
        frame["risk"] = [None if row.reference_index is None else risks.get(row.reference_index) for row in objects]
    if not any(row.change == "relabelled" for row in objects):
        frame = frame.drop(columns="now", errors="ignore")
    if not any(row.lost_because for row in objects):
        frame = frame.drop(columns="why", errors="ignore")
    frame = frame.drop(columns=[name for name in SHAPES if name in frame and frame[name].isna().all()])
    names = [_object_id(variant_id, row) for row in objects]
    before = view.selected() if view.selected() in names else None
    event = glossary.table(
        frame,
        TABLE_FORMATS,
        TABLE_TERMS,
        {"why": st.column_config.TextColumn(width=WHY_WIDTH)} if "why" in frame else None,
        key=f"{key}-{before}",  # a table accepts an initial selection only when it is new
        height="content" if len(frame) <= MAX_ROWS else TABLE_HEIGHT,
        on_select="rerun",
        selection_mode="single-row",
        selection_default={"selection": {"rows": [] if before is None else [names.index(before)]}},
    )
    rows = event.selection.rows
    picked = names[rows[0]] if rows and rows[0] < len(names) else None
    if picked != before:
        view.select(picked)
        st.rerun()


def _table_row(row: ComparedObject) -> dict[str, object]:
    """A row of the table. Δ conf. is variant minus reference; Δ IoU is IoU - 1 (the reference's own box has IoU 1)."""
    return {
        "change": row.change,
        "why": BECAUSE.get(row.lost_because or ""),
        "class": row.label,
        "now": row.variant_label if row.change == "relabelled" else None,
        "reference": row.reference_score,
        "variant": row.variant_score,
        "Δ conf.": score_difference(row.variant_score, row.reference_score),
        "IoU": row.iou,
        "Δ IoU": score_difference(row.iou, 1.0),
        "keypoints": row.keypoint_similarity,
        "mask IoU": row.mask_iou,
    }


def _object_id(variant_id: str, row: ComparedObject) -> str:
    """The name of an object in the viewer."""
    first = -1 if row.reference_index is None else row.reference_index
    second = -1 if row.variant_index is None else row.variant_index
    return f"{variant_id}:{first}:{second}"


def selected_object(objects: Sequence[ComparedObject], variant_id: str) -> ComparedObject | None:
    """The object that is selected in the viewer, or None."""
    return next((row for row in objects if _object_id(variant_id, row) == view.selected()), None)


def is_unknown(name: str | None, detections: Sequence[Detections]) -> bool:
    """Whether the name of an object contains a number that no object has. The name comes from the page's address."""
    numbers = [int(text) for text in name.split(":")[1:]] if name else []
    return any(number >= max(map(len, detections)) for number in numbers) or numbers == [-1, -1]


def selection_text(row: ComparedObject) -> str:
    """A sentence about the selected object, e.g. `Selected: cat, lost (NMS), confidence 0.81 → –.`"""
    reason = f" ({BECAUSE[row.lost_because]})" if row.lost_because else ""
    scores = f"{score(row.reference_score)} → {score(row.variant_score)}"
    return f"Selected: {row.label}, {row.change}{reason}, confidence {scores}."
