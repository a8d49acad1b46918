"""The tables of the Accuracy page: AP x100 with one decimal, losses signed, unknown as a dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from qviz.chart_style import bracket
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import ClassLoss
from qviz.features.accuracy.confusion import Confusion
from qviz.features.accuracy.thresholds import ClassThreshold, ThresholdShift
from qviz.structures import Loss
from qviz.ui import glossary
from qviz.ui import glossary as columns

FORMATS = {"loss": "%+.1f", "threshold": "%.2f", "reference's": "%.2f", "own": "%.2f", "change": "%+d"}
WORDS = ("model", "variant", "class", "interval", "significant", "object", "taken for")
COUNTS = ("objects", "images", "reference", "now")


def show(table: pd.DataFrame, key: str | None = None) -> None:
    """With the page's number formats."""
    formats = {name: FORMATS.get(name, "%.1f") for name in table.columns if name not in (*WORDS, *COUNTS)}
    told: dict[str, ColumnConfig] = {
        name: st.column_config.Column(help=glossary.meaning(name)) for name in table.columns if name in WORDS
    }
    st.dataframe(
        table, hide_index=True, width="stretch", placeholder="–", key=key, column_config=told | columns.numbers(formats)
    )


def scores(evaluation: Evaluation, names: Sequence[str]) -> pd.DataFrame:
    """A row a model."""
    models, losses = evaluation.models, [Loss(None), *(loss.ap for loss in evaluation.losses)]
    figures = ("AP50", "AP75", "small", "medium", "large", "AR")
    columns: dict[str, list[object]] = {
        "model": list(names),
        "AP": [times100(model.ap) for model in models],
        "loss": [times100(loss.value) for loss in losses],
        "interval": [bracket(loss) or None for loss in losses],
    }
    for place, name in enumerate(figures, start=1):
        columns[name] = [times100(model.figures()[place]) for model in models]
    return pd.DataFrame(columns)


def class_rows(evaluation: Evaluation, names: Sequence[str]) -> pd.DataFrame:
    """A row a class with truths: AP of each model."""
    shown = [row for row in evaluation.models[0].per_class if row.truths]
    columns: dict[str, list[object]] = {
        "class": [row.label for row in shown],
        "objects": [row.truths for row in shown],
        "images": [row.images for row in shown],
    }
    for name, model in zip(names, evaluation.models, strict=True):
        by_label = {row.label: row.ap for row in model.per_class}
        columns[name] = [times100(by_label[row.label]) for row in shown]
    return pd.DataFrame(columns)


def one_class(
    evaluation: Evaluation,
    names: Sequence[str],
    losses: Mapping[str, ClassLoss],
    thresholds: Mapping[str, ClassThreshold],
) -> pd.DataFrame:
    """A row a model, of one class; losses, thresholds: by the variants' names."""
    label = next(iter(losses.values())).label
    by_label = [next(row for row in model.per_class if row.label == label) for model in evaluation.models]
    lost = [None, *(losses[name].loss for name in names[1:])]
    cuts = [next(iter(thresholds.values())).reference, *(thresholds[name].variant for name in names[1:])]
    return pd.DataFrame(
        {
            "model": list(names),
            "AP": [times100(row.ap) for row in by_label],
            "loss": [times100(loss.value) if loss else None for loss in lost],
            "interval": [(bracket(loss) or None) if loss else None for loss in lost],
            "threshold": [cut.score for cut in cuts],
        }
    )


def threshold_rows(shifts: Mapping[str, ThresholdShift], reference: str) -> pd.DataFrame:
    """A row a model: the best threshold, F1 there, F1 at the reference's, and what moving brings back, in percent."""
    first = next(iter(shifts.values())).reference
    own = {"model": reference, "threshold": first.score, "F1": times100(first.f1)}
    rows: list[dict[str, object]] = [{**own, "F1 unmoved": None, "recovered %": None}]
    for name, shift in shifts.items():
        rows.append(
            {
                "model": name,
                "threshold": shift.variant.score,
                "F1": times100(shift.variant.f1),
                "F1 unmoved": times100(shift.variant_f1_unmoved),
                "recovered %": times100(shift.recovered),
            }
        )
    return pd.DataFrame(rows)


def class_thresholds(shift: ThresholdShift) -> pd.DataFrame:
    """A row a class: best thresholds of both, and the variant's F1 unmoved and moved."""
    return pd.DataFrame(
        {
            "class": [row.label for row in shift.per_class],
            "objects": [row.truths for row in shift.per_class],
            "reference's": [row.reference.score for row in shift.per_class],
            "own": [row.variant.score for row in shift.per_class],
            "F1, reference": [times100(row.reference.f1) for row in shift.per_class],
            "F1 unmoved": [times100(row.variant_f1_unmoved) for row in shift.per_class],
            "F1 moved": [times100(row.variant.f1) for row in shift.per_class],
        }
    )


def confusion_rows(rows: Sequence[Confusion]) -> pd.DataFrame:
    """What objects are taken for: how often by the reference, and now by the variant."""
    return pd.DataFrame(
        {
            "object": [row.truth or "(none: false alarm)" for row in rows],
            "taken for": [row.seen or "(nothing: missed)" for row in rows],
            "reference": [row.reference for row in rows],
            "now": [row.variant for row in rows],
            "change": [row.change for row in rows],
        }
    )


def times100(value: float | None) -> float | None:
    """None stays None."""
    return None if value is None else 100 * value
