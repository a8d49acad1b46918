"""Part of the Overview page: the models and images of the project, to be renamed, found, removed and restored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd
import streamlit as st

from qviz.chart_style import CHANGES
from qviz.datasets.shared_folder import HERE, read_shared, shared_folders
from qviz.errors import QvizError
from qviz.features.comparison import ComparedVariant
from qviz.features.detection.models import LoadedModel
from qviz.features.settings import panel as settings_panel
from qviz.formatting import as_text, plural
from qviz.limits import limits
from qviz.structures import EncodedImage
from qviz.ui import clicks, glossary, sample, server, uploads, view, workspace
from qviz.ui.page import Page
from qviz.ui.project_document import MAX_NAME
from qviz.ui.workspace import EarlierModel

CHANGED = tuple(name for name in CHANGES if name != "kept")
MAX_LABELS = 6
"""Maximum number of an image's classes that the table names."""


def show(here: Page) -> None:
    """Show the models, the images, and the server's folder of images if there is one."""
    _models(here)
    _images(here)
    _shared_folder()


# ---- models ---------------------------------------------------------------------------------------------------------


def _models(here: Page) -> None:
    """Widgets to choose the reference, to rename, configure and remove models, and to restore earlier ones."""
    models = here.loaded
    with st.expander("Models: names, reference and settings"):
        names = {model.digest: models.name(model) for model in models.all}
        chosen = st.selectbox(
            "Reference (by default the least quantized model)",
            list(names),
            index=list(names).index(models.reference.digest),
            format_func=lambda digest: names[digest],
            # the reference is in the key, so that a widget that outlives its models does not choose another one
            key=f"qviz_reference-{models.reference.digest}",
        )
        if chosen != models.reference.digest:
            workspace.keep(replace(here.workspace, reference=chosen))
            st.rerun()
        for model in models.all:
            _model_row(model, names[model.digest], len(names) > 1)
        if here.workspace.earlier:
            st.markdown("**Earlier models of this project**")
            for row in here.workspace.earlier:
                _earlier_row(row)


def _model_row(model: LoadedModel, shown: str, removable: bool) -> None:
    left, middle, settings, right = st.columns([2, 4, 1, 1], vertical_alignment="center")
    name = left.text_input(
        f"Name of {as_text(model.name)}",
        shown,
        max_chars=MAX_NAME,
        key=f"model-name-{model.digest}-{shown}",
        label_visibility="collapsed",
        help="The name on the pages; empty: that of the file",
    )
    if name.strip() != shown:
        workspace.keep(workspace.current().with_shown_name(model.digest, name))
        view.change(variants=())
        st.rerun()
    middle.caption(f"{as_text(model.name)}  \n{as_text(settings_panel.as_text(model))}")
    with settings.popover("Settings"):
        settings_panel.form(model)

    def remove() -> None:
        workspace.keep(workspace.current().without_model(model.digest))

    clicks.button(right, "Remove", remove, f"remove-{model.digest}", st.rerun, disabled=not removable)


def _earlier_row(row: EarlierModel) -> None:
    source = row.source
    left, right = st.columns([6, 2], vertical_alignment="center")
    date = time.strftime("%d %b %Y, %H:%M", time.localtime(row.removed))
    name = f"{source.shown} · {source.name}" if source.shown else source.name
    left.caption(as_text(f"{name} · {len(source.data) / 1e6:.2f} MB · until {date}"))

    def bring_back() -> None:
        workspace.keep(workspace.current().with_earlier(source.digest))

    clicks.button(right, "Bring back", bring_back, f"earlier-{source.digest}", st.rerun, width="stretch")


# ---- images ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image in the table. labels: classes in any model; counts: change -> number of objects, over all variants."""

    image: EncodedImage
    labels: tuple[str, ...]
    counts: dict[str, int]

    def fits(self, words: str, changes: Sequence[str]) -> bool:
        """Whether its name and classes contain all the words and, if changes are given, at least one of them occurs."""
        texts = [text.casefold() for text in (self.image.name, *self.labels)]
        has_words = all(any(word in text for text in texts) for word in words.casefold().split())
        return has_words and (not changes or any(self.counts[change] for change in changes))


def image_rows(images: Sequence[EncodedImage], compared: Sequence[ComparedVariant]) -> list[ImageRow]:
    """One row for each image, in order; an image that has not been run has no classes and no changes."""
    labels: dict[str, dict[str, None]] = {image.digest: {} for image in images}
    counts = {image.digest: dict.fromkeys(CHANGED, 0) for image in images}
    for variant in compared:
        for row in variant.images:
            for compared_object in row.objects:
                labels[row.digest][compared_object.label] = None
                if compared_object.change in CHANGED:
                    counts[row.digest][compared_object.change] += 1
    return [ImageRow(image, tuple(labels[image.digest]), counts[image.digest]) for image in images]


