"""The tab *Operating point*: precision, recall and false positives at the confidence threshold used in production."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from qviz.chart_style import bracket
from qviz.features.accuracy import panel_tables
from qviz.features.accuracy.measured import operating_at
from qviz.features.accuracy.operating import Operating
from qviz.features.accuracy.operating_at import BEST
from qviz.features.accuracy.panel import Finding
from qviz.features.accuracy.text_operating import operating_sentences, threshold_text
from qviz.formatting import hundred, score
from qviz.structures import Loss


def show(finding: Finding, variant: str) -> None:
    """Draw the sentence on the variant in view, a row per model, and the loss of each class."""
    operating = _operating(finding)
    number = finding.names.index(variant)
    sentences = operating_sentences(operating, finding.names)
    st.text(sentences[number - 1] if len(sentences) >= number else sentences[0])
    left, right = st.columns(2, gap="medium")
    with left:
        panel_tables.show(_models(operating, finding), key="accuracy-operating")
        st.caption("IoU .50, all classes pooled. Precision and recall ×100, higher is better.")
    with right:
        panel_tables.show(_classes(operating, number), key=f"accuracy-operating-{variant}")
        st.caption(
            f"Recall of each class, and what {variant} loses of it; * significant, Holm-corrected over the classes."
            " Needed: the highest confidence at which it has the reference's recall."
        )


def _operating(finding: Finding) -> Operating:
    """All models at the confidence that the user enters; by default at the one of the evaluation."""
    evaluated = finding.evaluation.operating
    best = score(evaluated.threshold) if evaluated is not None else BEST
    chosen = st.number_input(
        "Confidence in use",
        min_value=0.0,
        max_value=1.0,
        value=None,
        step=0.05,
        placeholder=f"{best}: the reference's best F1",
        key="accuracy-at",
        width=260,
    )
    if chosen is None and evaluated is not None:
        return evaluated
    return operating_at(finding.evaluation, finding.source.dataset, BEST if chosen is None else chosen)


def _models(operating: Operating, finding: Finding) -> pd.DataFrame:
    figures = [model.figures for model in operating.models]
    losses = [Loss(None), *(loss.overall.recall for loss in operating.losses)]
    return pd.DataFrame(
        {
            "model": list(finding.names),
            "precision": [hundred(row.precision) for row in figures],
            "recall": [hundred(row.recall) for row in figures],
            "loss": [hundred(loss.value) for loss in losses],
            "interval": [bracket(loss) or None for loss in losses],
            "false per image": [row.false_positives_per_image for row in figures],
        }
    )


def _classes(operating: Operating, number: int) -> pd.DataFrame:
    reference = {row.label: row for row in operating.models[0].per_class}
    variant = {row.label: row for row in operating.models[number].per_class}
    rows = [row for row in operating.losses[number - 1].per_class if reference[row.label].truths]
    return pd.DataFrame(
        {
            "class": [row.label for row in rows],
            "objects": [reference[row.label].truths for row in rows],
            "recall, reference": [hundred(reference[row.label].recall) for row in rows],
            "recall, variant": [hundred(variant[row.label].recall) for row in rows],
            "loss": [hundred(row.recall.value) for row in rows],
            "interval": [(bracket(row.recall) or "") + (" *" if row.recall.significant else "") for row in rows],
            "needed": [threshold_text(row.needed.threshold) for row in rows],
        }
    )
