"""Rescue in the browser: a budget, the search shown as it runs, and its best result at every moment.

Rescues under way, for all sessions of this server. They go on when the page is left, and can be stopped.

What was tried is kept on disk as it comes, so a rescue that was stopped, or a server that was, goes on where it ended.

The form of the rescue: what is measured on, the budget, what is preferred, recipes, calibration images.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePath

import pandas as pd
import streamlit as st

from qviz import formatting
from qviz.features.building import source_of
from qviz.cache import LRUCache
from qviz.errors import Cancelled, QvizError
from qviz.features.building import RECIPES, builders, recipe_of
from qviz.features.building import panel as build
from qviz.features.building import panel_choice as calibration_images
from qviz.features.corruption_sweep import panel as robustness_sweep
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing import Terms, rescue
from qviz.features.rescuing.measure import FEWEST
from qviz.features.rescuing.plot import rescue_scatter
from qviz.features.rescuing.result import (
    AGREEMENT,
    AP,
    LATENCY,
    SIZE,
    Budget,
    Rescue,
    Tried,
    command,
    needs_images,
    recipe_json,
)
from qviz.features.rescuing.text import rescue_verdict
from qviz.formatting import duration
from qviz.progress import TimeLeft
from qviz.structures import Dataset, EncodedImage
from qviz.ui import clicks, page, server, workspace
from qviz.ui.dataset_choice import Source
from qviz.ui.page import Page


@dataclass(frozen=True, slots=True)
class Asked:
    """What is sought. source: the data's digest, images: how many of them; calibration: the images' digests."""

    source: str
    images: int
    budget: Budget
    prefer: str
    recipes: tuple[str, ...]
    calibration: tuple[str, ...]


@dataclass(slots=True, eq=False)
class RescueJob:
    """Looked at by the page, run by a thread of its own. partial: the result so far."""

    asked: Asked
    step: str = "Waiting for another rescue"
    done: int = 0
    total: int = 1
    seconds_left: float | None = None
    partial: Rescue | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[Rescue] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def run(self, reference: LoadedModel, images: tuple[EncodedImage, ...], dataset: Dataset) -> Rescue:
        """In its thread. Raises Cancelled, QvizError."""
        store = server.detection_store()
        folder = None if store is None else store.path.parent / "rescue"
        terms = Terms(self.asked.budget, self.asked.prefer, self.asked.recipes)
        with builders() as workers:
            return rescue(
                server.engine(), workers, reference, source_of(reference), images, dataset, terms, store, folder,
                self.cancel, self.report, self.watch,
            )  # fmt: skip

    def report(self, text: str, done: int, total: int) -> None:
        if text != self.step:
            self.step, self._left = text, TimeLeft()
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)

    def watch(self, found: Rescue) -> None:
        self.partial = found

    def progress(self) -> str:
        """What is done, and how long that step will take."""
        tried = 0 if self.partial is None else len(self.partial.tried)
        said = f"{self.step} · {tried} candidates tried"
        return said if self.seconds_left is None else f"{said} · {duration(self.seconds_left)} left of it"

    @property
    def found(self) -> Rescue | None:
        """The result, or what is known so far."""
        if self.future.done() and self.future.exception() is None:
            return self.future.result()
        return self.partial

    @property
    def stopped(self) -> bool:
        return self.future.done() and isinstance(self.future.exception(), Cancelled)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[RescueJob]:
    return LRUCache(16)


@st.cache_resource(show_spinner=False)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="qviz-rescue")


def _key(reference: LoadedModel, asked: Asked) -> Hashable:
    return asked, reference.digest, reference.settings


def start(reference: LoadedModel, asked: Asked, images: tuple[EncodedImage, ...], dataset: Dataset) -> RescueJob:
    """Begin, once for the server; one that was stopped or has failed begins anew, with all that it had found."""

    def begin() -> RescueJob:
        job = RescueJob(asked)
        job.future = _threads().submit(job.run, reference, images, dataset)
        return job

    key = _key(reference, asked)
    known = _jobs().get(key, begin)
    if known.future.done() and known.future.exception() is not None:
        _jobs().forget(key)
    return _jobs().get(key, begin)


IMAGES_USUAL = 100
LIMITS = {AP: (0.5, 0.0, 100.0, 0.1), AGREEMENT: (0.98, 0.0, 1.0, 0.01)}
"""Usual budget, least, most, step: in AP points (x100), and in agreement."""
PREFERRED = {SIZE: "the smallest file", LATENCY: "the fastest"}


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """What the form says; refusal: why it cannot be begun, or nothing."""

    asked: Asked
    dataset: Dataset
    images: tuple[EncodedImage, ...]
    refusal: str = ""


def rescue_form_form(here: Page) -> Form | None:
    """Draw it; None where there is nothing to measure on. Raises ImageError."""
    known = robustness_sweep.sources(here)
    if not known:
        st.text("Drop images on the Overview first: candidates are measured on them.")
        return None
    first, second = st.columns([4, 2], vertical_alignment="bottom")
    name = first.selectbox(
        "Measured on", list(known), format_func=lambda name: known[name].label, key="rescue-source",
        help="Candidates are chosen on one half of these images; the result is reported on the other.",
    )  # fmt: skip
    source = known.get(name or "", next(iter(known.values())))
    most = len(source.dataset.images)
    images = second.number_input(
        "Images", 1, most, min(IMAGES_USUAL, most), key=f"rescue-images-{most}", help=f"Evenly out of {most}."
    )
    left, middle, right = st.columns([3, 2, 3])
    budget = _budget(left, middle, source)
    prefer = right.segmented_control(
        "Looking for", list(PREFERRED), default=SIZE, format_func=PREFERRED.__getitem__, key="rescue-prefer"
    )
    recipes = st.multiselect(
        "Recipes",
        list(RECIPES),
        placeholder="all that fit the network",
        key="rescue-recipes",
    )
    _, shown = calibration_images.choose(here, st.container(), "rescue")
    digests = tuple(image.digest for image in shown)
    asked = Asked(source.digest, int(images), budget, prefer or SIZE, tuple(recipes), digests)
    return Form(asked, source.dataset.spread(int(images)), shown, _refusal(int(images), asked))


def _budget(
    left: st.delta_generator.DeltaGenerator, middle: st.delta_generator.DeltaGenerator, source: Source
) -> Budget:
    """AP where objects are annotated, else agreement only."""
    measures = [AGREEMENT] if source.reference_as_truth else [AP, AGREEMENT]
    told = {AP: "AP points lost, at most", AGREEMENT: "Agreement, at least"}
    measure = left.segmented_control(
        "Budget", measures, default=measures[0], format_func=told.__getitem__, key=f"rescue-measure-{len(measures)}"
    )
    measure = measure or measures[0]
    usual, least, most, step = LIMITS[measure]
    value = middle.number_input("Limit", least, most, usual, step, key=f"rescue-limit-{measure}")
    return Budget.of(max_ap_loss=value / 100) if measure == AP else Budget.of(min_agreement=value)


def _refusal(images: int, asked: Asked) -> str:
    if images < FEWEST:
        return f"At least {FEWEST} images are needed: one half to search on, the other to report on."
    wanted = [name for name in asked.recipes or RECIPES if RECIPES[name].needs_calibration]
    if wanted and not asked.calibration:
        return "Choose calibration images first: 50 to 500 that look like those in use."
    return ""


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
        said = rescue_form_form(here)
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
            begun = start(reference, said.asked, said.images, said.dataset)
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
        f"Download it, {formatting.megabytes(best.bytes)}", found.data, name, "application/octet-stream",
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
