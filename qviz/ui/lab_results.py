"""What a calibration lab found: the curve, the mistakes, how steady ranges are, which images matter."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from qviz.analysis import written
from qviz.analysis.calibration_figures import CalibrationLab, Tried
from qviz.analysis.calibration_verdict import (
    add_sentence,
    mismatch_sentence,
    outlier_sentence,
    stability_sentence,
    title,
)
from qviz.plots.calibration_lab import calibration_curve, layer_changes, mistake_bars, steadiness
from qviz.structures import Dataset
from qviz.ui import robustness_images
from qviz.ui.lab_choice import note

POINTS = st.column_config.NumberColumn(format="%.1f", width="small")
SHARE = st.column_config.NumberColumn(format="percent", width="small")


def reminder(found: CalibrationLab) -> str:
    """What the figures stand on."""
    what = (
        "AP (pycocotools), ×100, higher is better"
        if found.annotated
        else "Nothing is annotated: agreement with the reference, ×100"
    )
    return (
        f"{found.source}, {found.recipe}, {found.method}; {found.dataset}: {found.judged} images. {what}. In brackets:"
        f" 95% interval over those images. The ranges of {found.images} images took {found.seconds:.1f} s."
    )


def show(found: CalibrationLab, data: Dataset, colour: str) -> None:
    """Section by section; sentences first."""
    for sentence in found.skipped:
        st.text(sentence)
    st.subheader("How many images")
    st.plotly_chart(calibration_curve(found, colour), width="stretch", key="lab-curve")
    with st.expander("Every draw"):
        _table([row for point in found.curve for row in point.tried], found, "lab-draws-table")
    _mistakes(found, colour)
    _steadiness(found, colour)
    _images(found, data)


def _mistakes(found: CalibrationLab, colour: str) -> None:
    left_out = (found.without_outliers,) if found.without_outliers is not None else ()
    rows = (*found.mismatch, *found.methods, *left_out)
    if rows:
        st.subheader("Which images, and how they are prepared")
        note(mismatch_sentence(found))
        st.plotly_chart(mistake_bars(found, rows, colour), width="stretch", key="lab-mistakes")
        st.caption(
            "Extra: lost beyond calibrations on as many matching images, or on enough of them. Faded: may be chance."
            " Whiskers: 95% interval."
        )
        _table(rows, found, "lab-mistakes-table")


def _table(rows: Sequence[Tried], found: CalibrationLab, key: str) -> None:
    measure = f"{found.measure} ×100"
    frame = pd.DataFrame(
        [
            {
                "calibration": title(row),
                "images": row.images,
                measure: _hundred(found.value(row)),
                "loss": _hundred(row.loss.value),
                "loss, interval": written.interval(row.loss.low, row.loss.high),
                "extra": _hundred(row.extra.value),
                "extra, interval": written.interval(row.extra.low, row.extra.high),
                "what was done": row.refused or row.told,
            }
            for row in rows
        ]
    )
    columns = {
        measure: POINTS, "loss": POINTS, "extra": POINTS,
        "images": st.column_config.NumberColumn(width="small"),
        "what was done": st.column_config.TextColumn(width="large"),
    }  # fmt: skip
    st.dataframe(frame, hide_index=True, width="stretch", placeholder="–", column_config=columns, key=key)


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _steadiness(found: CalibrationLab, colour: str) -> None:
    steady = found.stability
    st.subheader("Are the ranges steady?")
    note(stability_sentence(found))
    if steady is None:
        return
    st.plotly_chart(steadiness(steady, colour), width="stretch", key="lab-steady")
    if steady.changed:
        st.plotly_chart(layer_changes(steady.changed, colour), width="stretch", key="lab-layers")


def _images(found: CalibrationLab, data: Dataset) -> None:
    if found.outliers:
        st.subheader("Images that widen the ranges")
        note(outlier_sentence(found))
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
                for row in found.outliers
            ]
        )
        columns = {
            "widens by": st.column_config.NumberColumn(format="percent", width="small", help="Mean over the layers."),
            "clipped %": st.column_config.NumberColumn(
                format="%.4f", width="small", help="Share of its activations outside of all other images' ranges."
            ),
            "times": st.column_config.NumberColumn(
                format="%.2f", width="small", help="As wide as without it: the layer that it widens most."
            ),
            "layers": st.column_config.NumberColumn(width="small"),
        }
        st.dataframe(frame, hide_index=True, width="stretch", height=260, column_config=columns, key="lab-outliers")
    if found.add:
        st.subheader("Images to add")
        note(add_sentence(found))
        archive = robustness_images.zip_of(data, found.add)
        label = f"Download {len(found.add)} images to add to the calibration (zip)"
        st.download_button(label, archive, "calibration_images.zip", "application/zip", key="lab-zip")
