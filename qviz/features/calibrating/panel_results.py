"""The results of the calibration lab: the curve, the mistakes, how stable the ranges are, which images matter."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from qviz import formatting
from qviz.features.calibrating.plot import calibration_curve, layer_changes, mistake_bars, stability_curve
from qviz.features.calibrating.result import CalibrationLab, Tried
from qviz.features.calibrating.text import (
    additions_sentence,
    mismatch_sentence,
    outlier_sentence,
    stability_sentence,
    title,
)
from qviz.features.corruption_sweep.panel_images import download_additions
from qviz.structures import Dataset
from qviz.ui import page

POINTS = st.column_config.NumberColumn(format="%.1f", width="small")


def basis(lab: CalibrationLab) -> str:
    """What was measured, and on what."""
    value = (
        "AP (pycocotools), ×100, higher is better"
        if lab.annotated
        else "No annotations: agreement with the reference, ×100"
    )
    return (
        f"{lab.source}, {lab.recipe}, {lab.method}; {lab.dataset}: {formatting.plural(lab.evaluated_images, 'image')}."
        f" {value}. In brackets: 95% interval over these images. Measuring the ranges of"
        f" {formatting.plural(lab.images, 'calibration image')} took {lab.seconds:.1f} s."
    )


def show(lab: CalibrationLab, dataset: Dataset, colour: str) -> None:
    """Section by section, sentences first. colour: of the variants."""
    for sentence in lab.skipped:
        st.text(sentence)
    st.subheader("How many images")
    st.plotly_chart(calibration_curve(lab, colour), width="stretch", key="lab-curve")
    with st.expander("Every draw"):
        _table([row for point in lab.curve for row in point.tried], lab, "lab-draws-table")
    _mistakes(lab, colour)
    _stability(lab, colour)
    _images(lab, dataset)


def _mistakes(lab: CalibrationLab, colour: str) -> None:
    rows = lab.other_calibrations
    if rows:
        st.subheader("Which images, and how they are prepared")
        page.small_text(mismatch_sentence(lab))
        st.plotly_chart(mistake_bars(lab, rows, colour), width="stretch", key="lab-mistakes")
        st.caption(
            "Extra: lost beyond calibrations on as many matching images, or on enough of them. Faded: not significant."
            " Whiskers: 95% interval."
        )
        _table(rows, lab, "lab-mistakes-table")


def _table(rows: Sequence[Tried], lab: CalibrationLab, key: str) -> None:
    measure = f"{lab.measure} ×100"
    frame = pd.DataFrame(
        [
            {
                "calibration": title(row),
                "images": row.images,
                measure: formatting.hundred(lab.value(row)),
                "loss": formatting.hundred(row.loss.value),
                "loss, interval": formatting.interval(row.loss.low, row.loss.high),
                "extra": formatting.hundred(row.extra.value),
                "extra, interval": formatting.interval(row.extra.low, row.extra.high),
                "what was done": row.refused or row.description,
            }
            for row in rows
        ]
    )
    columns = dict.fromkeys((measure, "loss", "extra"), POINTS) | {
        "images": st.column_config.NumberColumn(width="small"),
        "what was done": st.column_config.TextColumn(width="large"),
    }
    st.dataframe(frame, hide_index=True, width="stretch", placeholder="–", column_config=columns, key=key)


def _stability(lab: CalibrationLab, colour: str) -> None:
    stability = lab.stability
    st.subheader("Are the ranges stable?")
    page.small_text(stability_sentence(lab))
    if stability is None:
        return
    st.plotly_chart(stability_curve(stability, colour), width="stretch", key="lab-steady")
    if stability.changed:
        st.plotly_chart(layer_changes(stability.changed, colour), width="stretch", key="lab-layers")


def _images(lab: CalibrationLab, dataset: Dataset) -> None:
    if lab.outliers:
        st.subheader("Images that widen the ranges")
        page.small_text(outlier_sentence(lab))
        frame = pd.DataFrame(
            [
                {
                    "image": row.image,
                    "widens by": row.widening,
                    "layers": row.layers,
                    "times": row.times,
                    "clipped %": 100 * row.clipped_share,
                    "layer": row.tensor[:80],
                }
                for row in lab.outliers
            ]
        )
        columns = {
            "widens by": st.column_config.NumberColumn(format="percent", width="small", help="Mean over the layers."),
            "clipped %": st.column_config.NumberColumn(
                format="%.4f", width="small", help="Share of its activations outside the ranges of all other images."
            ),
            "times": st.column_config.NumberColumn(
                format="%.2f",
                width="small",
                help="How many times wider the range of the most affected layer gets because of this image.",
            ),
            "layers": st.column_config.NumberColumn(width="small"),
        }
        st.dataframe(frame, hide_index=True, width="stretch", height=260, column_config=columns, key="lab-outliers")
    if lab.add:
        st.subheader("Images to add")
        page.small_text(additions_sentence(lab))
        download_additions(dataset, lab.add, "calibration_images.zip", "lab-zip")
