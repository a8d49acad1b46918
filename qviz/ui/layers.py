"""The parts of the Layers page."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import pandas as pd
import streamlit as st

from qviz.analysis.layer_error import LayerErrors, layer_errors
from qviz.analysis.models import LoadedModel
from qviz.analysis.settings_guess import a_few
from qviz.structures import EncodedImage
from qviz.ui import calls
from qviz.ui.page import Page

BEAT = 0.5


@dataclass(slots=True)
class LayerJob:
    """The layers of one variant under way."""

    total: int
    done: int = 0
    future: Future[LayerErrors] = field(default_factory=Future)

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total


@st.cache_resource(show_spinner=False)
def _jobs() -> calls.Kept[LayerJob]:
    return calls.Kept(32)


def job(here: Page, variant: LoadedModel, images: Sequence[EncodedImage], local_inputs: str) -> LayerJob:
    """The layers of a variant over a few images, started once for the server."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference

    def start() -> LayerJob:
        begun = LayerJob(len(images))
        begun.future = calls.threads().submit(
            layer_errors, calls.engine(), reference, variant, images, local_inputs, begun.report
        )
        return begun

    models = tuple((model.digest, model.settings) for model in (reference, variant))
    return _jobs().get((models, tuple(image.digest for image in images), local_inputs), start)


def images_of(here: Page) -> list[EncodedImage]:
    """The image in view, where there is one, and others spread over those that are loaded."""
    seen = here.workspace.image_named(here.view.image)
    others = [image for image in a_few(here.workspace.images) if seen is None or image.digest != seen.digest]
    return ([seen] if seen is not None else []) + others


@st.fragment(run_every=BEAT)
def wait_for(jobs: Sequence[LayerJob]) -> None:
    """A bar until all are there; then the page is drawn once more."""
    if all(begun.future.done() for begun in jobs):
        st.rerun()
    done, total = sum(begun.done for begun in jobs), sum(begun.total for begun in jobs)
    st.progress(min(done / max(total, 1), 1.0), text=f"{done} of {total} images run, layer by layer")


def table(errors: LayerErrors) -> pd.DataFrame:
    """A row a layer; SQNR in dB, shares in per cent."""
    frame = errors.to_frame()
    return pd.DataFrame(
        {
            "order": frame["order"],
            "operator": frame["op_kind"],
            "local dB": frame["local_sqnr_db"],
            "cumulative dB": frame["cumulative_sqnr_db"],
            "fall dB": frame["fall_db"],
            "RMSE/scale": frame["local_rmse_over_scale"],
            "clipped %": frame["clipped_share"].astype(float) * 100,
            "weights dB": frame["weight_sqnr_db"],
            "worst image": frame["worst_image"],
            "tensor": frame["tensor"],
        }
    )


def show_table(errors: LayerErrors, name: str) -> None:
    """The table, and the whole of it as CSV."""
    formats = {column: st.column_config.NumberColumn(format="%.1f") for column in FORMATTED}
    formats["RMSE/scale"] = st.column_config.NumberColumn(format="%.2f")
    st.dataframe(table(errors), hide_index=True, width="stretch", placeholder="–", column_config=formats)
    st.download_button(
        "CSV of all figures", errors.to_frame().to_csv(index=False), f"layers_{name}.csv", "text/csv", on_click="ignore"
    )


FORMATTED = ("local dB", "cumulative dB", "fall dB", "clipped %", "weights dB")
