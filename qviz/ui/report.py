"""The Report page: what it asks, and the command that makes the same page from a shell."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from qviz.analysis.reference_truth import unannotated_images
from qviz.analysis.study import Made, Study
from qviz.analysis.study_extras import EXTRAS
from qviz.analysis.study_work import MOST_SHOWN, Wanted
from qviz.analysis.written import as_text
from qviz.report import SECTIONS, available
from qviz.structures import Dataset
from qviz.ui import accuracy_data, clicks, report_choice, report_file, report_job
from qviz.ui.accuracy_data import Source
from qviz.ui.calls import Models
from qviz.ui.page import Page
from qviz.ui.report_choice import Chosen
from qviz.ui.report_job import StudyJob, Work

ASKED = "qviz_report_asked"
NO_AP = "no AP"
USUAL = tuple(name for name in SECTIONS if name not in EXTRAS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page shall hold. source: a key of `accuracy_data.sources`, or NO_AP."""

    source: str
    chosen: Chosen
    shown: tuple[str, ...]
    title: str
    score: float

    def work(self) -> Work:
        """What has to be run for it: notes, title and most sections cost nothing."""
        wanted = Wanted(shown=self.shown, layers="layers" in self.chosen.sections, score=self.score)
        also = tuple(name for name in EXTRAS if name in self.chosen.sections)
        return Work(wanted, self.source != NO_AP, also)


def ask(here: Page) -> Asked | None:
    """The choices and the button; None until it is pressed. What was asked for last is kept for this session."""
    known = {name: source for name, source in accuracy_data.sources(here).items() if not source.reference_as_truth}
    left, right = st.columns(2)
    source = left.segmented_control(
        "Accuracy on",
        [*known, NO_AP],
        default=next(iter(known), NO_AP),
        format_func=lambda name: as_text(known[name].label) if name in known else "no annotations",
        key="report-data",
    )
    title = left.text_input(
        "Title", placeholder="the models' names", max_chars=200, key="report-title", persist_state="session"
    )
    shown = right.multiselect(
        f"Images to show (none: the worst {MOST_SHOWN})",
        [image.name for image in _dataset(here, known.get(source or NO_AP)).images],
        max_selections=MOST_SHOWN,
        key=f"report-images-{source}",
    )
    chosen = report_choice.choose(tuple(SECTIONS), USUAL, key="report", slow=EXTRAS)

    def begin() -> None:
        asked = Asked(source or NO_AP, chosen, tuple(shown), title.strip(), here.view.score)
        st.session_state[ASKED] = _models_key(here), asked

    clicks.button(st, "Make the report", begin, "report-start", disabled=not chosen.sections, type="primary")
    models, kept = st.session_state.get(ASKED, (None, None))
    return kept if models == _models_key(here) and (kept.source in known or kept.source == NO_AP) else None


def forget() -> None:
    """So that nothing is asked for any more: it was stopped."""
    st.session_state.pop(ASKED, None)


def _models_key(here: Page) -> object:
    return tuple(model.identity for model in _models(here).all)


def _models(here: Page) -> Models:
    assert here.models is not None, "pages without a model stop before"
    return here.models


def _dataset(here: Page, source: Source | None) -> Dataset:
    """The annotated images, else those that are loaded."""
    return source.dataset if source is not None else unannotated_images("images", here.workspace.images)


def job(here: Page, asked: Asked) -> StudyJob:
    """The study under way, started once for the server."""
    source = accuracy_data.sources(here).get(asked.source)
    told = source.digest if source is not None else tuple((image.digest, image.name) for image in here.workspace.images)
    made = Made(datetime.date.today().isoformat())
    return report_job.study(_models(here), _dataset(here, source), told, asked.work(), made)


def show(here: Page, asked: Asked, study: Study) -> None:
    """The page of the study, with those of the chosen sections that it has something for."""
    there = available(study)
    sections = tuple(name for name in asked.chosen.sections if name in there)
    notes = tuple((name, text) for name, text in asked.chosen.notes if name in sections)
    if not sections:
        st.info("The study has nothing for the sections that are chosen: accuracy needs annotated images.")
        return
    chosen = Chosen(sections, notes)
    command = _command(here, accuracy_data.sources(here).get(asked.source), asked, chosen)
    report_file.show(report_file.make(study, chosen, asked.title, command), chosen)


def _command(here: Page, source: Source | None, asked: Asked, chosen: Chosen) -> str:
    """The same page from a shell, in a folder that holds these files."""
    sample = here.workspace.is_sample
    words = ["qviz", "report", *(("sample_data/models/" if sample else "") + model.name for model in _models(here).all)]
    usual = tuple(name for name in USUAL if source is not None or name not in ("accuracy", "classes"))
    options: Mapping[str, list[str]] = {
        "--dataset": [("sample_data/" if sample else "") + source.dataset.name] if source is not None else [],
        "--images": [_folder(source) if sample else "IMAGES"],
        "--sections": [",".join(chosen.sections)] if chosen.sections != usual else [],
        "--title": [asked.title] if asked.title else [],
        "--show": list(asked.shown),
        "--score": [f"{asked.score:g}"] if asked.score != Wanted().score else [],
    }
    words += [word for flag, values in options.items() if values for word in (flag, *values)]
    words += [word for name, text in chosen.notes for word in ("--note", f"{name}={text}")]
    return shlex.join([*words, "-o", "report.html"])


def _folder(source: Source | None) -> str:
    return "sample_data/scenes" if source is not None and "scenes" in source.dataset.name else "sample_data/images"
