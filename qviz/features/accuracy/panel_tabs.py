"""The tabs of the Accuracy page: classes, curves, error types, thresholds, confusions, worst images; and downloads.

Images open on the Compare page. A file to download is created only when its button is clicked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any

import streamlit as st

from qviz.detector import PAGE_SCORE
from qviz.errors import QvizError
from qviz.features.accuracy import Evaluation, panel, panel_operating, panel_tables
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.confusion import ImageLoss
from qviz.features.accuracy.errors import KINDS_HELP
from qviz.features.accuracy.measured import coco_results
from qviz.features.accuracy.panel import Finding
from qviz.features.accuracy.plot import (
    MAX_CLASSES,
    changed_classes,
    class_heat,
    class_loss_bars,
    error_bars,
    left_out,
    precision_recall,
    reliability_curves,
    shown_classes,
    threshold_moves,
)
from qviz.features.accuracy.text import markdown
from qviz.features.accuracy.thresholds import ThresholdShift
from qviz.features.accuracy.truth import category_ids
from qviz.features.slices import panel as slices_panel
from qviz.formatting import as_text, frame_csv, plural
from qviz.structures import EncodedImage, file_digest
from qviz.ui import clicks, page, server, view, workspace
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.tabs import tabs

THUMB = 360
SHOWN_IMAGES = 8
SHOWN_CONFUSIONS = 300
PREVIEW_TIMEOUT = 3.0
COMPARE = "pages/compare.py"


def worst(here: Page, finding: Finding, variant: str) -> None:
    """Draw the images with the largest loss, i.e. lost objects plus added false alarms."""
    rows = [row for row in finding.details[variant].images if row.loss > 0][:SHOWN_IMAGES]
    if not rows:
        st.text(f"{variant} loses no object and adds no false alarm on any image.")
        return
    st.caption(
        f"Objects found (with the right class) and false alarms at a confidence of {PAGE_SCORE:.2f} or more:"
        " reference → variant."
    )
    _cards(here, finding, variant, rows, "worst")


def _cards(here: Page, finding: Finding, variant: str, rows: Sequence[ImageLoss], key: str) -> None:
    """Draw images with the objects found and the false alarms of both models, each with a link to Compare."""
    images = {row.digest: image for row in rows if (image := _image(here, finding, row.digest, row.name)) is not None}
    server.results().want_previews(images.values(), THUMB, urgent=True)
    columns = st.columns(4)
    for i, row in enumerate(rows):
        with columns[i % len(columns)]:
            image = images.get(row.digest)
            _card(row, image)
            if image is not None:
                _link(here, image, variant, f"Compare {row.name}", f"{key}-{i}")


def _card(row: ImageLoss, image: EncodedImage | None) -> None:
    preview = server.results().preview(image, THUMB, PREVIEW_TIMEOUT) if image is not None else None
    picture = f'<img alt="" src="{preview.source}">' if isinstance(preview, Preview) else ""
    counts = (
        f"<b>{row.reference_found} → {row.variant_found}</b> of {row.truths} found,"
        f" {row.reference_false} → {row.variant_false} false"
    )
    st.html(f'<div class="qviz qviz-worst">{picture}<p>{counts}<br>{escape(row.name)}</p></div>')


def class_link(here: Page, finding: Finding, variant: str, label: str) -> None:
    """Draw a link to the image on which the most objects of a class are lost; only that class is shown there."""
    digest = finding.details[variant].worst_image_of.get(label)
    image = _image(here, finding, digest) if digest is not None else None
    if image is not None:
        _link(here, image, variant, f"Show {label} on Compare", "class", _class_ids(here, finding, label))


def _class_ids(here: Page, finding: Finding, label: str) -> tuple[int, ...]:
    """The reference's class ids that belong to the category with this name."""
    inspection = here.loaded.reference.inspection
    if finding.evaluation.reference_as_truth:
        class_ids = {int(row[6]) for row in finding.evaluation.results[0]}
        return tuple(sorted(class_id for class_id in class_ids if inspection.label(class_id) == label))
    names = {category.id: category.name for category in finding.source.dataset.categories}
    classes = category_ids(inspection.labels, finding.source.dataset.categories)
    return tuple(class_id for class_id, category in classes.items() if names[category] == label)


def _image(here: Page, finding: Finding, digest: str, name: str | None = None) -> EncodedImage | None:
    """The image with this digest, from the session or, if it is not there, from the dataset; None if in neither.

    For the session's images, the part of the digest after `@` (the size) may differ.
    """
    session_image = next((image for image in here.workspace.images if image.file_digest == file_digest(digest)), None)
    if session_image is not None:
        return session_image
    for image in finding.source.dataset.images:
        if name is None or image.name == name:
            try:
                read = image.encoded()
            except QvizError:
                continue
            if read.digest == digest:
                return read
    return None


