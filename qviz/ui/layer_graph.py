"""The Layers page: the network of one variant as a graph coloured by error.

A click on a block unfolds it; a click chooses the (worst) layer.
"""

from __future__ import annotations

import streamlit as st

from qviz.analysis.error_graph import METRICS, error_graph
from qviz.analysis.models import LoadedModel
from qviz.plots.layer_error import Row
from qviz.plots.layer_graph import TITLES, layer_graph_chart
from qviz.ui import clicks, layer_choice

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
