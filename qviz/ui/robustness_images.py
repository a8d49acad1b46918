"""Images out of a variant's calibrated range, without any corruption, and those to add to the calibration."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import PurePosixPath

import pandas as pd
import streamlit as st

from qviz.analysis.out_of_range import Addition, OutOfRange
from qviz.analysis.robustness_report import has_ranges
from qviz.analysis.robustness_verdict import range_sentence
from qviz.errors import ImageError, QvizError
from qviz.structures import Dataset
from qviz.ui import columns, robustness_job
from qviz.ui.accuracy_data import Source
from qviz.ui.page import Page

BEAT = 0.5


def show(here: Page, source: Source) -> None:
    """The ranking of one variant, and its zip."""
    assert here.models is not None, "pages without a model stop before"
    found = here.models
    ranged = {found.name(v): v for v in found.variants if has_ranges(found.reference, v)}
    st.subheader("Images outside of the calibration")
    if not ranged:
        st.caption("No activation of these variants is quantized: nothing can leave its range.")
        return
    asked = next((name for name in here.view.variants if name in ranged), next(iter(ranged)))
    name = st.segmented_control("Variant", list(ranged), default=asked, key="alarm-variant") or asked
    job = robustness_job.alarm(found, ranged[name], source)
    if not job.done():
        _waiting(job)
        return
    try:
        _ranking(job.result(), source.dataset, name)
    except QvizError as error:
        st.text(str(error))


@st.fragment(run_every=BEAT)
def _waiting(job: Future[OutOfRange]) -> None:
    if job.done():
        st.rerun()
    st.caption("Running FP32 over the images, and its activations against the variant's ranges …")


def _ranking(found: OutOfRange, dataset: Dataset, name: str) -> None:
    st.text(range_sentence(found))
    st.dataframe(_table(found), hide_index=True, width="stretch", height=300, placeholder="–", column_config=_FORMATS)
    st.caption(
        "Out of range: how far FP32's activations go beyond the variant's ranges, in widths of the range, averaged over"
        " all layers and both ends (each capped at 1), plus the largest share that any one layer clips."
        " Clipped %: of all layers' activations together."
    )
    if found.add:
        data = zip_of(dataset, found.add)
        label = f"Download {len(found.add)} images to add to the calibration (zip)"
        st.download_button(label, data, f"calibration_{name}.zip", "application/zip", key="alarm-zip")


_FORMATS = {
    **columns.numbers({"out of range": "%.4f", "clipped %": "%.1f"}),
    "covers %": st.column_config.NumberColumn(format="%.1f", width="small", help="Of all excess, with those before."),
    "farthest layer": st.column_config.TextColumn(width="large"),
}


def _table(found: OutOfRange) -> pd.DataFrame:
    """Those to add first, in their order, then the others by how far they are out."""
    add = {row.digest: (number, row.covered) for number, row in enumerate(found.add)}
    ranked = sorted(found.images, key=lambda image: add.get(image.digest, (len(add), 0.0))[0])
    return pd.DataFrame(
        [
            {
                "image": image.image,
                "alarm": "●" if image.alarm else "",
                "out of range": image.score,
                "clipped %": 100 * image.clipped_share,
                "layers outside": image.outside,
                "to add": add[image.digest][0] + 1 if image.digest in add else None,
                "covers %": 100 * add[image.digest][1] if image.digest in add else None,
                "farthest layer": _layer(image.layers[0].order, image.layers[0].op_kind, image.layers[0].tensor)
                if image.layers
                else "",
            }
            for image in ranked
        ]
    )


def _layer(order: int, kind: str, tensor: str) -> str:
    return f"{order} {kind} {tensor[:80]}"


def zip_of(dataset: Dataset, add: Sequence[Addition]) -> bytes:
    """The image files as they are, in one folder; names from outside become mere names."""
    wanted = {row.digest for row in add}
    names = {row.image for row in add}
    buffer, taken = io.BytesIO(), set[str]()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for image in dataset.images:
            if image.name not in names:
                continue
            try:
                encoded = image.encoded()
            except ImageError:
                continue
            if encoded.digest in wanted:
                archive.writestr(f"calibration/{_free(image.name, taken)}", encoded.data)
    return buffer.getvalue()


def _free(name: str, taken: set[str]) -> str:
    """A file name that is not in the archive yet."""
    plain = PurePosixPath(name.replace("\\", "/")).name.replace("..", "_") or "image"
    found, number = plain, 2
    while found in taken:
        found, number = f"{number}_{plain}", number + 1
    taken.add(found)
    return found
