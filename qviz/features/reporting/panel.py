"""The Report page: what it asks, and the command that makes the same page from a shell.

Studies under way, for all sessions of this server. They go on when the page is left, and can be stopped.

The study is the work; the page is made of it in a moment, so other sections and notes cost no second run.
"""

from __future__ import annotations

import datetime
import shlex
import threading
from collections.abc import Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.cache import LRUCache
from qviz.datasets.files import unannotated_images
from qviz.errors import Cancelled
from qviz.features.reporting import panel_study as report_choice
from qviz.features.reporting import panel_study as report_file
from qviz.features.reporting.html import SECTIONS, available
from qviz.features.reporting.panel_study import Chosen
from qviz.features.reporting.study import Made, Study
from qviz.features.reporting.work import EXTRAS, MOST_SHOWN, Wanted, make_study, with_extras
from qviz.formatting import as_text, duration
from qviz.progress import TimeLeft
from qviz.structures import Dataset
from qviz.ui import clicks, dataset_choice, server
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page
from qviz.ui.server import Models

BEAT = 0.5


@dataclass(frozen=True, slots=True)
class Work:
    """What is run. also: of `EXTRAS`, which take minutes; annotated: whether AP is computed."""

    wanted: Wanted
    annotated: bool
    also: tuple[str, ...] = ()


@dataclass(slots=True, eq=False)
class StudyJob:
    """Looked at by the page, run by a thread of its own."""

    key: Hashable
    work: Work
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Study] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, found: Models, dataset: Dataset, made: Made) -> Study:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        engine, store, annotated = (
            server.engine(),
            server.detection_store(),
            dataset if self.work.annotated else None,
        )
        study = make_study(
            engine, found.all, dataset.images, annotated, self.work.wanted, made, self.report, store=store,
            cancel=self.cancel,
        )  # fmt: skip
        self._left = TimeLeft()
        return with_extras(
            engine, study, found.all, dataset.images, annotated, self.work.also, self.report, store=store,
            cancel=self.cancel,
        )  # fmt: skip

    def report(self, done: int, total: int) -> None:
        if self.cancel.is_set():
            raise Cancelled("The report was stopped.")  # a measurement of latency has no other way out
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def progress(self) -> str:
        """How far it is, and how long it will take."""
        if self.done >= self.total:
            return "Layers, pictures and charts"
        said = f"{self.done} of {self.total} images"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left"

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[StudyJob]:
    return LRUCache(8)


def start_study(found: Models, dataset: Dataset, told: Hashable, work: Work, made: Made) -> StudyJob:
    """Started once for the server. told: what the dataset's bytes are known by."""
    key = tuple(model.identity for model in found.all), told, work

    def start() -> StudyJob:
        job = StudyJob(key, work)
        job.future = server.threads().submit(job.run, found, dataset, made)
        return job

    return _jobs().get(key, start)


@st.fragment(run_every=BEAT)
def wait_for(job: StudyJob) -> None:
    """A bar and a way out until the study is there; then the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="report-cancel")


def settled(job: StudyJob) -> Study | None:
    """The study, or None where it was stopped; raises what made it fail, once: the next look starts anew."""
    if job.future.exception() is not None:
        _jobs().forget(job.key)
    return None if job.stopped else job.future.result()


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
    known = {name: source for name, source in dataset_choice.sources(here).items() if not source.reference_as_truth}
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
    source = dataset_choice.sources(here).get(asked.source)
    told = source.digest if source is not None else tuple((image.digest, image.name) for image in here.workspace.images)
    made = Made(datetime.date.today().isoformat())
    return start_study(_models(here), _dataset(here, source), told, asked.work(), made)


def show(here: Page, asked: Asked, study: Study) -> None:
    """The page of the study, with those of the chosen sections that it has something for."""
    there = available(study)
    sections = tuple(name for name in asked.chosen.sections if name in there)
    notes = tuple((name, text) for name, text in asked.chosen.notes if name in sections)
    if not sections:
        st.info("The study has nothing for the sections that are chosen: accuracy needs annotated images.")
        return
    chosen = Chosen(sections, notes)
    command = _command(here, dataset_choice.sources(here).get(asked.source), asked, chosen)
    report_file.report_file_show(report_file.make(study, chosen, asked.title, command), chosen)


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
