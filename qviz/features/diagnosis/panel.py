"""The diagnosis of one variant, made once in the background for all pages; the Overview's *Why* and *What helps*."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import streamlit as st

from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import MAX_IMAGES, diagnose
from qviz.features.diagnosis.result import Diagnosis
from qviz.features.diagnosis.text import what_helps
from qviz.features.diagnosis.text import why as why_sentence
from qviz.formatting import as_text
from qviz.job import Job
from qviz.structures import EncodedImage
from qviz.structures.dataset import spread
from qviz.ui import clicks, jobs, page
from qviz.ui.page import Page

KIND = "diagnosis"
REFRESH_SECONDS = 1.0


def images_of(here: Page) -> list[EncodedImage]:
    """The images on which a diagnosis is made, the same for every page."""
    return spread(here.workspace.images, MAX_IMAGES)


def can_diagnose(here: Page, variant: LoadedModel) -> bool:
    """Whether the variant and the reference both have layers, and there are images."""
    return bool(here.workspace.images) and variant.layers_available and here.loaded.reference.layers_available


def started(here: Page, variant: LoadedModel) -> Job[Diagnosis]:
    """The diagnosis of a variant, started if there is none."""
    reference, images, score = here.loaded.reference, images_of(here), here.view.score

    def run(context: Context) -> Diagnosis:
        return diagnose(context, reference, variant, images, score=score)

    name = here.loaded.name(variant)
    return jobs.start(KIND, key_of(here, variant), run, f"Diagnosing {name}", work=jobs.Work(detail=name))


def result_of(here: Page, variant: LoadedModel) -> Diagnosis | None:
    """The diagnosis, or its partial result; None if there is none yet. Nothing is started."""
    job = jobs.find(KIND, key_of(here, variant))
    return _result(job) if job is not None else None


def _result(job: Job[Any]) -> Diagnosis | None:
    """The result of a job, which is partial while it runs; None if the job failed or was cancelled."""
    if job.cancelled or job.error is not None:
        return None
    return job.result if isinstance(job.result, Diagnosis) else None


def key_of(here: Page, variant: LoadedModel) -> Hashable:
    """Key of everything on which a diagnosis depends: the two models, the images and the confidence."""
    shown = tuple((image.digest, image.name) for image in images_of(here))
    return here.loaded.reference.identity, variant.identity, shown, here.view.score


def with_short_names(here: Page, text: str) -> str:
    """The sentence with the names that pages show in place of file names.

    The longest file names are replaced first, because one may contain another.
    """
    for model in sorted(here.loaded.all, key=lambda model: -len(model.name)):
        text = text.replace(model.name, here.loaded.name(model))
    return text


def why(here: Page, variant: LoadedModel) -> None:
    """Draw two boxes on the Overview: why this variant loses objects, and what helps, each with a link to the details.

    The diagnosis runs in the background; until an experiment has confirmed a cause, none is named.
    """
    left, right = st.columns(2)
    name = here.loaded.name(variant)
    with left.container(border=True, height="stretch"):
        st.markdown(f"**Why** · {as_text(name)}")
        _why(here, variant)
        page.link("pages/diagnosis.py", "Open diagnosis →", st, variants=(name,))
    with right.container(border=True, height="stretch"):
        st.markdown("**What helps**")
        _what_helps(here, variant)


def _why(here: Page, variant: LoadedModel) -> None:
    if not can_diagnose(here, variant):
        st.text("Only TensorFlow Lite files have layers to examine.")
        return
    job = started(here, variant)
    if job.finished:
        text = why_sentence(_result(job)) or "The diagnosis was stopped."
        st.text(with_short_names(here, text))
    else:
        _wait(job)


def _what_helps(here: Page, variant: LoadedModel) -> None:
    result = result_of(here, variant) if can_diagnose(here, variant) else None
    if result is None or not (result.cures or result.complete):
        st.text("Known once a cause is confirmed.")
    elif sentence := what_helps(result):
        st.text(with_short_names(here, sentence))
        name = here.loaded.name(variant)
        page.link("pages/diagnosis.py", "Build and compare on the Diagnosis page →", st, variants=(name,))
    else:
        st.text("Nothing that qviz can build: see the diagnosis.")


@clicks.fragment(run_every=REFRESH_SECONDS)
def _wait(job: Job[Diagnosis]) -> None:
    if job.finished:
        st.rerun()
    sentence = why_sentence(_result(job))
    st.text(f"{sentence} More is being tried." if sentence else "Being tried: causes are named once confirmed.")
    st.caption(job.progress_text())
