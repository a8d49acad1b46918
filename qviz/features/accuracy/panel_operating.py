"""The tab *Operating point*: precision, recall and false positives at the confidence threshold used in production."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from qviz.chart_style import bracket
from qviz.features.accuracy import panel_tables
from qviz.features.accuracy.measured import operating_at
from qviz.features.accuracy.operating import Operating, OperatingLoss
from qviz.features.accuracy.operating_at import BEST
from qviz.features.accuracy.panel import Finding
from qviz.features.accuracy.text_operating import (
    METHOD_WORDS,
    operating_sentences,
    recovery_sentence,
    threshold_text,
)
from qviz.formatting import hundred, score
from qviz.structures import Loss


def show(finding: Finding, variant: str) -> None:
    """Draw a sentence on the variant in view, a table of the models, and a table of the losses by class."""
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
    _recoveries(operating.losses[number - 1], variant)


def _recoveries(loss: OperatingLoss, variant: str) -> None:
    """Draw how much of the lost F1 another threshold and recalibrated scores recover."""
    rows = loss.recoveries
    if not rows:
        return
    st.text(recovery_sentence(loss, variant) or f"{variant} loses no F1 at this confidence.")
    frame = pd.DataFrame(
        {
            "what is done": [METHOD_WORDS[row.method] for row in rows],
            "needed": [threshold_text(row.threshold) for row in rows],
            "F1": [hundred(row.f1) for row in rows],
            "loss": [hundred(row.loss.value) for row in rows],
            "interval": [bracket(row.loss) or None for row in rows],
            "recovered %": [hundred(row.recovered) for row in rows],
            "precision": [hundred(row.precision) for row in rows],
            "recall": [hundred(row.recall) for row in rows],
            "false per image": [row.false_positives_per_image for row in rows],
            "ECE": [hundred(row.calibration_error) for row in rows],
        }
    )
    panel_tables.show(frame, key=f"accuracy-recoveries-{variant}")
    st.caption(
        "Five parts of the images: each is measured with what the others give. Loss: the reference's F1 minus this one."
        " Recalibrated: scores become the share that is right, for both models, and count from the probability that the"
        " reference has at the confidence in use. Needed: the confidence of the variant that all images give. ECE ×100,"
        " lower is better."
    )


def _operating(finding: Finding) -> Operating:
    """All models at the confidence that the user enters; the default is the confidence of the evaluation."""
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
