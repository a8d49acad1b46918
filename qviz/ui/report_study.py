"""A study that was saved, opened: its finding, which of its models are loaded here, and its page."""

from __future__ import annotations

from dataclasses import replace
from html import escape

import streamlit as st

from qviz.analysis.study import Study
from qviz.analysis.study_verdict import findings, headline
from qviz.plots.colours import variant_colour
from qviz.report import available
from qviz.ui import clicks, page, report_choice, report_file, workspace
from qviz.ui.page import Page


def show(here: Page, study: Study) -> None:
    """The finding, a line a variant, the choice of sections, and the page."""
    page.verdict(headline(study), _told(here, study))
    st.html(_findings(study))
    clicks.button(st, "Close this study", _close, "study-close", st.rerun)
    there = available(study)
    chosen = report_choice.choose(there, there, key=f"study-{study.made.images_digest[:12]}")
    if not chosen.sections:
        st.info("Choose a section.")
        return
    report_file.show(report_file.make(study, chosen), chosen)


def _close() -> None:
    workspace.keep(replace(workspace.current(), study=None))


def _told(here: Page, study: Study) -> str:
    """Where it comes from, and whether the other pages can show its models at work."""
    made = f"A saved study, made {study.made.date}" if study.made.date else "A saved study"
    loaded = {model.digest for model in here.models.all} if here.models is not None else set()
    missing = [model.name for model in study.models if model.sha256 not in loaded]
    if not missing:
        return f"{made}. Its models are loaded here: the other pages show them at work."
    if len(missing) == len(study.models):
        return f"{made}. It needs no models; the other pages show what is loaded here, which are others."
    return f"{made}. It needs no models; loaded here are all but {', '.join(missing)}."


def _findings(study: Study) -> str:
    rows = (
        f'<li style="--swatch:{variant_colour(place)}"><b>{escape(found.name)}</b> {escape(found.sentence)}'
        f"{' ' + escape(found.place[:1].upper() + found.place[1:]) + '.' if found.place else ''}</li>"
        for place, found in enumerate(findings(study))
    )
    return f'<ul class="qviz qviz-findings">{"".join(rows)}</ul>'
