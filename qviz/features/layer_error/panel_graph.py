"""The Layers page: the network of one variant as a graph coloured by error.

A click on a block unfolds it; a click chooses the (worst) layer.

The Layers page: the figures of one variant as a table with a filter, and as files to take away.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st

from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import Outliers
from qviz.features.layer_error import panel as layer_choice
from qviz.features.layer_error.graph import METRICS, error_graph
from qviz.features.layer_error.model_explorer import node_data_json
from qviz.features.layer_error.plot import TITLES, Row, layer_graph_chart
from qviz.structures import digest_of
from qviz.ui import clicks, glossary

OPENED = "qviz_layers_opened"
HEIGHT = 640
INK = {"light": "#1f2328", "dark": "#e6e8ea"}


def show(variant: LoadedModel, row: Row, chosen: int | None) -> None:
    """The graph, in a frame of its own that scrolls."""
    opened = _opened(variant)
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    metric = left.segmented_control(
        "Coloured by", METRICS, default=METRICS[0], format_func=lambda name: f"{TITLES[name]} SQNR"
    )
    if opened is not None:
        clicks.button(right, "Fold all", clicks.keep(OPENED, None), "layers-fold", st.rerun, width="stretch")
    folded = () if opened is None else (opened,)
    graph = error_graph(variant.inspection.graph, row.errors.layers, row.outliers, metric or METRICS[0], folded)
    key = f"layers-graph-{variant.digest[:12]}-{metric}-{opened}"
    with st.container(height=HEIGHT):
        st.plotly_chart(
            layer_graph_chart(graph, chosen, INK[st.context.theme.type or "light"]),
            width="stretch",
            key=key,
            on_select=lambda: _clicked(key, variant, row.name),
            selection_mode="points",
        )
    st.caption(
        "From the input down. A square is a block of operators, named by the scope its tensors share; the figure is the"
        " lowest SQNR in it. A click unfolds a block and shows its worst layer below."
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
        layer_choice.choose(name, int(worst))


FORMATS = {
    "local dB": "%.1f",
    "cumulative dB": "%.1f",
    "fall dB": "%+.1f",
    "RMSE/scale": "%.2f",
    "clipped %": "%.1f",
    "weights dB": "%.1f",
}


def layer_table_show(row: Row) -> None:
    """Filter, table and files. A row that is clicked comes into view."""
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
        column_config=glossary.numbers(FORMATS),
        key=key,
        on_select=lambda: _layer_table_clicked(key, row.name, shown),
        selection_mode="single-row",
    )
    st.caption(f"{len(shown)} of {len(frame)} layers · {row.errors.paired_share:.0%} of the operators paired")
    _downloads(row)


def table(row: Row) -> pd.DataFrame:
    """A row a layer; SQNR in dB, shares in per cent."""
    frame = row.errors.to_frame()
    return pd.DataFrame(
        {
            "order": frame["order"],
            "operator": frame["op_kind"],
            "stands out": _said(row.outliers, frame["order"]),
            "local dB": frame["local_sqnr_db"],
            "cumulative dB": frame["cumulative_sqnr_db"],
            "fall dB": frame["fall_db"],
            "RMSE/scale": frame["local_rmse_over_scale"],
            "clipped %": frame["clipped_share"].astype(float) * 100,
            "weights dB": frame["weight_sqnr_db"],
            "worst image": frame["worst_image"],
            "tensor": frame["tensor"],
        }
    )


def filtered(frame: pd.DataFrame, kinds: list[str], words: str, only: bool) -> pd.DataFrame:
    """Of these operator kinds (all where none is named), with these letters in the tensor's name, outliers alone."""
    keep = frame["tensor"].str.contains(words, case=False, regex=False)
    if kinds:
        keep &= frame["operator"].isin(kinds)
    if only:
        keep &= frame["stands out"] != ""
    return frame[keep]


def _said(unusual: Outliers, orders: pd.Series) -> list[str]:
    return [unusual.said(int(order)) for order in orders]


def _filter(frame: pd.DataFrame) -> tuple[list[str], str, bool]:
    left, middle, right = st.columns([3, 3, 1.4], vertical_alignment="bottom")
    kinds = left.multiselect("Operators", list(frame["operator"].value_counts().index), placeholder="all kinds")
    words = middle.text_input("Tensor's name contains", max_chars=200)
    only = right.toggle("Outliers only")
    return kinds, words.strip(), only


def _layer_table_clicked(key: str, name: str, shown: pd.DataFrame) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(shown):
        layer_choice.choose(name, int(shown["order"].iloc[rows[0]]))


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
    for column, metric in ((cumulative, "cumulative"), (local, "local")):
        column.download_button(
            f"Model Explorer node data, {metric} SQNR",
            node_data_json(row.errors, f"{metric}_sqnr_db"),
            f"{row.name}_{metric}_sqnr.json",
            "application/json",
            on_click="ignore",
            width="stretch",
            help="Open the variant's .tflite file in Google's Model Explorer and upload this as custom node data.",
        )
