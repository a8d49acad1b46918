"""The tables of the Accuracy page: AP x100 with one decimal, losses with a sign, unknown values as a dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.elements.lib.column_types import ColumnConfig

from qviz.chart_style import bracket
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import TABLE_METRICS, ClassLoss
from qviz.features.accuracy.confusion import Confusion
from qviz.features.accuracy.shapes import ShapeAccuracy
from qviz.features.accuracy.thresholds import ClassThreshold, ThresholdShift
from qviz.formatting import hundred
from qviz.structures import Loss
from qviz.ui import glossary

FORMATS = {
    "loss": "%+.1f",
    "more": "%+.1f",
    "threshold": "%.2f",
    "reference's": "%.2f",
    "own": "%.2f",
    "change": "%+d",
    "false per image": "%.2f",
}
TEXT_COLUMNS = (
    "model",
    "variant",
    "class",
    "interval",
    "significant",
    "object",
    "taken for",
    "needed",
    "slice",
    "interval of more",
    "what is done",
)
COUNTS = ("objects", "images", "reference", "now")


def show(table: pd.DataFrame, key: str | None = None, **options: Any) -> Any:
    """Draw a table with the number formats and help texts of this page, and return its selection."""
    formats = {name: FORMATS.get(name, "%.1f") for name in table.columns if name not in (*TEXT_COLUMNS, *COUNTS)}
    texts: dict[str, ColumnConfig] = {
        name: st.column_config.Column(help=glossary.meaning(name)) for name in table.columns if name in TEXT_COLUMNS
    }
    return glossary.table(table, formats, columns=texts, key=key, **options)


def scores(evaluation: Evaluation, names: Sequence[str]) -> pd.DataFrame:
    """One row per model: AP, its loss, and the other metrics."""
    first, *rest = TABLE_METRICS
    losses = [Loss(None), *(loss.ap for loss in evaluation.losses)]
    columns: dict[str, list[object]] = {
        "model": list(names),
        first.label: [first.shown(model) for model in evaluation.models],
        "loss": [hundred(loss.value) for loss in losses],
        "interval": [bracket(loss) or None for loss in losses],
    }
    columns |= {metric.label: [metric.shown(model) for model in evaluation.models] for metric in rest}
    return pd.DataFrame(columns)


def shape_scores(row: ShapeAccuracy, names: Sequence[str]) -> pd.DataFrame:
    """One row per model: AP of its keypoints or masks, its loss, and the other metrics."""
    first, *rest = row.metrics
    losses = [Loss(None), *(Loss(None) if loss is None else loss.ap for loss in row.losses)]
    columns: dict[str, list[object]] = {
        "model": list(names),
        first.label: [None if model is None else first.shown(model) for model in row.models],
        "loss": [hundred(loss.value) for loss in losses],
        "interval": [bracket(loss) or None for loss in losses],
    }
    columns |= {
        metric.label: [None if model is None else metric.shown(model) for model in row.models] for metric in rest
    }
    return pd.DataFrame(columns)


def class_rows(evaluation: Evaluation, names: Sequence[str]) -> pd.DataFrame:
    """One row per class that has objects, with the AP of each model."""
    shown = [row for row in evaluation.models[0].per_class if row.truths]
    columns: dict[str, list[object]] = {
        "class": [row.label for row in shown],
        "objects": [row.truths for row in shown],
        "images": [row.images for row in shown],
    }
    for name, model in zip(names, evaluation.models, strict=True):
        by_label = {row.label: row.ap for row in model.per_class}
        columns[name] = [hundred(by_label[row.label]) for row in shown]
    return pd.DataFrame(columns)


def one_class(
    evaluation: Evaluation,
    names: Sequence[str],
    losses: Mapping[str, ClassLoss],
    thresholds: Mapping[str, ClassThreshold],
) -> pd.DataFrame:
    """The table of one class, with one row per model. `losses` and `thresholds` are keyed by the variants' names."""
    label = next(iter(losses.values())).label
    by_label = [next(row for row in model.per_class if row.label == label) for model in evaluation.models]
    class_losses = [None, *(losses[name].loss for name in names[1:])]
    best = [next(iter(thresholds.values())).reference, *(thresholds[name].variant for name in names[1:])]
    return pd.DataFrame(
        {
            "model": list(names),
            "AP": [hundred(row.ap) for row in by_label],
            "loss": [hundred(loss.value) if loss else None for loss in class_losses],
            "interval": [(bracket(loss) or None) if loss else None for loss in class_losses],
            "threshold": [threshold.score for threshold in best],
        }
    )


def threshold_rows(shifts: Mapping[str, ThresholdShift], reference: str) -> pd.DataFrame:
    """One row per model: best threshold, F1 there, F1 at the reference's threshold, and the share that is recovered."""
    first = next(iter(shifts.values())).reference
    reference_row = {"model": reference, "threshold": first.score, "F1": hundred(first.f1)}
    rows: list[dict[str, object]] = [{**reference_row, "F1 unmoved": None, "recovered %": None}]
    for name, shift in shifts.items():
        rows.append(
            {
                "model": name,
                "threshold": shift.variant.score,
                "F1": hundred(shift.variant.f1),
                "F1 unmoved": hundred(shift.variant_f1_unmoved),
                "recovered %": hundred(shift.recovered),
            }
        )
    return pd.DataFrame(rows)


def class_thresholds(shift: ThresholdShift) -> pd.DataFrame:
    """One row per class: the best thresholds of both models, and the variant's F1 at each of them."""
    return pd.DataFrame(
        {
            "class": [row.label for row in shift.per_class],
            "objects": [row.truths for row in shift.per_class],
            "reference's": [row.reference.score for row in shift.per_class],
            "own": [row.variant.score for row in shift.per_class],
            "F1, reference": [hundred(row.reference.f1) for row in shift.per_class],
            "F1 unmoved": [hundred(row.variant_f1_unmoved) for row in shift.per_class],
            "F1 moved": [hundred(row.variant.f1) for row in shift.per_class],
        }
    )


def confusion_rows(rows: Sequence[Confusion]) -> pd.DataFrame:
    """One row per pair of annotated and detected class, with the counts of the reference and of the variant."""
    return pd.DataFrame(
        {
            "object": [row.truth or "(none: false alarm)" for row in rows],
            "taken for": [row.detected or "(nothing: missed)" for row in rows],
            "reference": [row.reference for row in rows],
            "now": [row.variant for row in rows],
            "change": [row.change for row in rows],
        }
    )
