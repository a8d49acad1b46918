"""Rescue in the browser: the budget, the running search, and the best result so far.

Measurements are stored immediately, so that a search can continue after it was cancelled or the server was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import PurePath
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz import formatting
from qviz.context import Context
from qviz.errors import QvizError
from qviz.features.building import panel as build
from qviz.features.building import panel_images
from qviz.features.building.recipes import RECIPES
from qviz.features.building.source import float_model, source_of
from qviz.features.cost import panel_npu
from qviz.features.detection.models import LoadedModel
from qviz.features.rescuing import MIN_IMAGES, Request, rescue
from qviz.features.rescuing.plot import figure
from qviz.features.rescuing.result import AGREEMENT, AP, LATENCY, SIZE, Budget, Rescue, Tried
from qviz.features.rescuing.text import verdict
from qviz.formatting import plural
from qviz.structures import Dataset, EncodedImage
from qviz.structures.operators import orders_text
from qviz.ui import clicks, dataset_choice, jobs, page, requested, workspace
from qviz.ui.dataset_choice import Source
from qviz.ui.jobs import Work
from qviz.ui.page import Page

STATE = "qviz_rescue"
USUAL_IMAGES = 100
LIMITS = {AP: (0.5, 0.0, 100.0, 0.1), AGREEMENT: (0.98, 0.0, 1.0, 0.01)}
"""Default budget, minimum, maximum and step: in AP points (x100), and in agreement."""
PREFERENCES = {SIZE: "the smallest file", LATENCY: "the fastest"}
IMAGES = "CALIBRATION_IMAGES"
"""Placeholder in the shown command for the folder of the images, which the browser does not know."""


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """The values of the form. `problem` is the reason why the search cannot start; empty if it can."""

    request: Request
    source: str
    dataset: Dataset
    calibration: tuple[EncodedImage, ...]
    problem: str


def start(reference: LoadedModel, form: Form) -> build.NewVariant:
    """Start a search, or share the job of another session that runs the same search."""
    source = source_of(reference)

    def search(context: Context) -> Rescue:
        network = float_model(context, reference, source)
        return rescue(context, network, source, form.calibration, form.dataset, form.request)

    begin = partial(jobs.restart, "rescue", _key(reference, form), search, "Starting", work=_work(reference, form))
    return build.NewVariant(reference.digest, begin)


def _key(reference: LoadedModel, form: Form) -> Hashable:
    digests = tuple(image.digest for image in form.calibration)
    return form.request, form.source, len(form.dataset.images), digests, reference.digest, reference.settings


def _work(reference: LoadedModel, form: Form) -> Work:
    subject = jobs.subject_of(reference.digest, form.request.recipe_names, form.request.prefer)
    return Work(subject, len(form.dataset.images))


def show(here: Page) -> None:
    """Draw the form, the running search, and the result."""
    reference = here.loaded.reference
    top = st.container()
    running: build.NewVariant | None = requested.last(STATE)
    if running is not None and running.reference != reference.digest:
        running = None
    try:
        _draw_form(here, reference, running)
    except QvizError as error:
        st.text(str(error))
        return
    if running is None:
        with top:
            page.verdict(
                "Find the smallest or fastest variant within a budget.",
                "Recipes, and layers kept in float, are built and measured on one half of the images; the loss of the"
                " best one is reported on the other half.",
            )
        return
    if jobs.wait(running.job, "rescue", running.begin_again, _show):
        _show(running.job.future.result())
    elif running.job.finished and running.job.result is not None:
        _show(running.job.result)


def _draw_form(here: Page, reference: LoadedModel, running: build.NewVariant | None) -> None:
    """Draw the form. Raises ImageError if an image cannot be read."""
    form = _form(here)
    if form is None:
        return
    if form.problem:
        st.text(form.problem)
    elif time := jobs.expected_time("rescue", _work(reference, form)):
        page.small_text(time)

    def begin() -> None:
        requested.keep(STATE, start(reference, form))

    if running is None and not form.problem and jobs.has_result("rescue", _key(reference, form)):
        requested.note(STATE, start(reference, form))
        st.rerun()
    disabled = bool(form.problem) or (running is not None and not running.job.finished)
    clicks.button(st, "Search", begin, "rescue-start", st.rerun, disabled=disabled, type="primary")


def _form(here: Page) -> Form | None:
    """The values of the form, or None if there are no images to measure on. Raises ImageError."""
    sources = dataset_choice.sources(here)
    if not sources:
        st.text("Drop images on the Overview first: candidates are measured on them.")
        return None
    source, count = _choose_data(sources)
    left, middle, right = st.columns([3, 2, 3])
    loss = _loss(left, middle, source)
    prefer = right.segmented_control(
        "Looking for",
        list(PREFERENCES),
        default=SIZE,
        format_func=PREFERENCES.__getitem__,
        key="rescue-prefer",
        persist_state="session",
        wrap=True,
    )
    recipes = st.multiselect(
        "Recipes", list(RECIPES), placeholder="all that fit the network", key="rescue-recipes", persist_state="session"
    )
    integers_only = st.toggle(
        "Integers only",
        key="rescue-integers",
        help="No operator stays in float; a few get 16-bit activations instead.",
    )
    budget = Budget.of(**loss, **(_limits() if integers_only else {}))
    _, calibration = panel_images.choose_images(here, st.container(), "rescue")
    request = Request(budget, prefer or SIZE, tuple(recipes), integers_only=integers_only)
    problem = _problem(count, request, calibration)
    return Form(request, source.digest, source.dataset.spread(count), calibration, problem)


def _choose_data(sources: Mapping[str, Source]) -> tuple[Source, int]:
    """Let the user choose the data. Returns (source to measure on, number of its images to use)."""
    first, second = st.columns([4, 2], vertical_alignment="bottom")
    name = first.selectbox(
        "Measured on",
        list(sources),
        format_func=lambda name: sources[name].label,
        key="rescue-source",
        persist_state="session",
        help="Candidates are chosen on one half of these images; the result is reported on the other half.",
    )
    source = sources.get(name or "", next(iter(sources.values())))
    available = len(source.dataset.images)
    count = second.number_input(
        "Images",
        1,
        available,
        min(USUAL_IMAGES, available),
        key=f"rescue-images-{available}",
        persist_state="session",
        help=f"Evenly spread over {available}.",
    )
    return source, int(count)


def _loss(left: DeltaGenerator, middle: DeltaGenerator, source: Source) -> dict[str, Any]:
    """Let the user choose how much may be lost, in AP or in agreement; without annotations, only in agreement.

    The result is for `Budget.of`.
    """
    measures = [AGREEMENT] if source.reference_as_truth else [AP, AGREEMENT]
    labels = {AP: "Maximum loss, AP points", AGREEMENT: "Minimum agreement"}
    measure = left.segmented_control(
        "Budget",
        measures,
        default=measures[0],
        format_func=labels.__getitem__,
        key=f"rescue-measure-{len(measures)}",
        persist_state="session",
        wrap=True,
    )
    measure = measure or measures[0]
    usual, low, high, step = LIMITS[measure]
    value = middle.number_input("Limit", low, high, usual, step, key=f"rescue-limit-{measure}", persist_state="session")
    return {"max_ap_loss": value / 100} if measure == AP else {"min_agreement": value}


def _limits() -> dict[str, Any]:
    """Let the user limit the file; the result is for `Budget.of`."""
    first, second = st.columns(2)
    size = first.text_input(
        "Largest file",
        placeholder="any size",
        key="rescue-size",
        persist_state="session",
        help="Bytes, or a multiple of the plain int8 file, e.g. 1.02x. The best file within the limits is chosen.",
    )
    operators = second.number_input(
        "Operators in 16 bits, at most",
        0,
        10_000,
        None,
        placeholder="any number",
        key="rescue-wide",
        persist_state="session",
    )
    return {"max_size": size.strip(), "max_wide_operators": operators, **_cycles()}


def _cycles() -> dict[str, Any]:
    """Let the user limit the cycles on an NPU; the result is for `Budget.of`."""
    first, second = st.columns(2, vertical_alignment="bottom")
    accelerator = panel_npu.choose(first, "Budget of cycles on an NPU", "none", "rescue-npu")
    if not accelerator:
        return {}
    cycles = second.number_input(
        "Cycles of one image, at most",
        1,
        10**12,
        None,
        placeholder="any number",
        key="rescue-cycles",
        persist_state="session",
        help=f"On {accelerator}, as its compiler Vela estimates them; the tab Trade-off has those of the models.",
    )
    return {} if cycles is None else {"max_cycles": cycles, "npu": accelerator}


def _problem(images: int, request: Request, calibration: tuple[EncodedImage, ...]) -> str:
    if images < MIN_IMAGES:
        return f"At least {MIN_IMAGES} images are needed: one half to search on, the other to report on."
    if not calibration and any(RECIPES[name].needs_calibration for name in request.recipe_names):
        return "Choose calibration images first: 50 to 500 representative ones."
    return ""


def _show(result: Rescue) -> None:
    """Draw the verdict, the downloads, the chart and the table."""
    is_final = result.chosen is not None
    note = "the loss with its 95% interval" if is_final else "the best so far, on the search half"
    page.verdict(f"{'' if is_final else 'So far: '}{verdict(result)}", f"Budget: {result.budget.text}; {note}.")
    for sentence in result.remarks:
        st.text(sentence)
    if result.best is not None and result.data:
        _show_files(result, result.best)
    st.plotly_chart(figure(result), width="stretch", key=f"rescue-chart-{len(result.tried)}")
    st.caption(
        f"Measured on {plural(result.images.search, 'search image')}. Filled: within the budget. Dotted: Pareto front"
        " of size and loss."
    )
    _show_table(result)
    if result.contributions:
        _show_contributions(result)


def _show_files(result: Rescue, best: Tried) -> None:
    """Draw buttons to add the best file so far to the session and to download it with its recipe."""
    name = f"{result.reference.name.removesuffix('.tflite')} + {best.candidate.recipe} (rescued).tflite"
    key = best.digest[:12]
    first, second, third = st.columns(3)
    current = workspace.current()
    is_loaded = best.digest in {source.digest for source in current.models}
    full = build.full(current)
    clicks.button(
        first,
        "Added to the session" if is_loaded else "Add to the session",
        lambda: build.join(result.data, name),
        f"rescue-join-{key}",
        st.rerun,
        disabled=is_loaded or bool(full),
        help=full or None,
        width="stretch",
    )
    second.download_button(
        f"Download it, {formatting.megabytes(best.bytes)}",
        result.data,
        name,
        "application/octet-stream",
        on_click="ignore",
        width="stretch",
        key=f"rescue-download-{key}",
    )
    recipe = f"{PurePath(name).stem}.recipe.json"
    command = _command(result, best, recipe, name)
    third.download_button(
        "Its recipe as JSON",
        json.dumps(result.recipe_json(best, name, command), indent=1),
        recipe,
        "application/json",
        on_click="ignore",
        width="stretch",
        key=f"rescue-recipe-{key}-{result.chosen is not None}",
    )
    st.code(command, language=None, wrap_lines=True)


def _command(result: Rescue, best: Tried, recipe: str, name: str) -> str:
    """The command that builds the best file. If ranges suffice, it reads them from the recipe's file, else images."""
    candidate = best.candidate
    calibration = recipe if candidate.needs_ranges and not candidate.needs_images else IMAGES
    return candidate.command(result.reference.name, [calibration], name)


