"""Uncorrupted images that exceed a variant's calibrated ranges, and which of them to add to the calibration."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st

from qviz.context import Context
from qviz.features.corruption_sweep import ALARM_IMAGES
from qviz.features.corruption_sweep.out_of_range import NO_RANGES, Addition, OutOfRange, has_ranges, out_of_range
from qviz.features.corruption_sweep.panel import readable_images
from qviz.features.corruption_sweep.text import alarm_sentence
from qviz.features.detection.inference import Reading
from qviz.formatting import plural
from qviz.structures import Dataset
from qviz.ui import glossary, jobs
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page


def show(here: Page, source: Source) -> None:
    """Draw the ranking of the images for one variant, and a download of the images to add as a zip archive."""
    models = here.loaded
    by_name = {models.name(v): v for v in models.variants if has_ranges(models.reference, v)}
    st.subheader("Images outside of the calibration")
    if not by_name:
        st.caption(NO_RANGES)
        return
    default = next((name for name in here.view.variants if name in by_name), next(iter(by_name)))
    name = (
        st.segmented_control(
            "Variant", list(by_name), default=default, key="alarm-variant", persist_state="session", wrap=True
        )
        or default
    )
    pair = models.reference, by_name[name]
    key = source.digest, tuple(model.identity for model in pair)

    def run(context: Context) -> OutOfRange:
        images = readable_images(source, ALARM_IMAGES)
        return out_of_range(context, *pair, images)

    step = "Comparing activations with the variant's ranges"
    if (result := jobs.result("alarm", key, run, "alarm", step, "images")) is not None:
        _ranking(result, source.dataset, name)


def _ranking(result: OutOfRange, dataset: Dataset, name: str) -> None:
    st.text(alarm_sentence(result))
    glossary.table(_table(result), {"out of range": "%.4f", "clipped %": "%.1f"}, columns=_COLUMNS, height=300)
    st.caption(
        "Out of range: how far the reference's activations go beyond the variant's range, in widths of that range (at"
        " most 1 at each end), averaged over layers and ends; the largest share that one layer clips is added."
        " Clipped %: share of the activations of all layers."
    )
    if result.add:
        download_additions(dataset, result.add, f"calibration_{name}.zip", "alarm-zip")


def download_additions(dataset: Dataset, additions: Sequence[Addition], file_name: str, key: str) -> None:
    """Draw a button that downloads the images to add to the calibration as a zip archive."""
    label = f"Download {plural(len(additions), 'image')} to add to the calibration (zip)"
    st.download_button(label, _zip_of(dataset, additions), file_name, "application/zip", key=key)


_COLUMNS = {
    "covers %": st.column_config.NumberColumn(
        format="%.1f",
        width="small",
        help="Share of the out-of-range activations covered by this image and those above.",
    ),
    "farthest layer": st.column_config.TextColumn(width="large"),
}


def _table(result: OutOfRange) -> pd.DataFrame:
    """A table of the images: first the images to add, the most useful one on top, then the others by falling score."""
    add = {row.digest: (number, row.covered) for number, row in enumerate(result.add, start=1)}
    ranked = sorted(result.images, key=lambda image: add.get(image.digest, (len(add) + 1, 0.0))[0])
    rows = []
    for image in ranked:
        number, covered = add.get(image.digest, (None, None))
        farthest = [f"{layer.op_index} {layer.op_type} {layer.tensor[:80]}" for layer in image.layers[:1]]
        rows.append(
            {
                "image": image.image,
                "alarm": "●" if image.alarm else "",
                "out of range": image.score,
                "clipped %": 100 * image.clipped_share,
                "layers outside": image.layers_outside,
                "to add": number,
                "covers %": None if covered is None else 100 * covered,
                "farthest layer": "".join(farthest),
            }
        )
    return pd.DataFrame(rows)


def _zip_of(dataset: Dataset, additions: Sequence[Addition]) -> bytes:
    """A zip archive of the image files without folders. Only the last part of each name is used, for safety."""
    digests, names = {row.digest for row in additions}, {row.image for row in additions}
    buffer, used = io.BytesIO(), set[str]()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for image in Reading().of(image for image in dataset.images if image.name in names):
            if image.digest in digests:
                archive.writestr(f"calibration/{_unused(image.name, used)}", image.data)
    return buffer.getvalue()


def _unused(name: str, used: set[str]) -> str:
    """The file name, changed if necessary so that the archive does not contain it yet."""
    plain = PurePosixPath(name.replace("\\", "/")).name.replace("..", "_") or "image"
    candidate, number = plain, 2
    while candidate in used:
        candidate, number = f"{number}_{plain}", number + 1
    used.add(candidate)
    return candidate
