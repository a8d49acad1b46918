"""The parts of the Accuracy page."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from qviz.analysis.average_precision import AveragePrecision, VariantLoss
from qviz.analysis.evaluation import Evaluation
from qviz.structures import Dataset, digest_of
from qviz.ui import calls
from qviz.ui.page import Page

BEAT = 0.5


@st.fragment(run_every=BEAT)
def _waiting(job: calls.EvaluationJob) -> None:
    """A bar until the evaluation is there; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    total = max(job.total, 1)
    st.progress(min(job.done / total, 1.0), text=f"{job.done} of {total} images")


def evaluated(here: Page, dataset: Dataset) -> Evaluation | None:
    """The evaluation, or None while it is under way. Raises DatasetError, QvizError."""
    assert here.models is not None, "pages without a model stop before"
    job = calls.evaluation(here.models, dataset, _digest(dataset))
    if not job.future.done():
        _waiting(job)
        return None
    return job.future.result()


def _digest(dataset: Dataset) -> str:
    """Known by its annotations and the names of its images; their bytes are keyed in the results themselves."""
    rows = [
        (
            image.name,
            image.path,
            image.size,
            digest_of(image.data) if image.data is not None else "",
            image.boxes.tobytes(),
        )
        for image in dataset.images
    ]
    return digest_of(repr((dataset.name, rows, dataset.categories)).encode())


def scores(models: Sequence[AveragePrecision], names: Sequence[str], losses: Sequence[VariantLoss]) -> pd.DataFrame:
    """A row a model; AP x100."""
    lost = [None, *(loss.ap.value for loss in losses)]
    return pd.DataFrame(
        {
            "model": names,
            "AP": [_times100(model.ap) for model in models],
            "loss": [_times100(value) for value in lost],
            "AP50": [_times100(model.ap50) for model in models],
            "AP75": [_times100(model.ap75) for model in models],
            "small": [_times100(model.ap_small) for model in models],
            "medium": [_times100(model.ap_medium) for model in models],
            "large": [_times100(model.ap_large) for model in models],
            "AR": [_times100(model.ar) for model in models],
        }
    )


def class_rows(evaluation: Evaluation, names: Sequence[str]) -> pd.DataFrame:
    """A row a class with truths: AP x100 of each model."""
    shown = [row for row in evaluation.models[0].per_class if row.truths]
    columns: dict[str, list[object]] = {
        "class": [row.label for row in shown],
        "objects": [row.truths for row in shown],
        "images": [row.images for row in shown],
    }
    for name, model in zip(names, evaluation.models, strict=True):
        by_label = {row.label: row.ap for row in model.per_class}
        columns[name] = [_times100(by_label[row.label]) for row in shown]
    return pd.DataFrame(columns)


def show_table(table: pd.DataFrame) -> None:
    """AP with one decimal, losses signed, unknown as a dash."""
    formats = {
        name: st.column_config.NumberColumn(format="%+.1f" if name == "loss" else "%.1f")
        for name in table.columns
        if name not in ("model", "class", "objects", "images")
    }
    st.dataframe(table, hide_index=True, width="stretch", placeholder="–", column_config=formats)


def _times100(value: float | None) -> float | None:
    return None if value is None else 100 * value
