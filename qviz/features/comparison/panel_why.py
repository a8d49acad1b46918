"""The Overview page: why the worst variant is damaged, and what helps, with a way to each page that says more."""

from __future__ import annotations

import streamlit as st

from qviz.features.comparison.matching import Summary
from qviz.features.comparison.text import is_damaged
from qviz.features.inspection.warning import Warning
from qviz.features.what_if import panel as naming
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import as_text
from qviz.ui import server
from qviz.ui.page import Page

MAX_SENTENCES = 4


def show(here: Page, worst: str, summary: Summary) -> None:
    """Two boxes about the variant with this short name: what its files and experiments have shown, and the cures."""
    models = here.loaded
    warnings = [warning for warning in server.warnings(models) if not warning.advice]
    names = {model.name: models.name(model) for model in models.all}
    why, helps = st.columns(2)
    with why.container(border=True, height="stretch"):
        st.markdown(f"**Why** · {as_text(worst)}")
        for sentence in _reasons(here, worst, summary, warnings, names)[:MAX_SENTENCES]:
            st.text(sentence)
        _link("pages/layers.py", "Find the layer →", f"The layers of {worst}.", worst)
    with helps.container(border=True, height="stretch"):
        st.markdown("**What helps**")
        for sentence in _cures(summary, warnings)[:MAX_SENTENCES]:
            st.text(sentence)
        with st.container(horizontal=True, gap="medium"):
            _link("pages/variants.py", "Build a variant →", "Build, calibrate, rescue or train one.", worst)
            _link("pages/accuracy.py", "Loss of AP →", "AP, its loss by class, and the intervals.", worst)
            _link("pages/report.py", "Report →", "Everything on one page, for the meeting.", worst)


def _reasons(here: Page, worst: str, summary: Summary, warnings: list[Warning], names: dict[str, str]) -> list[str]:
    """What an experiment has shown on this variant, then the warnings, those about it first."""
    variant = here.loaded.variant_named(worst)
    experiment = naming.finished(here, variant) if variant is not None and is_damaged(summary.agreement) else None
    shown = [culprit_sentence(experiment)] if experiment is not None else []
    ordered = sorted(warnings, key=lambda warning: names.get(warning.model) != worst)
    shown += [f"{names[w.model]}: {w.message}" if w.model in names else w.message for w in ordered]
    if shown or not is_damaged(summary.agreement):
        return [text for text in shown if text] or ["No variant is damaged on these images."]
    return [f"Not known yet: no experiment has been made on {worst}."]


def _cures(summary: Summary, warnings: list[Warning]) -> list[str]:
    """The cures of the warnings; else where to look for one."""
    cures = list(dict.fromkeys(warning.cure for warning in warnings if warning.cure))
    if cures:
        return cures
    if is_damaged(summary.agreement):
        return ["Layers finds the operators that bring objects back when they run in float; Variants builds the file."]
    return ["Measure the loss of AP on annotated images before a variant replaces the reference."]


def _link(page: str, label: str, text: str, variant: str) -> None:
    st.page_link(page, label=label, help=as_text(text), query_params={"variant": variant})
