"""The Layers page: its jobs, all layers as a chart, a graph, a table and files, and which layer and image are in view.

The selected layer is part of the view: it is in the address, and stays when other variants are shown or the page is
left. In the graph, which is coloured by error, a click on a block unfolds it and selects its worst layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from qviz.chart_style import variant_colour
from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.layer_error.graph import error_graph
from qviz.features.layer_error.metrics import CUMULATIVE, GRAPH_METRICS, LOCAL, TABLE_METRICS, node_data_json
from qviz.features.layer_error.outliers import outliers, reference_positions, worst_layer, worst_variant
from qviz.features.layer_error.plot import Row, layer_error_chart, layer_graph_chart
from qviz.features.settings import IMAGES
from qviz.job import Job
from qviz.structures import EncodedImage, Scheme, digest_of
from qviz.structures.dataset import spread
from qviz.ui import clicks, glossary, jobs, view
from qviz.ui.page import Page
from qviz.ui.server import Models


@dataclass(frozen=True, slots=True)
class Choice:
    """The selected layer."""

    variant: str
    order: int


def choose(variant: str, order: int) -> None:
    """Select another layer."""
    view.change(layer=f"{variant}:{order}")


def _from_address() -> Choice | None:
    variant, _, order = view.current().layer.rpartition(":")
    return Choice(variant, int(order)) if order.isdecimal() else None


def chosen(results: Mapping[str, LayerErrors]) -> Choice | None:
    """The selected layer if it is shown.

    Else the layer to show first, in the variant with the lowest SQNR at its end.
    """
    selected = _from_address()
    rows = results[selected.variant].layers if selected is not None and selected.variant in results else ()
    if selected is not None and any(layer.order == selected.order for layer in rows):
        return selected
    return _first(results, worst_variant(results))


def _first(results: Mapping[str, LayerErrors], variant: str | None) -> Choice | None:
    layer = worst_layer(results[variant].layers) if variant is not None else None
    return None if variant is None or layer is None else Choice(variant, layer.order)


def show(here: Page, results: Mapping[str, LayerErrors], choice: Choice) -> EncodedImage:
    """Select boxes of variant, layer and image. Returns the selected image."""
    several = len(results) > 1
    columns = iter(st.columns([2, 4, 3] if several else [5, 4]))
    if several:
        with next(columns):
            _choose_variant(results, choice)
    with next(columns):
        _choose_layer(results[choice.variant], choice)
    with next(columns):
        return _choose_image(here, results[choice.variant], choice)


def _choose_variant(results: Mapping[str, LayerErrors], choice: Choice) -> None:
    """Another variant; the same operator where it has it, else the one to look at first."""
    key = f"layers-variant-{choice.variant}-{choice.order}"

    def changed() -> None:
        name = st.session_state[key]
        same = any(layer.order == choice.order for layer in results[name].layers)
        new = Choice(name, choice.order) if same else _first(results, name)
        if new is not None:
            choose(new.variant, new.order)

    names = list(results)
    st.selectbox("Variant in view", names, index=names.index(choice.variant), key=key, on_change=changed)


def _choose_layer(errors: LayerErrors, choice: Choice) -> None:
    key = f"layers-layer-{choice.variant}-{choice.order}"
    labels = {layer.order: f"{layer.order}  {layer.op_kind}  {layer.tensor[:120]}" for layer in errors.layers}

    def changed() -> None:
        choose(choice.variant, int(st.session_state[key]))

    orders = list(labels)
    at = orders.index(choice.order)
    st.selectbox("Layer in view", orders, index=at, format_func=labels.__getitem__, key=key, on_change=changed)


def _choose_image(here: Page, errors: LayerErrors, choice: Choice) -> EncodedImage:
    """The image in view; without one, the image with the largest error in this layer."""
    images = here.workspace.images
    worst = next(layer.worst_image for layer in errors.layers if layer.order == choice.order)
    names = [image.name for image in images]

    def label(name: str) -> str:
        return name or "image with the largest error in this layer"

    index = names.index(here.view.image) + 1 if here.view.image in names else 0
    name = st.selectbox("On the image", ["", *names], index=index, format_func=label, key="layers-image")
    return here.workspace.image_named(name or worst) or images[0]


INTEGER = (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)
KIND = "layers"


def results_of(
    here: Page, variants: Mapping[str, LoadedModel], images: Sequence[EncodedImage], local_inputs: str
) -> dict[str, LayerErrors] | None:
    """Name -> layers of each variant; None while one is measured, which is shown with its progress."""
    reference = here.loaded.reference
    shown = tuple((image.digest, image.name) for image in images)
    keys = {name: ((reference.identity, model.identity), shown, local_inputs) for name, model in variants.items()}

    def start(name: str) -> Job[LayerErrors]:
        def measure(context: Context) -> LayerErrors:
            return layers(context, reference, variants[name], images, local_inputs=local_inputs)

        return jobs.start(KIND, keys[name], measure, step=f"Measuring the layers of {name}", unit="images")

    running = {name: start(name) for name in variants}

    def begin_again() -> None:
        for name, job in running.items():
            if job.cancelled or job.error is not None:
                jobs.forget(KIND, keys[name])

    for job in running.values():
        if job.finished and job.cancelled:
            for other in running.values():
                other.stop()
        if not jobs.wait(job, "layers", begin_again):
            return None
    return {name: job.future.result() for name, job in running.items()}


def images_of(here: Page) -> list[EncodedImage]:
    """The image in view, if there is one, and a few others spread over the loaded images."""
    current = here.workspace.image_named(here.view.image)
    others = [
        image for image in spread(here.workspace.images, IMAGES) if current is None or image.digest != current.digest
    ]
    return ([current] if current is not None else []) + others


def default_variants(models: Models, names: Sequence[str]) -> list[str]:
    """The variants shown at first: those that the view names, else two, quantized to integers if there are such."""
    every = [models.name(variant) for variant in models.variants]
    integer = [models.name(variant) for variant in models.variants if variant.scheme in INTEGER]
    return [name for name in names if name in every] or (integer or every)[:2]


def rows(results: Mapping[str, LayerErrors], names: Sequence[str]) -> dict[str, Row]:
    """What the chart draws of each variant; several share the reference's axis. names: all loaded variants."""
    several = len(results) > 1
    return {
        name: Row(
            name,
            errors,
            outliers(errors.layers),
            variant_colour(names.index(name)),
            reference_positions(errors) if several else {},
        )
        for name, errors in results.items()
    }