def _show_table(result: Rescue) -> None:
    is_ap = result.budget.measure == AP
    loss = "AP lost ×100" if is_ap else "1 − agreement"
    rows = [
        {
            "candidate": row.candidate.name,
            "budget": "error" if row.error else "kept" if row.within else "floods" if row.floods else "over",
            "size, MB": row.bytes / 1e6 or None,
            loss: None if row.search_loss is None else row.search_loss * (100 if is_ap else 1),
            "agreement": row.agreement,
            "speed": row.speed,
            "found by": row.origin,
            "remark": row.error or None,
        }
        for row in result.tried
    ]
    frame = pd.DataFrame(rows).dropna(axis="columns", how="all")
    formats = {"size, MB": "%.2f", loss: "%.1f" if is_ap else "%.2f", "agreement": "%.2f", "speed": "%.2f×"}
    columns = {name: st.column_config.NumberColumn(format=form, width="small") for name, form in formats.items()}
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config=columns,
        key=f"rescue-table-{len(result.tried)}",
    )


def _show_contributions(result: Rescue) -> None:
    """Draw what each move of the chosen candidate contributes."""
    is_ap = result.budget.measure == AP
    loss = "AP lost ×100" if is_ap else "1 − agreement"
    st.caption("What each move contributes: the chosen file without it, on the same search images.")
    rows = [
        {
            "without": row.code,
            "operators": orders_text(row.operators) or None,
            "size, MB": row.bytes / 1e6 or None,
            loss: None if row.loss is None else row.loss * (100 if is_ap else 1),
            "agreement": row.agreement,
            "quality": row.quality,
        }
        for row in result.contributions
    ]
    formats = {"size, MB": "%.2f", loss: "%.1f" if is_ap else "%.2f", "agreement": "%.2f", "quality": "%.3f"}
    columns = {name: st.column_config.NumberColumn(format=form, width="small") for name, form in formats.items()}
    st.dataframe(
        pd.DataFrame(rows).dropna(axis="columns", how="all"),
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config=columns,
        key="rescue-contributions",
    )
