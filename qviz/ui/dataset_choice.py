"""The dataset that a page measures on: annotated images, the sample's scenes, or the loaded images with the
reference's detections as ground truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import streamlit as st

from qviz.datasets.coco import read_coco
from qviz.datasets.files import unannotated_images
from qviz.errors import QvizError
from qviz.formatting import as_text, plural
from qviz.structures import Dataset, digest_of
from qviz.ui import page, requested, view
from qviz.ui.page import Page
from qviz.ui.sample import FOLDER

DIGESTS = "qviz_dataset_digests"
MAX_DIGESTS = 4
AGREED = "qviz_reference_truth"
SCENES = FOLDER / "scenes"
REFERENCE = "reference"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A dataset that the user can choose, with its label and digest."""

    label: str
    dataset: Dataset
    digest: str
    reference_as_truth: bool = False


def sources(here: Page) -> dict[str, Source]:
    """Key -> each dataset that models can be measured on, the annotated ones first."""
    workspace, rows = here.workspace, {}
    if workspace.dataset is not None:
        name = "Photographs" if workspace.is_sample else workspace.dataset.name
        label = f"{name} ({len(workspace.dataset.images)})"
        rows["annotations"] = Source(label, workspace.dataset, _cached_digest(workspace.dataset))
    if workspace.is_sample and (scenes := _scenes()) is not None:
        rows["scenes"] = Source(f"Composed scenes ({len(scenes.images)})", scenes, _cached_digest(scenes))
    if workspace.images:
        dataset = unannotated_images("Loaded images", workspace.images)
        digest = digest_of(repr([(image.name, image.digest) for image in workspace.images]).encode())
        label = f"{plural(len(workspace.images), 'image')}, reference as truth"
        rows[REFERENCE] = Source(label, dataset, digest, reference_as_truth=True)
    return rows


def choose(sources: Mapping[str, Source]) -> Source | None:
    """Let the user choose a dataset, and return the chosen one.

    If nothing is annotated, returns None until the user agrees to use the reference's detections as ground truth.
    """
    if list(sources) == [REFERENCE]:
        return sources[REFERENCE] if requested.last(AGREED) else None
    first, current = next(iter(sources)), view.current().data
    if current and current not in sources:
        page.unknown(f"the data {current}, which are not loaded here")
    if current not in sources:
        current = first
    chosen: str | None = current
    if len(sources) > 1:
        chosen = st.segmented_control(
            "Measured on",
            list(sources),
            default=current,
            format_func=lambda name: as_text(sources[name].label),
            key=f"accuracy-data-{current}",
            label_visibility="collapsed",
            wrap=True,
        )
    if (chosen or current) != current:
        view.change(data="" if chosen == first else chosen, label="")
        st.rerun()
    return sources[current]


@st.cache_resource(show_spinner=False)
def _scenes() -> Dataset | None:
    """The sample's composed scenes, or None if they are not installed."""
    try:
        return replace(read_coco(SCENES / "annotations.json", SCENES), name="scenes/annotations.json")
    except (QvizError, OSError):
        return None


def _cached_digest(dataset: Dataset) -> str:
    """The digest, computed once per session because the images may amount to gigabytes.

    The dataset itself is cached as well, so that no other object can get its `id()`.
    """
    cached: dict[int, tuple[Dataset, str]] = st.session_state.setdefault(DIGESTS, {})
    if id(dataset) not in cached:
        while len(cached) >= MAX_DIGESTS:
            cached.pop(next(iter(cached)))
        cached[id(dataset)] = dataset, digest(dataset)
    return cached[id(dataset)][1]


def digest(dataset: Dataset) -> str:
    """sha256 of the annotations and of the images: of their bytes, or of their paths if they are files on disk."""
    rows = [
        (
            image.name,
            digest_of(image.source) if isinstance(image.source, bytes) else image.source,
            image.size,
            image.boxes.tobytes(),
            image.category_ids.tobytes(),
            image.is_crowd.tobytes(),
            image.areas.tobytes(),
            image.fields,
            [(name, values.tolist()) for name, values in image.object_fields.items()],
            *(() if image.keypoints is None else [None if row is None else row.tobytes() for row in image.keypoints]),
            *(() if image.masks is None else image.masks),
        )
        for image in dataset.images
    ]
    return digest_of(repr((dataset.name, rows, dataset.categories)).encode())