def show_chart(rows: Sequence[Row], choice: Choice | None) -> None:
    """All variants in one chart; a click selects a layer."""
    key = "layers-chart"
    at = (choice.variant, choice.order) if choice is not None else None
    figure = layer_error_chart(rows, at)
    st.plotly_chart(figure, width="stretch", key=key, on_select=lambda: _clicked(key), selection_mode="points")


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        variant, order = points[-1]["customdata"][:2]
        choose(str(variant), int(order))


OPENED = "qviz_layers_opened"
HEIGHT = 640
INK = {"light": "#1f2328", "dark": "#e6e8ea"}


def show_graph(variant: LoadedModel, row: Row, chosen: int | None) -> None:
    """The graph, in a container that scrolls."""
    opened = _opened(variant)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    metrics = {metric.label: metric for metric in GRAPH_METRICS}  # Streamlit takes a dataclass for a list of defaults
    label = left.segmented_control("Coloured by", list(metrics), default=CUMULATIVE.label)
    metric = metrics.get(label or "", CUMULATIVE)
    if opened is not None:
        clicks.button(right, "Fold all", clicks.keep(OPENED, None), "layers-fold", st.rerun, width="stretch")
    folded = () if opened is None else (opened,)
    graph = error_graph(variant.inspection.graph, row.errors.layers, row.outliers, metric, folded)
    key = f"layers-graph-{variant.digest[:12]}-{metric.field}-{opened}"
    with st.container(height=HEIGHT):
        st.plotly_chart(
            layer_graph_chart(graph, chosen, INK[st.context.theme.type or "light"]),
            width="stretch",
            key=key,
            on_select=lambda: _node_clicked(key, variant, row.name),
            selection_mode="points",
        )
    st.caption(
        "From the input down. A square is a block of operators, named by the scope that its tensors share; its figure"
        f" is the {metric.extreme} {metric.label} in it. A click unfolds a block and shows its worst layer below."
    )