def _link(here: Page, image: EncodedImage, variant: str, label: str, key: str, class_ids: Sequence[int] = ()) -> None:
    """Draw a link to the image if it is loaded, else a button that loads the image and then opens it."""
    if any(other.digest == image.digest for other in here.workspace.images):
        more: dict[str, Any] = {"classes": tuple(class_ids), "truth": True} if class_ids else {}
        page.link(COMPARE, as_text(label), image=image.name, variants=(variant,), **more)
        return

    def load() -> None:
        loaded = workspace.keep(here.workspace.with_images([image]))
        view.change(image=loaded.images[0].name, variants=(variant,), classes=tuple(class_ids))

    button = f"accuracy-{key}-{variant}-{image.digest[:12]}"

    def open_page() -> None:
        page.go("Compare", COMPARE, view.link_query("Compare"))

    clicks.button(st, as_text(label), load, button, open_page, type="tertiary")


def show(here: Page, finding: Finding, variant: str, label: str) -> None:
    """Draw all tabs. If there is only one variant, the heat map is left out, because the bars show the same."""
    drawings: dict[str, Callable[[], None]] = {
        "Loss by class": lambda: by_class(here, finding, variant, label),
        "All variants": lambda: heat(finding),
        "Precision and recall": lambda: curves(finding, label),
        "Error types": lambda: errors(finding, variant),
        "Operating point": lambda: panel_operating.show(finding, variant),
        "Slices": lambda: slices_panel.show(
            here, finding, variant, lambda rows, key: _cards(here, finding, variant, rows, key)
        ),
        "Thresholds": lambda: thresholds(finding, variant),
        "Confusions": lambda: confusions(finding, variant),
        "Worst images": lambda: worst(here, finding, variant),
    }
    if len(finding.losses) == 1:
        del drawings["All variants"]
    for tab, draw in zip(tabs("Accuracy", list(drawings)), drawings.values(), strict=True):
        with tab:
            draw()


def by_class(here: Page, finding: Finding, variant: str, label: str) -> None:
    """Draw the losses by class as bars, with the class in view beside them; a click on a bar chooses its class."""
    loss, key = finding.losses[variant], f"class-loss-{variant}"
    left, right = st.columns([3, 2], gap="medium")
    with left:
        limit = _shown_count([loss], "accuracy-all-classes")
        if shown_classes([loss]):
            figure = class_loss_bars(loss, finding.colour(variant), limit, chosen=label)
            st.plotly_chart(
                figure,
                width="stretch",
                key=key,
                on_select=clicks.callback(lambda: _clicked(key)),
                selection_mode="points",
            )
        st.caption(
            "Significant losses come first; faded bars are not significant (Holm correction over the classes). The"
            " last classes have fewer than 5 images, so no interval. After each name: its number of objects."
            f" {left_out([loss], limit)}"
        )
    with right:
        _class_in_view(here, finding, variant, label)
    with st.expander(f"AP by class ({len(loss.per_class)})"):
        panel_tables.show(panel_tables.class_rows(finding.evaluation, finding.names), key="accuracy-classes")


def _shown_count(losses: Sequence[VariantLoss], key: str) -> int:
    """Number of changed classes to draw; draws a switch with which the user can choose all."""
    changed = len(changed_classes(losses))
    if changed <= MAX_CLASSES:
        return MAX_CLASSES
    return changed if st.toggle(f"All {changed} classes that change", key=key) else MAX_CLASSES


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        panel.choose_class(str(points[-1]["customdata"][0]))


def _class_in_view(here: Page, finding: Finding, variant: str, label: str) -> None:
    losses = {name: next(row for row in loss.per_class if row.label == label) for name, loss in finding.losses.items()}
    thresholds = {
        name: next(row for row in detail.threshold.per_class if row.label == label)
        for name, detail in finding.details.items()
    }
    row = losses[variant]
    st.text(f"{label}: {plural(row.truths, 'object')} on {plural(row.images, 'image')}")
    panel_tables.show(
        panel_tables.one_class(finding.evaluation, finding.names, losses, thresholds), key="accuracy-class"
    )
    class_link(here, finding, variant, label)


def heat(finding: Finding) -> None:
    """Draw a heat map of the losses by class and variant."""
    losses = finding.losses
    if not shown_classes(list(losses.values())):
        st.text("No class loses or gains AP in any variant.")
        return
    limit = _shown_count(list(losses.values()), "accuracy-heat-classes")
    figure = class_heat(losses, limit)
    st.plotly_chart(figure, width="stretch", key="accuracy-heat")
    st.caption(
        "AP points lost (×100); below 0, in green, a variant is better. * significant, Holm-corrected over the classes"
        f" of a variant. {left_out(list(losses.values()), limit)}"
    )