def _images(here: Page) -> None:
    """Widgets to find images by name, class and change, and to open and remove them."""
    images = here.workspace.images
    expander = st.expander(f"Images: find and remove ({len(images)})", key="overview-images", on_change="rerun")
    if not expander.open:
        return  # a table of 5,000 images would take a second
    with expander:
        rows = _filtered(here)
        selected = _table(rows)
        chosen = [rows[i].image for i in selected if i < len(rows)]
        _buttons(here, rows, chosen)


def _filtered(here: Page) -> list[ImageRow]:
    models, images, score = here.loaded, here.workspace.images, here.view.score
    compared = [server.compared(models, variant, images, score) for variant in models.variants]
    left, right = st.columns([3, 4], vertical_alignment="bottom")
    words = left.text_input("Find", placeholder="part of a name, or a class", max_chars=MAX_NAME, key="images-words")
    changes = right.pills(
        "Has an object that in some variant is", CHANGED, selection_mode="multi", key="images-changes", wrap=True
    )
    rows = [row for row in image_rows(images, compared) if row.fits(words, changes)]
    st.caption(f"{len(rows)} of {plural(len(images), 'image')}; changes are counted over all variants.")
    return rows


def _table(rows: Sequence[ImageRow]) -> list[int]:
    """Show the rows as a table, and return the positions of the selected ones."""
    frame = pd.DataFrame(
        [
            {
                "image": row.image.name,
                "classes": ", ".join(row.labels[:MAX_LABELS]) + (" …" if len(row.labels) > MAX_LABELS else ""),
                **row.counts,
                "KB": len(row.image.data) / 1000,
            }
            for row in rows
        ],
        columns=["image", "classes", *CHANGED, "KB"],
    )
    identity = hash(tuple(row.image.digest for row in rows))  # so that a selection is not applied to other rows
    event = glossary.table(
        frame, {"KB": "%.0f"}, key=f"images-table-{identity}", on_select="rerun", selection_mode="multi-row"
    )
    return list(event.selection.rows)


def _buttons(here: Page, rows: Sequence[ImageRow], chosen: Sequence[EncodedImage]) -> None:
    unwanted = chosen or [row.image for row in rows]
    is_all = len(unwanted) == len(here.workspace.images)
    label = f"Remove {plural(len(unwanted), 'selected image' if chosen else 'listed image')}"

    def remove() -> None:
        digests = [image.digest for image in unwanted]
        workspace.keep_drop([f"the removal of {plural(len(digests), 'image')}"], here.workspace.without_images(digests))
        view.change(image=None)

    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        disabled = not unwanted or (is_all and not chosen)
        clicks.button(st, label, remove, "images-remove", st.rerun, disabled=disabled)
        if sample.is_installed() and not here.workspace.is_sample and not sample.holds_any_image(here.workspace):
            clicks.button(st, "Add the sample's images", _add_sample, "images-sample", st.rerun)
        if len(chosen) == 1:
            query = {"image": chosen[0].name}
            st.page_link("pages/compare.py", label=f"Compare {as_text(chosen[0].name)}", query_params=query)


def _add_sample() -> None:
    current = workspace.current()
    workspace.keep(current.with_images(sample.sample().images))


# ---- a folder of the server -----------------------------------------------------------------------------------------


def _shared_folder() -> None:
    """Widgets to open a folder on the server's machine, if the administrator allows it."""
    if not limits().images_folder:
        return
    expander = st.expander("Images on the server", key="overview-shared", on_change="rerun")
    if not expander.open:
        return
    with expander:
        left, right = st.columns([6, 2], vertical_alignment="bottom")
        name = left.selectbox("Folder", shared_folders(), format_func=lambda name: "all" if name == HERE else name)
        open_it = partial(_open, name)
        clicks.button(right, "Open this folder", open_it, "shared-folder", st.rerun, disabled=not name, width="stretch")
        st.caption("No upload is needed. The images are added to those of this project, and saved with it.")


def _open(name: str) -> None:
    try:
        images, remarks = read_shared(name)
    except QvizError as error:
        workspace.keep(workspace.current().with_notices([str(error)]))
        return
    uploads.add_images(images, remarks, f"the folder {name}")