def _opened(variant: LoadedModel) -> int | None:
    """An operator of the block that is unfolded."""
    digest, order = st.session_state.get(OPENED) or ("", None)
    return order if digest == variant.digest else None


def _node_clicked(key: str, variant: LoadedModel, name: str) -> None:
    points = st.session_state[key].selection.points
    facts = points[-1].get("customdata") if points else None
    if not facts:
        return
    first, last, worst = facts[:3]
    if first != last:
        st.session_state[OPENED] = (variant.digest, int(first))
    if worst is not None:
        choose(name, int(worst))


def show_table(row: Row) -> None:
    """Filter, table and downloads. A click on a row selects the layer."""
    frame = table(row)
    kinds, words, only = _filter(frame)
    shown = filtered(frame, kinds, words, only)
    # a row's selection is its position: another filter is another table
    key = f"layers-table-{row.name}-{digest_of(repr((kinds, words, only)).encode())[:12]}"
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        height=min(400, 37 + 35 * max(len(shown), 1)),
        placeholder="–",
        column_config=glossary.numbers({metric.label: metric.number_format for metric in TABLE_METRICS}),
        key=key,
        on_select=lambda: _row_clicked(key, row.name, shown),
        selection_mode="single-row",
    )
    st.caption(f"{len(shown)} of {len(frame)} layers · {row.errors.paired_share:.0%} of the operators paired")
    _downloads(row)


def table(row: Row) -> pd.DataFrame:
    """One row per layer; SQNR in dB, shares in per cent."""
    layers = row.errors.layers
    return pd.DataFrame(
        {
            "order": [layer.order for layer in layers],
            "operator": [layer.op_kind for layer in layers],
            "stands out": [row.outliers.reasons(layer.order) for layer in layers],
            **{
                metric.label: pd.Series([metric.value(layer) for layer in layers], dtype=float)
                for metric in TABLE_METRICS
            },
            "worst image": [layer.worst_image for layer in layers],
            "tensor": [layer.tensor for layer in layers],
        }
    )


def filtered(frame: pd.DataFrame, kinds: list[str], words: str, only: bool) -> pd.DataFrame:
    """Rows of these operator types (all if empty) whose tensor's name contains the text; only outliers if asked for."""
    keep = frame["tensor"].str.contains(words, case=False, regex=False)
    if kinds:
        keep &= frame["operator"].isin(kinds)
    if only:
        keep &= frame["stands out"] != ""
    return frame[keep]


def _filter(frame: pd.DataFrame) -> tuple[list[str], str, bool]:
    left, middle, right = st.columns([3, 3, 1.4], vertical_alignment="bottom")
    kinds = left.multiselect("Operators", list(frame["operator"].value_counts().index), placeholder="all kinds")
    words = middle.text_input("Tensor's name contains", max_chars=200)
    only = right.toggle("Outliers only")
    return kinds, words.strip(), only


def _row_clicked(key: str, name: str, shown: pd.DataFrame) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(shown):
        choose(name, int(shown["order"].iloc[rows[0]]))


def _downloads(row: Row) -> None:
    csv, cumulative, local = st.columns(3)
    csv.download_button(
        "CSV of all figures",
        row.errors.to_frame().to_csv(index=False),
        f"layers_{row.name}.csv",
        "text/csv",
        on_click="ignore",
        width="stretch",
    )
    for column, metric in ((cumulative, CUMULATIVE), (local, LOCAL)):
        column.download_button(
            f"Model Explorer node data, {metric.name} SQNR",
            node_data_json(row.errors.layers, metric),
            f"{row.name}_{metric.name}_sqnr.json",
            "application/json",
            on_click="ignore",
            width="stretch",
            help="Open the variant's .tflite file in Google's Model Explorer and upload this as custom node data.",
        )
