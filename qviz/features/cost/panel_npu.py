"""The cost on an NPU, as several pages show it: one choice of the accelerator, one job per model and accelerator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz import optional
from qviz.context import Context
from qviz.errors import ModelError
from qviz.features.cost.npu import ACCELERATORS, NpuCost, npu_cost
from qviz.features.detection.models import LoadedModel
from qviz.formatting import as_text
from qviz.job import Job
from qviz.ui import jobs
from qviz.ui.jobs import Work

KIND, CHOICE = "npu", "npu-accelerator"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of one model; None, with the reason, if Vela does not compile it."""

    cost: NpuCost | None
    reason: str = ""


def choose(
    column: DeltaGenerator, label: str = "Cost on an NPU", none: str = "not estimated", key: str = CHOICE
) -> str:
    """Draw the choice of the accelerator. Returns its name; empty if none is chosen.

    Without another key, it is the same choice on every page.
    """
    if not optional.is_installed("vela"):
        column.caption(as_text(f"Cost on an Arm Ethos-U: {optional.install_command('vela')}"))
        return ""
    chosen = column.selectbox(
        label,
        ["", *ACCELERATORS],
        format_func=lambda name: name or none,
        key=key,
        persist_state="session",
        help="Cycles of each operator on an Arm Ethos-U, estimated by its compiler Vela.",
    )
    return str(chosen or "")


def chosen() -> str:
    """The accelerator that was chosen on any page; empty if none was."""
    return str(st.session_state.get(CHOICE) or "") if optional.is_installed("vela") else ""


def start(model: LoadedModel, accelerator: str) -> Job[Estimate]:
    """The job that estimates the cost of a model."""

    def run(context: Context) -> Estimate:
        try:
            return Estimate(npu_cost(model, accelerator))
        except ModelError as error:
            return Estimate(None, str(error))

    work = Work(jobs.subject_of(model.digest, accelerator), detail=model.name)
    return jobs.start(KIND, (model.digest, accelerator), run, step=f"Compiling for {accelerator}", work=work)


def estimates(models: Iterable[LoadedModel], accelerator: str, name: str) -> dict[str, Estimate] | None:
    """Digest of each model -> its cost. While a model is being estimated, draws the progress and returns None.

    Args:
        name: Name for the keys of buttons, unique on the page.
    """
    if not accelerator:
        return {}
    rows = {model.digest: start(model, accelerator) for model in models if model.layers_available}
    for digest, job in rows.items():
        if not jobs.wait(job, name, lambda digest=digest: jobs.forget(KIND, (digest, accelerator))):  # type: ignore[misc]
            return None
    return {digest: job.future.result() for digest, job in rows.items()}


def known_cost(model: LoadedModel) -> NpuCost | None:
    """The cost of a model on the chosen accelerator if it is estimated already; nothing is started."""
    job = jobs.find(KIND, (model.digest, chosen()))
    if job is None or not job.finished or job.cancelled or job.error is not None:
        return None
    return job.result.cost if isinstance(job.result, Estimate) else None
