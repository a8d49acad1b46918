"""The Report page: what it asks, the job that makes the file, and the download."""

from __future__ import annotations

import datetime
import shlex
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.analysis.reference_truth import unannotated_images
from qviz.analysis.study import Made
from qviz.analysis.study_extras import EXTRAS
from qviz.analysis.study_work import MOST_SHOWN, Wanted, make_study
from qviz.report import SECTIONS, available, render
from qviz.structures import Dataset
from qviz.ui import accuracy_data, calls, evaluations
from qviz.ui.accuracy_data import Source
from qviz.ui.calls import Kept, Models
from qviz.ui.markdown import as_text
from qviz.ui.page import Page

BEAT = 0.5
ASKED = "qviz_report_asked"
NO_AP = "no AP"
PageFile = tuple[bytes, tuple[str, ...]]
OFFERED = tuple(name for name in SECTIONS if name not in EXTRAS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the page shall hold. source: a key of `accuracy_data.sources`, or NO_AP; note: heads the verdict."""

    source: str
    sections: tuple[str, ...]
    shown: tuple[str, ...]
    title: str
    note: str
    score: float


@dataclass(slots=True, eq=False)
class ReportJob:
    """A page under way; what comes is its bytes and its sections."""

    done: int = 0
    total: int = 1
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[PageFile] = field(default_factory=Future)

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total

    def run(self, found: Models, dataset: Dataset, annotated: bool, asked: Asked, made: Made) -> PageFile:
        """In its thread. Raises Cancelled, DatasetError, QvizError."""
        wanted = Wanted(name=asked.title, shown=asked.shown, layers="layers" in asked.sections, score=asked.score)
        study = make_study(
            calls.engine(), found.all, dataset.images, dataset if annotated else None, wanted, made, self.report,
            store=evaluations.kept_detections(), cancel=self.cancel,
        )  # fmt: skip
        there = available(study)
        sections = tuple(name for name in asked.sections if name in there)
        notes = {"verdict": asked.note} if asked.note and "verdict" in sections else {}
        return render(study, sections, notes).encode("utf-8"), sections


@st.cache_resource(show_spinner=False)
def _jobs() -> Kept[ReportJob]:
    return Kept(8)


def ask(here: Page) -> Asked | None:
    """The choices and the button; None until it is pressed. What was asked for last is kept for this session."""
    known = {name: source for name, source in accuracy_data.sources(here).items() if not source.reference_as_truth}
    sections = st.pills(
        "Sections",
        OFFERED,
        selection_mode="multi",
        default=OFFERED,
        format_func=lambda name: SECTIONS[name].title,
        key="report-sections",
    )
    left, right = st.columns(2)
    source = left.segmented_control(
        "Accuracy on",
        [*known, NO_AP],
        default=next(iter(known), NO_AP),
        format_func=lambda name: as_text(known[name].label) if name in known else "no annotations",
        key="report-data",
    )
    shown = right.multiselect(
        f"Images to show (none: the worst {MOST_SHOWN})",
        [image.name for image in _dataset(here, known.get(source or NO_AP)).images],
        max_selections=MOST_SHOWN,
        key=f"report-images-{source}",
    )
    title = left.text_input("Title", placeholder="the models' names", max_chars=200, key="report-title")
    note = right.text_area("A note for the meeting", max_chars=2000, height=100, key="report-note")
    if st.button("Make the report", type="primary", disabled=not sections):
        order = tuple(name for name in OFFERED if name in sections)
        asked = Asked(source or NO_AP, order, tuple(shown), title.strip(), note.strip(), here.view.score)
        st.session_state[ASKED] = _models_key(here), asked
    models, kept = st.session_state.get(ASKED, (None, None))
    return kept if models == _models_key(here) and (kept.source in known or kept.source == NO_AP) else None


def _models_key(here: Page) -> object:
    assert here.models is not None, "pages without a model stop before"
    return tuple(model.identity for model in here.models.all)


def _dataset(here: Page, source: Source | None) -> Dataset:
    """The annotated images, else those that are loaded."""
    return source.dataset if source is not None else unannotated_images("images", here.workspace.images)


def job(here: Page, asked: Asked) -> ReportJob:
    """The page under way, started once for the server."""
    found = here.models
    assert found is not None, "pages without a model stop before"
    source = accuracy_data.sources(here).get(asked.source)
    dataset = _dataset(here, source)
    told = source.digest if source is not None else tuple((image.digest, image.name) for image in here.workspace.images)
    made = Made(datetime.date.today().isoformat(), _command(here, found, source, asked))

    def start() -> ReportJob:
        begun = ReportJob()
        begun.future = calls.threads().submit(begun.run, found, dataset, source is not None, asked, made)
        return begun

    return _jobs().get((_models_key(here), told, asked), start)


def _command(here: Page, found: Models, source: Source | None, asked: Asked) -> str:
    """The same page from a shell, in a folder that holds these files."""
    sample = here.workspace.is_sample
    words = ["qviz", "report", *(("sample_data/models/" if sample else "") + model.name for model in found.all)]
    options: Mapping[str, list[str]] = {
        "--dataset": [("sample_data/" if sample else "") + source.dataset.name] if source is not None else [],
        "--images": [_folder(source) if sample else "IMAGES"],
        "--sections": [",".join(asked.sections)] if asked.sections != OFFERED else [],
        "--note": [f"verdict={asked.note}"] if asked.note else [],
        "--title": [asked.title] if asked.title else [],
        "--show": list(asked.shown),
        "--score": [f"{asked.score:g}"] if asked.score != Wanted().score else [],
    }
    words += [word for flag, values in options.items() if values for word in (flag, *values)]
    return shlex.join([*words, "-o", "report.html"])


def _folder(source: Source | None) -> str:
    return "sample_data/scenes" if source is not None and "scenes" in source.dataset.name else "sample_data/images"


@st.fragment(run_every=BEAT)
def wait_for(job: ReportJob) -> None:
    """A bar until the page is there; then this one is drawn once more."""
    if job.future.done():
        st.rerun()
    said = f"{job.done} of {job.total} images" if job.done < job.total else "Layers, pictures and charts"
    st.progress(min(job.done / max(job.total, 1), 1.0), text=said)


def download(job: ReportJob) -> None:
    """The file and its size; an error becomes its sentence on the page."""
    data, sections = job.future.result()
    st.download_button(
        f"Download the report ({len(data) / 1e6:.3g} MB)", data, "qviz_report.html", "text/html", on_click="ignore"
    )
    st.caption(f"{len(sections)} sections: {', '.join(SECTIONS[name].title for name in sections)}.")
