"""The recording of a device on the Layers page: a drop zone for its tensors, and the job that compares them."""

from __future__ import annotations

import streamlit as st

from qviz.context import Context
from qviz.errors import QvizError
from qviz.features.backends.recorded_layers import RecordedLayers, recorded_layers
from qviz.features.detection.models import LoadedModel
from qviz.job import Job
from qviz.structures import digest_of
from qviz.ui import jobs, uploads
from qviz.ui.jobs import Work
from qviz.ui.page import Page

KIND = "recorded"
STATE = "qviz_recording"
"""Session key: (digest, name, bytes) of the file that was dropped last."""


def drop_zone() -> None:
    """Draw the drop zone. Its file stays in the session when the user switches pages, until another is dropped."""
    with uploads.zone_of("recording", "Drop the file that qviz device read --tensors wrote"):
        uploaded = st.file_uploader("Tensors that a device recorded", type=["zip"], key="recording-file")
    if uploaded is not None:
        data = uploaded.getvalue()
        st.session_state[STATE] = digest_of(data), uploaded.name[:100], data


def start(here: Page, variant: LoadedModel) -> Job[RecordedLayers] | None:
    """The job that compares the recording that was dropped with a variant; None if none was dropped."""
    state = st.session_state.get(STATE)
    if state is None:
        return None
    digest, name, data = state
    reference, images = here.loaded.reference, tuple(here.workspace.images)

    def run(context: Context) -> RecordedLayers:
        return recorded_layers(context, reference, variant, images, data, name)

    work = Work(jobs.subject_of(variant.digest, digest), detail=name)
    return jobs.start(KIND, _key(here, variant, digest), run, step=f"Comparing {name}", unit="images", work=work)


def result(here: Page, variant: LoadedModel) -> RecordedLayers | None:
    """The compared recording of a variant; None while it is being compared, or if it does not fit, which is drawn."""
    job = start(here, variant)
    if job is None:
        return None
    if job.finished and isinstance(job.error, QvizError):
        st.text(str(job.error))
        return None
    digest = st.session_state[STATE][0]
    again = jobs.wait(job, "recording", lambda: jobs.forget(KIND, _key(here, variant, digest)))
    return job.future.result() if again else None


def _key(here: Page, variant: LoadedModel, digest: str) -> tuple[object, ...]:
    images = tuple((image.digest, image.name) for image in here.workspace.images)
    return here.loaded.reference.identity, variant.identity, digest, images
