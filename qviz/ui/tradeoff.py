"""The trade-off of a page: what was measured beside what was kept, as a picture and a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.analysis.profile_figures import ModelProfile, Profile
from qviz.analysis.tradeoff import Point, Tradeoff, tradeoff, tradeoff_verdict
from qviz.analysis.written import milliseconds
from qviz.plots.colours import REFERENCE, variant_colour
from qviz.plots.tradeoff import operator_times, tradeoff_scatter
from qviz.ui import calls, columns, costs, page
from qviz.ui.calls import Models
from qviz.ui.page import Page

T = TypeVar("T")

NUMBER = {
    "size, MB": "%.3g", "p50, ms": "%.3g", "p95, ms": "%.3g", "CPU, ms": "%.3g", "peak, MB": "%.3g",
    "agreement": "%.2f",
}  # fmt: skip


def agreements(here: Page) -> dict[str, float | None]:
    """short name -> agreement with the reference over the images run so far, None where there is none."""
    found = _models(here)
    known: dict[str, float | None] = {found.name(found.reference): 1.0 if here.workspace.images else None}
    for variant in found.variants:
        compared = calls.compared(found, variant, here.workspace.images, here.view.score)
        known[found.name(variant)] = compared.summary.agreement if compared.images else None
    return known


def weighed(here: Page, rows: tuple[ModelProfile, ...]) -> Tradeoff:
    """The models measured at one thread count, with their agreement; in the order of loading."""
    found, quality = _models(here), agreements(here)
    names = [found.names[row.digest] for row in rows]
    return tradeoff([Point(name, row.bytes, row.p50_ms, quality[name]) for name, row in zip(names, rows, strict=True)])


def colours(found: Models) -> dict[str, str]:
    """By short name."""
    known = {found.name(variant): variant_colour(i) for i, variant in enumerate(found.variants)}
    return {found.name(found.reference): REFERENCE} | known


def show(here: Page) -> None:
    """The button, and what was measured once it is there; the finding goes to the top."""
    found, headline = _models(here), st.container()
    calls.results().want(found.all, here.workspace.images)
    costs.ask(here)
    job = costs.measurement(here)
    if job is not None and job.stopped:
        costs.forget(here)
        job = None
    if job is None:
        with headline:
            page.verdict(
                "Measure to see what each variant gains, and at what price.",
                "Size, latency and memory against the agreement with the reference on your images.",
            )
    elif not job.future.done():
        with headline:
            page.verdict(f"Measuring {len(found.all)} models on this machine …")
        costs.wait_for(job)
    else:
        _show(here, headline, job.future.result())


def _show(here: Page, headline: DeltaGenerator, measured: Profile) -> None:
    for sentence in (*measured.skipped, *measured.remarks):
        st.text(sentence)
    left, right = st.columns([1, 1])
    threads = _chosen(left, "Shown with", sorted({row.threads for row in measured.models}), _told)
    x = _chosen(right, "Across", ["latency", "size"], str)
    rows = measured.at(threads)
    known = weighed(here, rows)
    with headline:
        page.verdict(
            tradeoff_verdict(known, _models(here).name(_models(here).reference)),
            "Dominated: another model is no worse in size, latency (within 5%) and agreement, and better in one.",
        )
    scatter(here, known, x)
    table(known, rows)
    st.subheader("Where the time goes")
    operators(here, rows)


def _chosen(place: DeltaGenerator, label: str, options: list[T], told: Callable[[T], str]) -> T:
    """One of them; the first where nobody chose, or what was chosen is gone."""
    chosen = place.segmented_control(label, options, default=options[0], format_func=told, key=f"cost-{label}")
    return chosen if chosen in options else options[0]


def _told(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"


def scatter(here: Page, found: Tradeoff, x: str) -> None:
    """Agreement over latency or size."""
    st.plotly_chart(tradeoff_scatter(found, colours(_models(here)), x), width="stretch", key="tradeoff-chart")
    area = "file's size" if x == "latency" else "latency"
    st.caption(
        f"A bubble's area is the {area}. The line joins what no other beats on both axes; faded models are dominated."
    )


def table(found: Tradeoff, rows: tuple[ModelProfile, ...]) -> None:
    """A row a model."""
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
                "dominated by": ", ".join(found.dominated_by(point.name)),
            }
            for point, row in zip(found.points, rows, strict=True)
        ]
    )
    st.dataframe(
        frame,
        hide_index=True,
        width="stretch",
        placeholder="–",
        column_config=columns.numbers(NUMBER),
        key="tradeoff-table",
    )
    st.caption(
        f"{rows[0].runs} runs of each in turns, {_told(rows[0].threads)}, this machine. Peak: what a fresh process"
        " grows by when it loads and runs the model, the file included."
    )


def operators(here: Page, rows: tuple[ModelProfile, ...]) -> None:
    """Where one model's time goes."""
    found = _models(here)
    names = {found.names[row.digest]: row for row in rows}
    name = st.selectbox("Model", list(names), key="cost-model")
    row = names.get(name or "", rows[0])
    figure = operator_times(row, colours(found)[found.names[row.digest]])
    st.plotly_chart(figure, width="stretch", key="operator-times")
    total = sum(operator.ms for operator in row.operators)
    st.caption(
        f"One operator at a time, {len(row.operators)} steps: {milliseconds(total)} together, handing tensors over"
        f" included. The whole model takes {milliseconds(row.p50_ms)} (p50)."
    )
    with st.expander("Every operator"):
        frame = pd.DataFrame(
            [{"order": o.order, "operator": o.op_kind, "ms": o.ms, "tensor": o.tensor} for o in row.operators]
        )
        formats = columns.numbers({"ms": "%.3g"})
        st.dataframe(frame, hide_index=True, width="stretch", key="operator-table", column_config=formats)


def _models(here: Page) -> Models:
    assert here.models is not None, "pages without a model stop before"
    return here.models
