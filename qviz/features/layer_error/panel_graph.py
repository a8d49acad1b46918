"""The Layers page: the network of one variant as a graph coloured by error, and its figures as a table and as files.

A click on a block unfolds it and selects its worst layer.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.graph import error_graph
from qviz.features.layer_error.metrics import CUMULATIVE, GRAPH_METRICS, LOCAL, TABLE_METRICS
from qviz.features.layer_error.model_explorer import node_data_json
from qviz.features.layer_error.panel import choose
from qviz.features.layer_error.plot import Row, layer_graph_chart
from qviz.structures import digest_of
from qviz.ui import clicks, glossary

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
            on_select=lambda: _clicked(key, variant, row.name),
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


def _clicked(key: str, variant: LoadedModel, name: str) -> None:
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
            node_data_json(row.errors, metric.field),
            f"{row.name}_{metric.name}_sqnr.json",
            "application/json",
            on_click="ignore",
            width="stretch",
            help="Open the variant's .tflite file in Google's Model Explorer and upload this as custom node data.",
        )