def curves(finding: Finding, label: str) -> None:
    """Draw precision over recall for the class in view."""
    models = finding.evaluation.models
    index = next(i for i, row in enumerate(models[0].per_class) if row.label == label)
    lines = {name: curve[index] for name, curve in zip(finding.names, finding.evaluation.curves, strict=True)}
    ap50 = {name: model.per_class[index].ap50 for name, model in zip(finding.names, models, strict=True)}
    st.text(f"{label}, {plural(models[0].per_class[index].truths, 'object')}")
    st.plotly_chart(precision_recall(lines, ap50, finding.colours), width="stretch", key="accuracy-curves")


def errors(finding: Finding, variant: str) -> None:
    """Draw the cost of each kind of error for both models."""
    figure = error_bars(finding.details[variant].errors, finding.names[0], variant, finding.colour(variant))
    st.plotly_chart(figure, width="stretch", key=f"errors-{variant}")
    st.caption(
        f"{KINDS_HELP} dAP: how much AP at an IoU of .50 would rise if all errors of one kind were corrected (TIDE)."
        " The same error costs a better model more, so dAPs of two models cannot be subtracted, nor those of two"
        " kinds added."
    )


def thresholds(finding: Finding, variant: str) -> None:
    """Draw the best confidence thresholds, and how well confidences match the share of right detections."""
    shifts = {name: detail.threshold for name, detail in finding.details.items()}
    st.text(_threshold_sentence(variant, shifts[variant]))
    left, right = st.columns(2, gap="medium")
    with left:
        st.plotly_chart(threshold_moves(shifts, finding.colours[1:]), width="stretch", key="accuracy-thresholds")
        st.caption(
            "Open: F1 at the reference's best threshold; filled: at the variant's own; dashed: the reference's F1."
            " All classes pooled, IoU .50."
        )
        panel_tables.show(panel_tables.threshold_rows(shifts, finding.names[0]), key="accuracy-cuts")
    with right:
        curves = dict(zip(finding.names, finding.evaluation.reliabilities, strict=True))
        st.plotly_chart(reliability_curves(curves, finding.colours), width="stretch", key="accuracy-reliability")
        st.caption(
            "Below the diagonal a model is too confident. ECE: mean distance from the diagonal, lower is better; of"
            " detections with a confidence of at least .05."
        )
    with st.expander("Thresholds by class"):
        panel_tables.show(panel_tables.class_thresholds(shifts[variant]), key=f"cuts-{variant}")


def _threshold_sentence(variant: str, shift: ThresholdShift) -> str:
    first, best = shift.reference.score, shift.variant.score
    if first is None or best is None:
        return f"No detection of {variant if best is None else 'the reference'} is right, so no threshold is best."
    lost, gain = shift.reference.f1 - shift.variant_f1_unmoved, shift.variant.f1 - shift.variant_f1_unmoved
    if shift.recovered is None or lost < 5e-4:
        return f"{variant} loses no F1 at the reference's threshold of {first:.2f}; there is nothing to recover."
    sentence = f"At the reference's threshold of {first:.2f}, {variant} loses {100 * lost:.1f} points of F1"
    if gain < 5e-4:
        return f"{sentence}; no other threshold recovers any of them."
    return f"{sentence}; a threshold of {best:.2f} recovers {100 * gain:.1f} of them ({shift.recovered:.0%})."


def confusions(finding: Finding, variant: str) -> None:
    """Draw the table of annotated and detected classes, the largest change first."""
    rows = finding.details[variant].confusions
    only_changed = st.toggle("Only what changed", value=True, key="accuracy-changed")
    shown = [row for row in rows if row.change or not only_changed]
    if not shown:
        st.text("The reference and the variant make the same mistakes.")
        return
    panel_tables.show(panel_tables.confusion_rows(shown[:SHOWN_CONFUSIONS]), key=f"confusions-{variant}")
    st.caption(
        f"At a confidence of {PAGE_SCORE:.2f} or more, IoU .50. The column 'now' counts the variant's detections."
        " A change above 0 is worse."
    )


def downloads(finding: Finding) -> None:
    """Draw buttons that download the evaluation as CSV, JSON and Markdown, and the detections of each model."""
    result = finding.evaluation
    with st.expander("Downloads"):
        left, right = st.columns(2)
        with left:
            st.caption("The evaluation")
            _button(
                "CSV: AP of every model and class",
                lambda: frame_csv(result.to_frame()),
                "accuracy.csv",
                "text/csv",
            )
            _button("JSON: everything", lambda: _json(result.to_json()), "accuracy.json", "application/json")
            _button("Markdown summary", partial(markdown, result), "accuracy.md", "text/markdown")
        with right:
            st.caption("Detections as COCO results, for COCOeval and other tools")
            for index, name in enumerate(finding.names):
                _button(name, partial(_detections, result, index), f"detections_{name}.json", "application/json")


def _button(label: str, data: object, name: str, mime: str) -> None:
    st.download_button(label, data, name, mime, on_click="ignore", key=f"download-{name}", width="stretch")  # type: ignore[arg-type]


def _json(document: object) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _detections(result: Evaluation, index: int) -> str:
    return _json(coco_results(result, index))
