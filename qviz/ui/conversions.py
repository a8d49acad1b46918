"""SavedModels and Keras files that were dropped: converted in the background while the rest of the page goes on."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from functools import partial

import streamlit as st

from qviz.analysis.models import ModelSource, ready
from qviz.errors import QvizError
from qviz.ui import calls, workspace
from qviz.ui.workspace import Workspace

BEAT = 1.0


@st.cache_resource(show_spinner=False)
def _jobs() -> calls.Kept[Future[list[ModelSource]]]:
    return calls.Kept(16)


def _job(source: ModelSource) -> Future[list[ModelSource]]:
    key = (source.digest, source.said, source.sidecar, source.name)
    return _jobs().get(key, partial(calls.threads().submit, ready, [source]))


def settled(held: Workspace) -> Workspace:
    """The workspace with every finished conversion in its place; one that failed leaves its sentence."""
    for source in held.models:
        if not source.is_ready and _job(source).done():
            rest = tuple(other for other in held.models if other is not source)
            try:
                (made,) = _job(source).result()
                held = replace(held, models=rest).with_models([made])
            except QvizError as error:
                held = replace(held, models=rest).with_notices([str(error)])
    return workspace.keep(held)


def show_pending(held: Workspace) -> None:
    """Name what is being converted, and draw the page anew when one is done."""
    waiting = [source for source in held.models if not source.is_ready]
    if not waiting:
        return

    @st.fragment(run_every=BEAT)
    def look() -> None:
        if any(_job(source).done() for source in waiting):
            st.rerun()
        for source in waiting:
            st.text(f"Converting {source.name} ({source.kind}) to a float32 .tflite; TensorFlow takes about 20 s …")

    look()
