"""Rescue in the browser: a budget, the search shown as it runs, and its best result at every moment."""

from __future__ import annotations

import json
from pathlib import PurePath

import pandas as pd
import streamlit as st

from qviz.analysis import written
from qviz.analysis.rescue import AP, Rescue, Tried
from qviz.analysis.rescue_recipe import command, needs_images, recipe_json
from qviz.analysis.rescue_verdict import rescue_verdict
from qviz.errors import QvizError
from qviz.plots.rescue import rescue_scatter
from qviz.quantize import recipe_of
from qviz.ui import build, clicks, page, rescue_form, rescue_job, workspace
from qviz.ui.page import Page
from qviz.ui.rescue_job import RescueJob

ASKED = "qviz_rescue_asked"
BEAT = 0.8
IMAGES = "CALIBRATION_IMAGES"
"""Stands in the command for a folder that the browser does not know."""


def show(here: Page) -> None:
    """The form, the search as it runs, what came of it."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    place = st.container()
    try:
        said = rescue_form.form(here)
    except QvizError as error:
        st.text(str(error))
        return
    asked: tuple[str, RescueJob] | None = st.session_state.get(ASKED)
    job = asked[1] if asked is not None and asked[0] == reference.digest else None
    if said is not None:
        if said.refusal:
            st.text(said.refusal)
        busy = job is not None and not job.future.done()

        def begin() -> None:
            begun = rescue_job.start(reference, said.asked, said.images, said.dataset)
            st.session_state[ASKED] = reference.digest, begun

        waits = bool(said.refusal) or busy
        clicks.button(st, "Search", begin, "rescue-start", st.rerun, disabled=waits, type="primary")
    if job is not None and job.future.done():
        _ended(job)
    elif job is not None:
        _running(job)
    else:
        with place:
            page.verdict(
                "Find the smallest or fastest variant that keeps a budget.",
                "Recipes and layers kept in float, each built and measured on one half of the images, reported on the"
                " other.",
            )


@st.fragment(run_every=BEAT)
def _running(job: RescueJob) -> None:
    """How far it is, and what is known so far; at its end the page is drawn once more."""
    if job.future.done():
        st.rerun()
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = job.cancel.is_set()
    left.progress(min(job.done / max(job.total, 1), 1.0), text="Stopping" if stopping else job.progress())
    right.button("Cancel", on_click=job.cancel.set, disabled=stopping, width="stretch", key="rescue-cancel")
    if job.partial is not None:
        _show(job.partial)


def _ended(job: RescueJob) -> None:
    error = job.future.exception()
    if isinstance(error, QvizError):
        st.text("The search was stopped; Search goes on where it ended." if job.stopped else str(error))
    elif error is not None:
        raise error
    found = job.found
    if found is not None:
        _show(found)


def _show(found: Rescue) -> None:
    """Verdict, downloads, chart, table."""
    ending = "" if found.chosen is not None else "So far: "
    sure = "the loss with its 95% interval" if found.chosen is not None else "chosen on the search half only"
    page.verdict(f"{ending}{rescue_verdict(found)}", f"Budget: {found.budget.text}; {sure}.")
    for sentence in found.remarks:
        st.text(sentence)
    if found.best is not None and found.data:
        _take(found, found.best)
    st.plotly_chart(rescue_scatter(found), width="stretch", key=f"rescue-chart-{len(found.tried)}")
    st.caption(
        f"Measured on the {found.search_images} images searched on. Filled: within the budget. The front joins what"
        " nothing smaller matches."
    )
    _table(found)


def _take(found: Rescue, best: Tried) -> None:
    """The best file so far: into the session, as a download, and its recipe."""
    name = _name(found, best)
    first, second, third = st.columns(3)
    held = workspace.current()
    there = best.digest in {source.digest for source in held.models}
    full = build.full(held)
    first.button(
        "Added to the session" if there else "Add to the session", disabled=there or bool(full), help=full or None,
        on_click=_join, args=(found.data, name), width="stretch", key=f"rescue-join-{best.digest[:12]}",
    )  # fmt: skip
    second.download_button(
        f"Download it, {written.megabytes(best.bytes)}", found.data, name, "application/octet-stream",
        on_click="ignore", width="stretch", key=f"rescue-download-{best.digest[:12]}",
    )  # fmt: skip
    recipe = f"{PurePath(name).stem}.recipe.json"
    line = _command(found, best, recipe, name)
    third.download_button(
        "Its recipe as JSON", json.dumps(recipe_json(found, best, name, line), indent=1), recipe, "application/json",
        on_click="ignore", width="stretch", key=f"rescue-recipe-{best.digest[:12]}-{found.chosen is not None}",
    )  # fmt: skip
    st.code(line, language=None, wrap_lines=True)


def _name(found: Rescue, best: Tried) -> str:
    """`detector + int8 (rescued).tflite`"""
    return f"{found.reference.removesuffix('.tflite')} + {best.candidate.recipe} (rescued).tflite"


def _command(found: Rescue, best: Tried, recipe: str, name: str) -> str:
    """The recipe's file holds the ranges, so that it stands for the images."""
    wants = recipe_of(best.candidate.recipe).needs_calibration and not needs_images(best.candidate)
    return command(best.candidate, found.reference, [recipe if wants else IMAGES], name)


def _join(data: bytes, name: str) -> None:
    """Among the session's models, to be compared."""
    build.join(data, name)


def _table(found: Rescue) -> None:
    is_ap = found.budget.measure == AP
    loss = "AP lost ×100" if is_ap else "1 − agreement"
    rows = [
        {
            "candidate": row.candidate.name,
            "budget": "error" if row.error else "kept" if row.within else "over",
            "size, MB": row.bytes / 1e6 or None,
            loss: None if row.search_loss is None else row.search_loss * (100 if is_ap else 1),
            "agreement": row.agreement,
            "speed": row.speed,
            "found by": row.found_by,
            "remark": row.error or None,
        }
        for row in found.tried
    ]
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    forms = {"size, MB": "%.2f", loss: "%.1f" if is_ap else "%.2f", "agreement": "%.2f", "speed": "%.2f×"}
    numbers = {name: st.column_config.NumberColumn(format=form, width="small") for name, form in forms.items()}
    st.dataframe(
        frame, hide_index=True, width="stretch", placeholder="–", column_config=numbers,
        key=f"rescue-table-{len(found.tried)}",
    )  # fmt: skip
