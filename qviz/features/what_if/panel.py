"""The experiment that confirms what a variant loses by, run once in the background for all pages."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import streamlit as st

from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if import NAMING_IMAGES, WhatIf, what_if
from qviz.job import Job
from qviz.structures import EncodedImage
from qviz.structures.dataset import spread
from qviz.ui import jobs
from qviz.ui.page import Page

KIND = "naming"
REFRESH_SECONDS = 1.0


def finished(here: Page, variant: LoadedModel) -> WhatIf | None:
    """What the experiment on a variant found; None where none was made, or it is not finished."""
    job = jobs.find(KIND, _key(here, variant))
    return _result(job) if job is not None else None


def experiment(here: Page, variant: LoadedModel) -> WhatIf | None:
    """As `finished`; starts the experiment where there is none, and draws the page again when it is finished."""
    reference, images, score = here.loaded.reference, _images(here), here.view.score

    def run(context: Context) -> WhatIf:
        return what_if(context, reference, variant, images, score=score, quick=True)

    job = jobs.start(KIND, _key(here, variant), run, step=f"Trying operators of {variant.name} in float")
    if not job.finished:
        _wait(job, here.loaded.name(variant))
    return _result(job)


@st.fragment(run_every=REFRESH_SECONDS)
def _wait(job: Job[WhatIf], name: str) -> None:
    if job.finished:
        st.rerun()
    st.caption(f"Trying which operators of {name} in float bring its objects back …")


def _result(job: Job[Any]) -> WhatIf | None:
    """None while it runs, and where it failed or was cancelled: the pages do without it."""
    if not job.finished or job.cancelled or job.error is not None:
        return None
    result = job.future.result()
    return result if isinstance(result, WhatIf) else None


def _images(here: Page) -> list[EncodedImage]:
    """The same images for every page."""
    return spread(here.workspace.images, NAMING_IMAGES)


def _key(here: Page, variant: LoadedModel) -> Hashable:
    shown = tuple((image.digest, image.name) for image in _images(here))
    return here.loaded.reference.identity, variant.identity, shown, here.view.score
