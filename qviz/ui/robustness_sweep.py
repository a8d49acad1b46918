"""The sweep of the Robustness page: what is swept, the wait for it, and its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import streamlit as st

from qviz.analysis.robustness import Robustness
from qviz.analysis.robustness_report import RobustnessReport
from qviz.corruptions import CORRUPTIONS, SEVERITIES
from qviz.errors import QvizError
from qviz.plots.colours import REFERENCE, variant_colour
from qviz.plots.robustness import severity_curves
from qviz.ui import accuracy_data, clicks, layers, page, robustness_job
from qviz.ui.accuracy_data import Source
from qviz.ui.page import Page
from qviz.ui.robustness_job import Asked, SweepJob
from qviz.ui.robustness_kinds import title

BEAT = 0.5
ASKED = "qviz_robustness_asked"
USUAL = ("exposure_down", "contrast", "glare", "night")
SEVERITIES_USUAL = (1, 3, 5)
IMAGES_USUAL = 12


@dataclass(frozen=True, slots=True, eq=False)
class Finding:
    """A sweep that is done, what was asked, and how its models are named and coloured, by the files' names."""

    report: RobustnessReport
    asked: Asked
    source: Source
    names: dict[str, str]
    colours: dict[str, str]


def sources(here: Page) -> dict[str, Source]:
    """What can be swept, by digest; the sample's scenes first: they have enough objects for intervals."""
    known = accuracy_data.sources(here)
    order = sorted(known, key=lambda name: ("scenes", "annotations", accuracy_data.REFERENCE).index(name))
    return {known[name].digest: known[name] for name in order}


def ask(here: Page, known: dict[str, Source]) -> tuple[Source, Asked | None]:
    """The form. The data, and what was asked last of it, if anything."""
    assert here.models is not None, "pages without a model stop before"
    found = here.models
    names = [found.name(variant) for variant in found.variants]
    first, second, third = st.columns([3, 4, 2], vertical_alignment="bottom")
    digest = first.selectbox(
        "On", list(known), format_func=lambda name: known[name].label, key="robustness-source",
        help="AP where objects are annotated; else agreement with what the reference finds on the clean images.",
    )  # fmt: skip
    source = known[digest] if digest in known else next(iter(known.values()))
    most = len(source.dataset.images)
    variants = second.pills(
        "Variants",
        names,
        selection_mode="multi",
        default=layers.usual(found, here.view.variants),
        key="robustness-variants",
        wrap=True,
    )
    images = third.number_input(
        "Images", 1, most, min(IMAGES_USUAL, most), key=f"robustness-images-{most}", help=f"Evenly out of {most}."
    )
    left, middle, right = st.columns([6, 2, 1], vertical_alignment="bottom")
    corruptions = left.multiselect(
        "Corruptions", list(CORRUPTIONS), default=list(USUAL), format_func=title, key="robustness-corruptions"
    )
    severities = middle.pills(
        "Severities", list(SEVERITIES), selection_mode="multi", default=list(SEVERITIES_USUAL), key="robustness-levels"
    )

    def begin() -> None:
        order = tuple(sorted(severities))
        st.session_state[ASKED] = Asked(source.digest, int(images), tuple(corruptions), order, tuple(variants or ()))

    told = _size(images, corruptions, severities)
    empty = not (corruptions and severities)
    clicks.button(right, "Run", begin, "robustness-run", disabled=empty, type="primary", width="stretch", help=told)
    asked: Asked | None = st.session_state.get(ASKED)
    return (known[asked.source], asked) if asked is not None and asked.source in known else (source, None)


def _size(images: int, corruptions: list[str], severities: list[int]) -> str:
    return f"{images * (1 + len(corruptions) * len(severities))} shifted images for each model."


def swept(here: Page, source: Source, asked: Asked) -> Finding | None:
    """The sweep, or None while it is under way or where it was stopped."""
    assert here.models is not None, "pages without a model stop before"
    job = robustness_job.sweep(here.models, source, asked)
    if not job.future.done():
        _waiting(here, job)
        return None
    error = job.future.exception()
    if isinstance(error, QvizError):
        st.text("The sweep was stopped; what was detected so far is kept." if job.stopped else str(error))
        again = partial(robustness_job.begin_anew, here.models, asked)
        clicks.button(st, "Go on" if job.stopped else "Try again", again, "robustness-again", st.rerun)
        return None
    found = job.future.result()
    return Finding(found, asked, source, *_shown(here, found.sweep))


def _shown(here: Page, found: Robustness) -> tuple[dict[str, str], dict[str, str]]:
    """Short names and colours by the models' names."""
    assert here.models is not None, "pages without a model stop before"
    names = {model.name: here.models.name(model) for model in here.models.all}
    colours = {variant.name: variant_colour(i) for i, variant in enumerate(here.models.variants)}
    colours = {here.models.reference.name: REFERENCE, **colours}
    for number, name in enumerate(found.models):  # two files of one name
        names.setdefault(name, name)
        colours.setdefault(name, variant_colour(number))
    return names, colours


@st.fragment(run_every=BEAT)
def _waiting(here: Page, job: SweepJob) -> None:
    """A bar and what is known so far; when all is there the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="robustness-cancel")
    found = job.partial
    if found is not None and found.corruptions:
        names, colours = _shown(here, found)
        figure = severity_curves(found, names, colours)
        st.plotly_chart(figure, width="stretch", key=f"robustness-partial-{len(found.corruptions)}")


def reminder(finding: Finding) -> str:
    """What the figures stand on."""
    found = finding.report.sweep
    what = (
        "AP (pycocotools), ×100, higher is better"
        if found.annotated
        else "Nothing is annotated: agreement with what the reference finds on the clean images, ×100"
    )
    return f"{found.dataset}: {found.images} images. {what}. Bands and brackets: 95% interval over the images."


def headline(finding: Finding) -> None:
    """The finding in a sentence, and what it stands on."""
    from qviz.analysis.robustness_verdict import robustness_verdict

    page.verdict(robustness_verdict(finding.report.sweep, finding.names), reminder(finding))
