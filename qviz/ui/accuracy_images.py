"""From the Accuracy page to the images: the worst ones, and where most of a class is lost. Each opens on Compare."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import partial
from html import escape

import streamlit as st

from qviz.analysis.confusion import ImageLoss
from qviz.analysis.reconcile import category_ids
from qviz.analysis.written import as_text
from qviz.detector import PAGE_SCORE
from qviz.errors import QvizError
from qviz.structures import EncodedImage
from qviz.ui import calls, clicks, view, workspace
from qviz.ui.accuracy import Finding
from qviz.ui.page import Page
from qviz.ui.results import Preview

THUMB = 360
SHOWN = 8
PATIENCE = 3.0
COMPARE = "pages/compare.py"


def worst(here: Page, finding: Finding, variant: str) -> None:
    """The images that lose most objects or gain most false alarms."""
    rows = [row for row in finding.details[variant].images if row.loss > 0][:SHOWN]
    if not rows:
        st.text(f"{variant} loses no object and adds no false alarm on any image.")
        return
    st.caption(f"Objects found right and false alarms, reference → variant, from a confidence of {PAGE_SCORE:.2f}.")
    images = {row.digest: image for row in rows if (image := _image(here, finding, row.digest, row.name)) is not None}
    calls.results().want_previews(images.values(), THUMB, urgent=True)
    columns = st.columns(4)
    for i, row in enumerate(rows):
        with columns[i % len(columns)]:
            image = images.get(row.digest)
            _card(row, image)
            if image is not None:
                _link(here, image, variant, f"Compare {row.name}", f"worst-{i}")


def _card(row: ImageLoss, image: EncodedImage | None) -> None:
    preview = calls.results().preview(image, THUMB, PATIENCE) if image is not None else None
    jpeg = base64.b64encode(preview.jpeg).decode() if isinstance(preview, Preview) else ""
    picture = f'<img alt="" src="data:image/jpeg;base64,{jpeg}">' if jpeg else ""
    found = f"<b>{row.reference_found} → {row.variant_found}</b> of {row.truths} found"
    false = f"{row.reference_false} → {row.variant_false} false"
    st.html(f'<div class="qviz qviz-worst">{picture}<p>{found}, {false}<br>{escape(row.name)}</p></div>')


def class_link(here: Page, finding: Finding, variant: str, label: str) -> None:
    """Its objects, lost and kept, on the image where most of them are lost."""
    digest = finding.details[variant].worst_image_of.get(label)
    image = _image(here, finding, digest) if digest is not None else None
    if image is not None:
        _link(here, image, variant, f"Show {label} on Compare", "class", _class_ids(here, finding, label))


def _class_ids(here: Page, finding: Finding, label: str) -> tuple[int, ...]:
    """The reference's classes that are the category of that name."""
    assert here.models is not None, "pages without a model stop before"
    inspection = here.models.reference.inspection
    if finding.evaluation.reference_as_truth:
        seen = {int(row[6]) for row in finding.evaluation.results[0]}
        return tuple(sorted(class_id for class_id in seen if inspection.label(class_id) == label))
    names = {category.id: category.name for category in finding.source.dataset.categories}
    classes = category_ids(inspection.labels, finding.source.dataset.categories)
    return tuple(class_id for class_id, category in classes.items() if names[category] == label)


def _image(here: Page, finding: Finding, digest: str, name: str | None = None) -> EncodedImage | None:
    """The session's own image of these bytes, else the dataset's. A digest may end in the size that boxes refer to."""
    own = next((image for image in here.workspace.images if _bytes(image.digest) == _bytes(digest)), None)
    if own is not None:
        return own
    for image in finding.source.dataset.images:
        if name is None or image.name == name:
            try:
                read = image.encoded()
            except QvizError:
                continue
            if read.digest == digest:
                return read
    return None


def _bytes(digest: str) -> str:
    return digest.partition("@")[0]


def _link(here: Page, image: EncodedImage, variant: str, label: str, key: str, class_ids: Sequence[int] = ()) -> None:
    """A link where the image is loaded; else a button that loads it first."""
    loaded = any(other.digest == image.digest for other in here.workspace.images)
    if loaded:
        said = {"image": image.name, "variant": variant}
        if class_ids:
            said |= {"class": ",".join(str(class_id) for class_id in class_ids), "truth": "1"}
        st.page_link(COMPARE, label=as_text(label), query_params=said)
        return

    def load() -> None:
        held = workspace.keep(here.workspace.with_images([image]))
        view.change(image=held.images[0].name, variants=(variant,), classes=tuple(class_ids))

    own = f"accuracy-{key}-{variant}-{image.digest[:12]}"
    clicks.button(st, as_text(label), load, own, partial(st.switch_page, COMPARE), type="tertiary")
