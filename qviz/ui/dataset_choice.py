"""What the Accuracy page measures on: the annotations, the sample's scenes, or the reference's own detections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import streamlit as st

from qviz.datasets.coco import read_coco
from qviz.datasets.files import unannotated_images
from qviz.errors import QvizError
from qviz.formatting import as_text
from qviz.structures import Dataset, digest_of
from qviz.ui import view
from qviz.ui.page import Page
from qviz.ui.sample import FOLDER

DIGESTS = "qviz_dataset_digests"
AGREED = "qviz_reference_truth"
SCENES = FOLDER / "scenes"
REFERENCE = "reference"


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A dataset, known by its digest."""

    label: str
    dataset: Dataset
    digest: str
    reference_as_truth: bool = False


def sources(here: Page) -> dict[str, Source]:
    """All that can be measured on; annotated ones first."""
    held, found = here.workspace, {}
    if held.dataset is not None:
        name = "Photographs" if held.is_sample else held.dataset.name
        found["annotations"] = Source(f"{name} ({len(held.dataset.images)})", held.dataset, _digest(held.dataset))
    if held.is_sample and (scenes := _scenes()) is not None:
        found["scenes"] = Source(f"Composed scenes ({len(scenes.images)})", scenes, _digest(scenes))
    if held.images:
        dataset = unannotated_images("Loaded images", held.images)
        digest = digest_of(repr([(image.name, image.digest) for image in held.images]).encode())
        label = f"{_count(len(held.images))}, reference as truth"
        found[REFERENCE] = Source(label, dataset, digest, reference_as_truth=True)
    return found


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images} images"


def choose(known: Mapping[str, Source]) -> Source | None:
    """The one in view; without annotations None until somebody agrees to do without."""
    if list(known) == [REFERENCE]:
        return known[REFERENCE] if st.session_state.get(AGREED) else None
    first, kept = next(iter(known)), view.current().data
    usual = kept if kept in known else first
    chosen: str | None = usual
    if len(known) > 1:
        chosen = st.segmented_control(
            "Measured on",
            list(known),
            default=usual,
            format_func=lambda name: as_text(known[name].label),
            key=f"accuracy-data-{usual}",
            label_visibility="collapsed",
        )
    if (chosen or usual) != usual:
        view.change(data="" if chosen == first else chosen)
        st.rerun()
    return known[usual]


@st.cache_resource(show_spinner=False)
def _scenes() -> Dataset | None:
    """The sample's composed scenes, where they are there."""
    try:
        return replace(read_coco(SCENES / "annotations.json", SCENES), name="scenes/annotations.json")
    except (QvizError, OSError):
        return None


def _digest(dataset: Dataset) -> str:
    """Computed once a session: its images may have gigabytes. Kept with the dataset, so its id stays its own."""
    known: dict[int, tuple[Dataset, str]] = st.session_state.setdefault(DIGESTS, {})
    if id(dataset) not in known:
        while len(known) >= 4:
            known.pop(next(iter(known)))
        known[id(dataset)] = dataset, digest(dataset)
    return known[id(dataset)][1]


def digest(dataset: Dataset) -> str:
    """By its annotations and its images: their bytes, or where they lie."""
    rows = [
        (
            image.name,
            image.path,
            image.size,
            digest_of(image.data) if image.data is not None else "",
            image.boxes.tobytes(),
            image.category_ids.tobytes(),
            image.is_crowd.tobytes(),
            image.areas.tobytes(),
        )
        for image in dataset.images
    ]
    return digest_of(repr((dataset.name, rows, dataset.categories)).encode())
