"""The Trade-off tab: size and quality of each model and, once it is measured, latency, as a chart and a table."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.features.cost import ModelProfile, Profile, panel_npu, profile
from qviz.features.cost.npu import NpuCost
from qviz.features.cost.plot import operator_times, tradeoff_scatter
from qviz.features.cost.text import tradeoff_verdict
from qviz.features.cost.tradeoff import Point, Tradeoff, tradeoff
from qviz.formatting import as_text, listed, milliseconds, plural
from qviz.job import Job
from qviz.ui import clicks, glossary, jobs, page, requested, server
from qviz.ui.jobs import Work
from qviz.ui.page import Page
from qviz.ui.results import redraw_while_pending

REQUEST = "qviz_cost_request"
RUNS = (20, 50, 200)
REFRESH_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """A requested measurement: identities of the models (the reference first), thread counts, and runs per model."""

    models: tuple[Hashable, ...]
    threads: tuple[int, ...]
    runs: int


def measurement(here: Page) -> Job[Profile] | None:
    """The measurement that this session requested last, or None. It is kept when variants are added or removed."""
    request: Request | None = requested.last(REQUEST)
    if request is None or request.models[0] != here.loaded.reference.identity:
        return None
    models = [model for model in here.loaded.all if model.identity in request.models]
    return jobs.start(
        "profile",
        request,
        lambda context: profile(context, models, threads=request.threads, runs=request.runs),
        step="Memory, then latency (models take turns), then operator by operator",
        work=_work(here, request),
    )


def _work(here: Page, request: Request) -> Work:
    amount = len(request.models) * len(request.threads) * request.runs
    return Work(jobs.subject_of(here.loaded.reference.digest), amount)


def request_form(here: Page) -> None:
    """Draw the form: thread counts, runs, and a button that waits for detections, which would disturb the timing."""
    models = here.loaded
    left = partial(server.results().pending, models.all, here.workspace.images)
    pending = left()
    first, second, npu, third = st.columns([2, 3, 3, 2], vertical_alignment="bottom")
    panel_npu.choose(npu)
    cores = os.cpu_count() or 1
    counts = sorted({count for count in (1, 2, 4, cores) if count <= cores})
    threads = first.pills(
        "Threads", counts, selection_mode="multi", default=[1], key="cost-threads", persist_state="session", wrap=True
    ) or [1]
    runs = (
        second.segmented_control(
            "Runs of each model", RUNS, default=RUNS[1], key="cost-runs", persist_state="session", wrap=True
        )
        or RUNS[1]
    )
    request = Request(models.identities, tuple(sorted(threads)), runs)
    if requested.last(REQUEST) is None and jobs.has_result("profile", request):
        requested.note(REQUEST, request)
    job = measurement(here)
    busy = pending > 0 or (job is not None and not job.finished)

    def begin() -> None:
        jobs.forget("profile", request)
        requested.keep(REQUEST, request)

    label = "Measure" if job is None or busy else "Measure again"
    clicks.button(third, label, begin, "cost-start", st.rerun, disabled=busy, type="primary")
    time = "" if busy else jobs.expected_time("profile", _work(here, request))
    st.caption(f"For reliable timings, keep the machine idle during the measurement. {time}".strip())
    if pending:
        redraw_while_pending("cost-detections", lambda: left() > 0, lambda: _waiting(left()), REFRESH_SECONDS)


def _waiting(detections: int) -> None:
    st.caption(f"{plural(detections, 'detection')} still running; the measurement can start after that.")


def _forget_request() -> None:
    if (request := requested.forget(REQUEST)) is not None:
        jobs.forget("profile", request)


T = TypeVar("T")

NPU_NUMBER = {
    "NPU, ms": glossary.THREE,
    "NPU cycles": "localized",
    **dict.fromkeys(("SRAM, KiB", "DRAM and flash, KiB"), "%.0f"),
}
NUMBER = dict.fromkeys(("size, MB", "p50, ms", "p95, ms", "CPU, ms", "peak, MB"), glossary.THREE)
NUMBER |= {"agreement": "%.2f"}


def agreements(here: Page) -> dict[str, float | None]:
    """Short name -> agreement with the reference over the images processed so far, or None if it is unknown."""
    models = here.loaded
    images, score = here.workspace.images, here.view.score
    summaries = {models.name(v): server.compared(models, v, images, score).summary for v in models.variants}
    has_objects = any(summary.reference_objects for summary in summaries.values())
    quality: dict[str, float | None] = {models.name(models.reference): 1.0 if has_objects else None}
    return quality | {name: summary.agreement for name, summary in summaries.items()}


def tradeoff_of(here: Page, rows: tuple[ModelProfile, ...]) -> Tradeoff:
    """The models measured at one thread count with their agreement, in the order in which they were loaded."""
    quality = agreements(here)
    names = [here.loaded.names[row.digest] for row in rows]
    return tradeoff([Point(name, row.bytes, row.p50_ms, quality[name]) for name, row in zip(names, rows, strict=True)])


def on_npu(here: Page, costs: Mapping[str, NpuCost]) -> Tradeoff:
    """The models that run on an NPU, with their estimated time. costs: digest of a model -> its cost."""
    quality, accelerator = agreements(here), panel_npu.chosen()
    named = [(here.loaded.name(model), model, costs.get(model.digest)) for model in here.loaded.all]
    return tradeoff(
        [
            Point(
                name,
                model.bytes,
                cost.ms,
                quality[name],
                accelerator=accelerator,
                cpu_operators=cost.cpu_operators,
            )
            for name, model, cost in named
            if cost is not None and cost.npu_operators
        ]
    )


def unmeasured(here: Page) -> Tradeoff:
    """The models with their size and agreement, before latency is measured."""
    quality = agreements(here)
    return tradeoff([Point(here.loaded.name(m), m.bytes, None, quality[here.loaded.name(m)]) for m in here.loaded.all])


def show(here: Page) -> None:
    """Draw size and agreement immediately, latency and memory once they are measured, and the finding at the top."""
    headline = st.container()
    server.results().want(here.loaded.all, here.workspace.images)
    request_form(here)
    job = measurement(here)
    if job is not None and job.cancelled:
        _forget_request()
        job = None
    if job is None:
        _show_sizes(here, headline)
        return
    if not job.finished:
        with headline:
            page.verdict(f"Measuring {plural(len(here.loaded.all), 'model')} on this machine …")
    if jobs.wait(job, "cost", _forget_request):
        _show(here, headline, job.future.result())


def _show_sizes(here: Page, headline: DeltaGenerator) -> None:
    """Draw what is known without a measurement: size, and agreement on the images processed so far."""
    weighed = unmeasured(here)
    with headline:
        note = "Measure to see latency and memory, too."
        page.verdict(tradeoff_verdict(weighed, here.loaded.name(here.loaded.reference)), note)
    if any(point.quality is not None for point in weighed.points):
        scatter(here, weighed, "size", "Latency is not measured, so all bubbles have the same size.")
    rows = [
        {"model": point.name, "size, MB": point.bytes / 1e6, "agreement": point.quality} for point in weighed.points
    ]
    schemes = {here.loaded.name(model): str(model.scheme) for model in here.loaded.all}
    frame = pd.DataFrame([row | {"scheme": schemes[str(row["model"])]} for row in rows])
    glossary.table(frame[["model", "scheme", "size, MB", "agreement"]], NUMBER, key="size-table")
    _show_npu(here)


def _show(here: Page, headline: DeltaGenerator, measured: Profile) -> None:
    """Draw the measured models that are still loaded."""
    for sentence in (*measured.skipped, *measured.remarks, *_unmeasured(here)):
        st.text(sentence)
    loaded = here.loaded.names
    left, right = st.columns([1, 1])
    threads = _chosen(
        left,
        "Shown with",
        sorted({row.threads for row in measured.models if row.digest in loaded}),
        lambda n: plural(n, "thread"),
    )
    x = _chosen(right, "Across", ["latency", "size"], str)
    rows = tuple(row for row in measured.at(threads) if row.digest in loaded)
    weighed = tradeoff_of(here, rows)
    with headline:
        page.verdict(
            tradeoff_verdict(weighed, here.loaded.name(here.loaded.reference)),
            "Dominated: another model is no worse in size, latency (within 5%) and agreement, and better in one.",
        )
    scatter(here, weighed, x)
    table(weighed, rows)
    _show_npu(here)
    st.subheader("Where the time goes")
    operators(here, rows)


def _unmeasured(here: Page) -> list[str]:
    """A list with a sentence on the models that were added after the measurement; empty if there are none."""
    request: Request = requested.last(REQUEST)
    names = [here.loaded.name(model) for model in here.loaded.all if model.identity not in request.models]
    if not names:
        return []
    return [f"{listed(names)} {'is' if len(names) == 1 else 'are'} not measured yet; press Measure again."]


def _chosen(column: DeltaGenerator, label: str, options: list[T], text: Callable[[T], str]) -> T:
    """Let the user choose, and return the chosen option, by default the first."""
    chosen = column.segmented_control(
        label, options, default=options[0], format_func=text, key=f"cost-{label}", persist_state="session", wrap=True
    )
    return chosen if chosen in options else options[0]


def scatter(here: Page, weighed: Tradeoff, x: str, bubbles: str = "") -> None:
    """Draw a scatter chart of agreement over latency or size.

    Args:
        x: `latency` or `size`.
        bubbles: What the area of the bubbles shows; by default the quantity that is not on the x axis.
    """
    models = here.loaded
    shades = {models.name(model): models.colours[model.digest] for model in models.all}
    st.plotly_chart(tradeoff_scatter(weighed, shades, x), width="stretch", key="tradeoff-chart")
    area = "file's size" if x == "latency" else "latency"
    st.caption(
        f"{bubbles or f'The area of a bubble is the {area}.'} The line joins the models that no other beats on both"
        " axes; faded models are dominated."
    )


def _show_npu(here: Page) -> None:
    """Draw agreement over the estimated time on the chosen NPU, and the cost of each model, if an NPU is chosen."""
    accelerator = panel_npu.chosen()
    estimates = panel_npu.estimates(here.loaded.all, accelerator, "cost-npu")
    if not estimates:
        return
    costs = {digest: row.cost for digest, row in estimates.items() if row.cost is not None}
    st.subheader(f"On {accelerator}")
    weighed = on_npu(here, costs)
    shades = {here.loaded.name(model): here.loaded.colours[model.digest] for model in here.loaded.all}
    if any(point.quality is not None for point in weighed.points):
        st.plotly_chart(tradeoff_scatter(weighed, shades), width="stretch", key="tradeoff-npu")
    names = here.loaded.names
    frame = pd.DataFrame(
        [
            {
                "model": names[digest],
                "NPU, ms": cost.ms if cost.npu_operators else None,
                "NPU cycles": cost.cycles if cost.npu_operators else None,
                "SRAM, KiB": cost.sram_kb,
                "DRAM and flash, KiB": cost.dram_kb + cost.flash_kb,
                "left to the CPU": f"{cost.cpu_operators} of {cost.cpu_operators + cost.npu_operators}",
            }
            for digest, cost in costs.items()
        ]
    )
    glossary.table(frame, NPU_NUMBER, key="npu-table")
    for row in estimates.values():
        if row.reason:
            st.text(row.reason)
    if idle := [names[digest] for digest, cost in costs.items() if not cost.npu_operators]:
        st.caption(as_text(f"No operator of {listed(idle)} runs on the NPU, which computes on integers alone."))
    first = next(iter(costs.values()), None)
    if first is not None:
        st.caption(as_text(f"Estimated by {first.compiler} for {first.system}; operators on the CPU are not counted."))


def table(weighed: Tradeoff, rows: tuple[ModelProfile, ...]) -> None:
    """Draw a table with one row per model."""
    frame = pd.DataFrame(
        [
            {
                "model": point.name,
                "scheme": row.scheme,
                "size, MB": row.bytes / 1e6,
                "p50, ms": row.p50_ms,
                "p95, ms": row.p95_ms,
                "CPU, ms": row.cpu_ms,
                "peak, MB": row.peak_mb,
                "agreement": point.quality,
                "dominated by": ", ".join(weighed.dominated_by(point.name)),
            }
            for point, row in zip(weighed.points, rows, strict=True)
        ]
    )
    glossary.table(frame, NUMBER, key="tradeoff-table")
    st.caption(
        f"{rows[0].runs} runs of each model, taking turns, {plural(rows[0].threads, 'thread')}, this machine. Peak:"
        " memory that a fresh process needs to load and run the model, the file included."
    )


def operators(here: Page, rows: tuple[ModelProfile, ...]) -> None:
    """Draw the time per operator of one model."""
    models = here.loaded
    names = {models.names[row.digest]: row for row in rows}
    name = st.selectbox("Model", list(names), key="cost-model", persist_state="session")
    row = names.get(name or "", rows[0])
    figure = operator_times(row, models.colours[row.digest])
    st.plotly_chart(figure, width="stretch", key="operator-times")
    total = sum(operator.ms for operator in row.operators)
    st.caption(
        f"One operator at a time, {plural(len(row.operators), 'step')}: {milliseconds(total)} in total, including the"
        f" transfer of tensors. The whole model takes {milliseconds(row.p50_ms)} (p50)."
    )
    with st.expander("Every operator"):
        frame = pd.DataFrame(
            [{"order": o.order, "operator": o.op_kind, "ms": o.ms, "tensor": o.tensor} for o in row.operators]
        )
        glossary.table(frame, {"ms": "%.3f"}, key="operator-table")
