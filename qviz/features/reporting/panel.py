"""The Report page: the choices, the study, and the command that makes the same page from a shell.

Only the study takes time to compute. When sections or notes change, the page is made again from the same study.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from dataclasses import dataclass
from functools import partial

import streamlit as st

from qviz.context import Context
from qviz.datasets.files import unannotated_images
from qviz.features.diagnosis import Diagnosis
from qviz.features.diagnosis import panel as diagnosis
from qviz.features.reporting import NEEDS_ANNOTATIONS, panel_study, report_command
from qviz.features.reporting.panel_study import Chosen
from qviz.features.reporting.sections import SECTIONS, available
from qviz.features.reporting.study import Provenance, Study
from qviz.features.reporting.work import EXTRAS, MAX_SHOWN, StudyOptions, make_study, with_extras
from qviz.formatting import as_text
from qviz.structures import Dataset
from qviz.ui import clicks, dataset_choice, jobs, requested
from qviz.ui.dataset_choice import Source
from qviz.ui.jobs import Work
from qviz.ui.page import Page

REQUEST = "qviz_report_request"
NO_AP = "no AP"
OFFERED = tuple(name for name in SECTIONS if name != "video")
"""Sections that the page offers. Only the command line and Python have the section `video`, which needs a file."""
DEFAULT_SECTIONS = tuple(name for name in OFFERED if name not in EXTRAS)


@dataclass(frozen=True, slots=True)
class Request:
    """The choices of the form.

    Attributes:
        source: A key of `dataset_choice.sources`, or NO_AP.
        diagnosed: Digests of the variants that had a diagnosis when the report was requested.
    """

    source: str
    chosen: Chosen
    shown: tuple[str, ...]
    title: str
    score: float
    diagnosed: tuple[str, ...] = ()

    @property
    def options(self) -> StudyOptions:
        """The choices that change the study. Notes, title and most sections only change the page."""
        return StudyOptions(shown=self.shown, layers="layers" in self.chosen.sections, score=self.score)

    @property
    def extras(self) -> tuple[str, ...]:
        """The chosen sections that take minutes."""
        return tuple(name for name in EXTRAS if name in self.chosen.sections)


def request_form(here: Page) -> Request | None:
    """Draw the choices and the button. Returns the project's last request, or None before the first click."""
    sources = {name: source for name, source in dataset_choice.sources(here).items() if not source.reference_as_truth}
    left, right = st.columns(2)
    source = left.segmented_control(
        "Accuracy on",
        [*sources, NO_AP],
        default=next(iter(sources), NO_AP),
        format_func=lambda name: as_text(sources[name].label) if name in sources else "no annotations",
        key="report-data",
        persist_state="session",
        wrap=True,
    )
    title = left.text_input(
        "Title", placeholder="the models' names", max_chars=200, key="report-title", persist_state="session"
    )
    shown = right.multiselect(
        f"Images to show (if none is chosen: the worst {MAX_SHOWN})",
        [image.name for image in _dataset(here, sources.get(source or NO_AP)).images],
        max_selections=MAX_SHOWN,
        key=f"report-images-{source}",
        persist_state="session",
    )
    chosen = panel_study.choose(OFFERED, DEFAULT_SECTIONS, key="report", slow=EXTRAS)

    in_form = Request(source or NO_AP, chosen, tuple(shown), title.strip(), here.view.score, tuple(_diagnoses(here)))
    new = here.loaded.identities, in_form
    if requested.last(REQUEST) is None and jobs.has_result("report", _key(here, in_form)):
        requested.note(REQUEST, new)
    _expected_time(here, _dataset(here, sources.get(source or NO_AP)), chosen)
    clicks.button(
        st,
        "Make the report",
        partial(requested.keep, REQUEST, new),
        "report-start",
        disabled=not chosen.sections,
        type="primary",
    )
    models, request = requested.last(REQUEST) or (None, in_form)
    return request if models == here.loaded.identities and request.source in (*sources, NO_AP) else None


