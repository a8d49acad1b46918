"""The layers of the chosen variants as a picture of the network, a chart or a table, with the layer in view beside it.

All of this is one fragment, so a click draws only this part of the page again. What is chosen in one view is marked in
the others, because all of them read it from the session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from qviz.errors import QvizError
from qviz.features.backends import panel as backends
from qviz.features.backends.text import refused_by_order, refused_sentence
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, panel, panel_actions, panel_beside, panel_detail
from qviz.features.layer_error.metrics import CUMULATIVE, LOCAL, TABLE_METRICS, node_data_json
from qviz.features.layer_error.outliers import Outliers, worst_variant
from qviz.features.layer_error.panel import Choice, choose, selected_with
from qviz.features.layer_error.panel_beside import Beside
from qviz.features.layer_error.picture import network_picture
from qviz.features.layer_error.plot import Row, layer_error_chart
from qviz.features.layer_error.text import layers_verdict
from qviz.features.what_if import panel as naming
from qviz.formatting import frame_csv, plural
from qviz.structures import EncodedImage, digest_of
from qviz.ui import clicks, glossary, page, view
from qviz.ui.network import Pick, network, take_pick
from qviz.ui.page import Page

VIEWS = ("Network", "Chart", "Table")
PICTURE = "layers-network"
SHOWN = "qviz_layers_shown"
"""Session key: the variants that are measured, once the user has chosen them."""
INPUTS = {"reference": "the reference's activations", "variant": "the variant's own"}
MAX_ROWS = 11
"""Maximum number of rows for which the table is as high as its content; a longer table scrolls."""
TABLES = "qviz_layers_tables"
"""Session key: how often a view other than the table changed the selection; each time, the table is drawn anew."""


@clicks.fragment()
def show(here: Page) -> None:
    """Draw the whole page."""
    try:
        _draw(here)
    except QvizError as error:
        st.text(str(error))


def _draw(here: Page) -> None:
    models = here.loaded
    headline = st.container(gap=None)
    head = _head(here)
    variants = {name: variant for name in head.shown if (variant := models.variant_named(name)) is not None}
    images = panel.images_of(here)
    results = panel.results_of(here, variants, images, head.local_inputs)
    if results is None:
        with headline:
            running = f"{plural(len(variants), 'variant')} layer by layer on {plural(len(images), 'image')}"
            page.verdict(f"Running {running}.", "The colours appear once it is measured.")
        _show_unmeasured(variants.get(head.variant) or next(iter(variants.values())))
        return
    with headline:
        _headline(here, variants, results, len(images))
    _take_pick(results)
    choice = panel.chosen(results, head.variant)
    if choice is None:
        st.text("No layer differs from the reference.")
        return
    rows = panel.rows(results, [models.name(variant) for variant in models.variants], choice.variant)
    variant, row = variants[choice.variant], rows[choice.variant]
    left, right = st.columns([8, 5], gap="small")
    with left:
        waiting = st.container(gap=None)
        with waiting:
            beside = panel_beside.measured(here, choice.variant, variant)
        _draw_view(here, head.view, variant, rows, choice, beside)
        panel_beside.show_sentences(beside)
        selected = selected_with(choice)
        panel_actions.offer_named(here, variant, selected, partial(_choose_anew, choice.variant))
        panel_actions.show(here, variant, row.errors, selected)
    with right, st.container(border=True, gap="small"):
        detail = st.container(gap="small")
        image = _choose_image(here, row.errors, choice)
        with detail:
            panel_detail.show(here, variant, choice.order, image, beside.figures(choice.order))


def _headline(here: Page, variants: Mapping[str, LoadedModel], results: Mapping[str, LayerErrors], images: int) -> None:
    worst = worst_variant(results)
    experiment = naming.experiment(here, variants[worst]) if worst is not None else None
    page.verdict(
        layers_verdict(results, {} if worst is None or experiment is None else {worst: experiment}),
        f"On {plural(images, 'image')}. Colour: how much of the reference's signal is left at an operator (SQNR in dB;"
        " higher is better, 6 dB is a factor of two).",
    )


def _show_unmeasured(variant: LoadedModel) -> None:
    """Draw the network without figures, as long as the figures are being measured."""
    picture = network_picture(variant.inspection.graph, (), Outliers(frozenset(), frozenset()))
    _mount(picture, variant, None, (), "layers-unmeasured")


@dataclass(frozen=True, slots=True)
class Head:
    """The choices that the user made above the views.

    Attributes:
        view: The kind of view, one of VIEWS.
        variant: The variant in view.
        shown: The variants that are measured; a chart shows all of them.
        local_inputs: The argument of this name of `layers`.
    """

    view: str
    variant: str
    shown: tuple[str, ...]
    local_inputs: str


def _head(here: Page) -> Head:
    models = here.loaded
    names = [models.name(variant) for variant in models.variants]
    shown = st.session_state.get(SHOWN) or panel.default_variants(models, here.view.variants)
    shown = [name for name in shown if name in names] or names[:1]
    left, middle, device, right = st.columns([3, 5, 3, 2], vertical_alignment="center", gap="small")
    chosen = left.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True, key="layers-view", label_visibility="collapsed", wrap=True
    )
    in_view = panel.variant_in_view()
    variant = in_view if in_view in shown else ""
    if len(names) > 1:
        with middle:
            variant = _choose_variant(names, shown, variant)
    with device.popover("Device and NPU"):
        panel_beside.controls()
    with right.popover("Options"):
        if len(names) > 1:
            shown = st.pills("Variants in the chart", names, selection_mode="multi", default=shown, wrap=True) or shown
            st.session_state[SHOWN] = shown
        local_inputs = st.radio(
            "Inputs of each operator for its local error",
            list(INPUTS),
            format_func=lambda name: INPUTS[name],
            captions=["The error that the operator itself adds.", "As TensorFlow's QuantizationDebugger counts it."],
        )
    return Head(str(chosen), variant, tuple(shown), str(local_inputs))


def _choose_variant(names: Sequence[str], shown: Sequence[str], variant: str) -> str:
    """Let the user choose the variant in view. Returns its name; empty for the one with the largest error.

    The chosen variant is also measured if it was not among those shown.
    """
    choices = ["", *names] if not variant else [*names]
    key = f"layers-variant-{variant}-{len(shown)}"

    def changed() -> None:
        name = st.session_state[key]
        if name:
            st.session_state[SHOWN] = [*dict.fromkeys([*shown, name])]
            panel.look_at(name)

    return str(
        st.selectbox(
            "Variant in view",
            choices,
            choices.index(variant),
            key=key,
            on_change=clicks.callback(changed),
            format_func=lambda name: name or "The variant with the largest error",
            label_visibility="collapsed",
        )
    )


def _choose_image(here: Page, errors: LayerErrors, choice: Choice) -> EncodedImage:
    """Let the user choose an image; at first the one in view, else the one with the largest error in this layer."""
    images = here.workspace.images
    worst = next(layer.worst_image for layer in errors.layers if layer.order == choice.order)
    names = [image.name for image in images]
    shown = view.current().image
    index = names.index(shown) + 1 if shown in names else 0
    name = st.selectbox(
        "On the image",
        ["", *names],
        index=index,
        format_func=lambda name: name or f"{worst}: its largest error",
        key="layers-image",
    )
    return here.workspace.image_named(name or worst) or images[0]


def _draw_view(
    here: Page, chosen: str, variant: LoadedModel, rows: Mapping[str, Row], choice: Choice, beside: Beside
) -> None:
    row = rows[choice.variant]
    if chosen == "Chart":
        _show_chart(list(rows.values()), choice)
    elif chosen == "Table":
        _show_table(row, choice, beside)
    else:
        result = backends.result_of(here)
        refused = {} if result is None else refused_by_order(result, variant.name)
        picture = network_picture(variant.inspection.graph, row.errors.layers, row.outliers, refused)
        _mount(picture, variant, choice.order, selected_with(choice), PICTURE)
        if result is not None and (sentence := refused_sentence(result, variant.name)):
            page.small_text(f"{sentence} Dashed in the picture.")


def _mount(
    picture: dict[str, Any], variant: LoadedModel, chosen: int | None, selected: Sequence[int], key: str
) -> None:
    rev = digest_of(repr((variant.digest, picture["ops"])).encode())[:16]
    data = {"rev": rev, "key": variant.digest[:16], "variant": variant.name, "chosen": chosen, "selected": [*selected]}
    network({**picture, **data}, key=key)


def _take_pick(results: Mapping[str, LayerErrors]) -> None:
    """Apply what was picked in the picture since the page was last drawn."""
    choice = panel.chosen(results, panel.variant_in_view())

    def apply(pick: Pick) -> None:
        if choice is None or pick.chosen is None:
            return
        if any(layer.order == pick.chosen for layer in results[choice.variant].layers):
            _choose_anew(choice.variant, pick.chosen, pick.selected)

    take_pick(PICTURE, apply)


def _choose_anew(variant: str, order: int, selected: Sequence[int]) -> None:
    choose(variant, order, selected)
    st.session_state[TABLES] = st.session_state.get(TABLES, 0) + 1


def _show_chart(rows: Sequence[Row], choice: Choice) -> None:
    """Draw all variants in one chart; a click or a box selects layers."""
    key = "layers-chart"
    axis = choice.variant if len(rows) > 1 else ""
    figure = layer_error_chart(rows, (choice.variant, choice.order), selected_with(choice), axis)
    st.plotly_chart(
        figure,
        width="stretch",
        key=key,
        on_select=clicks.callback(lambda: _points_clicked(key)),
        selection_mode=("points", "box"),
    )


def _points_clicked(key: str) -> None:
    points = [point["customdata"][:2] for point in st.session_state[key].selection.points if point.get("customdata")]
    if points:
        variant, order = points[-1]
        orders = [int(other) for name, other in points if name == variant]
        _choose_anew(str(variant), int(order), orders)


def _show_table(row: Row, choice: Choice, beside: Beside) -> None:
    """Draw the filter, the table and the downloads. Layers whose rows are ticked are selected."""
    frame = table(row, beside)
    kinds, words, only = _filter(frame)
    shown = filtered(frame, kinds, words, only)
    selected = selected_with(choice)
    # rows are selected by position, so each filter needs a table of its own
    filters = digest_of(repr((kinds, words, only)).encode())[:12]
    key = f"layers-table-{row.name}-{filters}-{st.session_state.get(TABLES, 0)}"
    positions = [i for i, order in enumerate(shown["order"]) if order in selected]
    st.dataframe(
        shown,
        hide_index=True,
        width="stretch",
        height="content" if len(shown) <= MAX_ROWS else 400,
        placeholder="–",
        column_config=glossary.numbers(
            {metric.label: metric.number_format for metric in TABLE_METRICS}
            | {column.label: column.number_format for column in beside.columns}
        ),
        key=key,
        on_select=clicks.callback(lambda: _rows_clicked(key, row.name, shown)),
        selection_mode="multi-row",
        selection_default={"selection": {"rows": positions}},
    )
    st.caption(f"{len(shown)} of {len(frame)} layers · {row.errors.paired_share:.0%} of the operators paired")
    _downloads(row)


def table(row: Row, beside: Beside = Beside()) -> pd.DataFrame:
    """One row per layer; SQNR in dB, shares in per cent."""
    layers = row.errors.layers
    return pd.DataFrame(
        {
            "order": [layer.order for layer in layers],
            "in reference": pd.Series([layer.reference_order for layer in layers], dtype="Int64"),
            "operator": [layer.op_kind for layer in layers],
            "stands out": [row.outliers.reasons(layer.order) for layer in layers],
            **{
                column.label: pd.Series([column.values.get(layer.order) for layer in layers], dtype=float)
                for column in beside.columns
            },
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
    left, middle, right = st.columns([3, 3, 1.6], vertical_alignment="bottom")
    kinds = left.multiselect("Operators", list(frame["operator"].value_counts().index), placeholder="all kinds")
    words = middle.text_input("Tensor's name contains", max_chars=200)
    only = right.toggle("Outliers only")
    return kinds, words.strip(), only


def _rows_clicked(key: str, name: str, shown: pd.DataFrame) -> None:
    """Select the layers of the ticked rows and put the last of them in view."""
    rows = [row for row in st.session_state[key].selection.rows if row < len(shown)]
    if rows:
        orders = [int(shown["order"].iloc[row]) for row in rows]
        choose(name, orders[-1], orders)


def _downloads(row: Row) -> None:
    csv, cumulative, local = st.columns(3)
    csv.download_button(
        "CSV of all figures",
        frame_csv(row.errors.to_frame()),
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
