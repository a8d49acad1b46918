"""The experiment that confirms why a variant loses objects. It is a part of the diagnosis, which all pages share."""

from __future__ import annotations

import streamlit as st

from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import panel as diagnosis
from qviz.features.diagnosis.result import Diagnosis
from qviz.features.what_if import WhatIf
from qviz.job import Job
from qviz.ui import clicks
from qviz.ui.page import Page

REFRESH_SECONDS = 1.0


def finished(here: Page, variant: LoadedModel) -> WhatIf | None:
    """The result of the experiment on a variant; None if there was none or it is not finished."""
    result = diagnosis.result_of(here, variant)
    return None if result is None else result.experiment


def experiment(here: Page, variant: LoadedModel) -> WhatIf | None:
    """Same as `finished`, but starts the diagnosis if there is none, and draws the page again when sets were run."""
    if not diagnosis.can_diagnose(here, variant):
        return None
    job = diagnosis.started(here, variant)
    result = finished(here, variant)
    if result is None and not job.finished:
        _wait(here, job, variant)
    return result


@clicks.fragment(run_every=REFRESH_SECONDS)
def _wait(here: Page, job: Job[Diagnosis], variant: LoadedModel) -> None:
    if job.finished or finished(here, variant) is not None:
        st.rerun()
    st.caption(f"Trying which operators of {here.loaded.name(variant)} in float bring its objects back …")