def _expected_time(here: Page, dataset: Dataset, chosen: Chosen) -> None:
    """Draw how long the report takes, if an earlier one was timed."""
    extras = tuple(name for name in EXTRAS if name in chosen.sections)
    work = Work(jobs.subject_of(here.loaded.reference.digest, extras), len(dataset.images) * len(here.loaded.all))
    if time := jobs.expected_time("report", work):
        st.caption(time)


def _dataset(here: Page, source: Source | None) -> Dataset:
    """The annotated images, or else the loaded ones."""
    return source.dataset if source is not None else unannotated_images("images", here.workspace.images)


def _diagnoses(here: Page) -> dict[str, Diagnosis]:
    """Digest of a variant -> its diagnosis, of those that are complete."""
    rows = ((variant.digest, diagnosis.result_of(here, variant)) for variant in here.loaded.variants)
    return {digest: row for digest, row in rows if row is not None and row.complete}


def _key(here: Page, request: Request) -> Hashable:
    """Everything that the study of a request depends on."""
    source = dataset_choice.sources(here).get(request.source)
    images = tuple((image.digest, image.name) for image in here.workspace.images)
    data = source.digest if source is not None else images
    names = tuple(here.loaded.names.values())
    return here.loaded.identities, names, data, request.options, request.extras, request.diagnosed


def study_of(here: Page, request: Request) -> Study | None:
    """The study, or None while it is computed and its progress is shown."""
    source = dataset_choice.sources(here).get(request.source)
    models, dataset = here.loaded.all, _dataset(here, source)
    annotated = dataset if source is not None else None
    provenance = Provenance(datetime.date.today().isoformat())
    diagnoses = {digest: row for digest, row in _diagnoses(here).items() if digest in request.diagnosed}
    diagnosed_on = {image.file_digest for image in diagnosis.images_of(here)}

    def compute(context: Context) -> Study:
        same = diagnoses and diagnosed_on <= {image.encoded().file_digest for image in dataset.images}
        diagnosed = diagnoses if same else {}
        study = make_study(context, models, dataset.images, annotated, request.options, provenance, diagnosed)
        return with_extras(context, study, models, dataset.images, annotated, request.extras)

    work = Work(jobs.subject_of(models[0].digest, request.extras), len(dataset.images) * len(models))
    return jobs.result(
        "report", _key(here, request), compute, "report", step="Comparing objects", unit="images", work=work
    )


def show(here: Page, request: Request, study: Study) -> None:
    """Draw the finished page with its downloads, limited to the chosen sections that have content."""
    sections = tuple(name for name in available(study) if name in request.chosen.sections)
    notes = tuple((name, text) for name, text in request.chosen.notes if name in sections)
    if not sections:
        st.info("The study has nothing for the chosen sections: accuracy needs annotated images.")
        return
    chosen = Chosen(sections, notes)
    command = _command(here, dataset_choice.sources(here).get(request.source), request, chosen)
    panel_study.show_file(panel_study.make(study, chosen, request.title, command), chosen)


def _command(here: Page, source: Source | None, request: Request, chosen: Chosen) -> str:
    """The shell command that makes the same page. It is to be run in a folder that contains the models and images."""
    sample = here.workspace.is_sample
    models = [("sample_data/models/" if sample else "") + model.name for model in here.loaded.all]
    default = tuple(name for name in DEFAULT_SECTIONS if source is not None or name not in NEEDS_ANNOTATIONS)
    options = {
        "dataset": ("sample_data/" if sample else "") + source.dataset.name if source is not None else None,
        "dataset-images" if source is not None else "images": _folder(source) if sample else "IMAGES",
        "sections": ",".join(chosen.sections) if chosen.sections != default else None,
        "title": request.title,
        "show": list(request.shown),
        "score": f"{request.score:g}" if request.score != StudyOptions().score else None,
        "note": [f"{name}={text}" for name, text in chosen.notes],
    }
    return report_command(models, options, "report.html")


def _folder(source: Source | None) -> str:
    return "sample_data/scenes" if source is not None and "scenes" in source.dataset.name else "sample_data/images"
