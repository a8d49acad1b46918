"""The panel of one layer: what it is, the source of its error, its values, the error over the image, its channels."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from html import escape

import streamlit as st

from qviz.cache import LRUCache
from qviz.errors import QvizError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.detail import LayerDetail, start_layer_detail
from qviz.features.layer_error.plot_detail import error_map, value_histograms, weight_channels
from qviz.formatting import shortened
from qviz.structures import EncodedImage
from qviz.structures.operators import operator_name
from qviz.ui import clicks, server
from qviz.ui.page import Page
from qviz.ui.results import Preview

WAIT_SECONDS = 4.0
REFRESH_SECONDS = 0.5
"""Interval at which the page checks on a layer that takes longer than WAIT_SECONDS."""
SCREEN = 960
"""Pixels of the picture's longest side."""


@st.cache_resource(show_spinner=False)
def _details() -> LRUCache[Future[LayerDetail]]:
    return LRUCache(128)


def start(here: Page, variant: LoadedModel, order: int, image: EncodedImage) -> Future[LayerDetail]:
    """Start measuring the layer, once per server. Raises ModelError if one of the two models has no layers."""
    reference = here.loaded.reference
    models = tuple(model.identity for model in (reference, variant))
    return _details().get(
        (models, image.digest, image.name, order),
        lambda: start_layer_detail(server.context(), reference, variant, image, order),
    )


def show(
    here: Page, variant: LoadedModel, order: int, image: EncodedImage, beside: Sequence[tuple[str, str]] = ()
) -> None:
    """Draw the panel. If the workers need longer, the page is drawn again when they have finished.

    Args:
        beside: Further figures of the operator, (name, value) each.
    """
    server.results().want_previews([image], SCREEN, urgent=True)
    try:
        future = start(here, variant, order, image)
        with st.spinner(f"Running operator {order} on {image.name} …"):
            detail = clicks.wait_for_result(future, WAIT_SECONDS)
    except TimeoutError:
        _wait_for(future, f"operator {order} on {image.name}")
        return
    except QvizError as error:
        st.text(str(error))
        return
    _draw(
        detail, image, here.loaded.colours[variant.digest], f"{variant.digest[:8]}-{image.digest[:8]}-{order}", beside
    )


@clicks.fragment(run_every=REFRESH_SECONDS)
def _wait_for(future: Future[LayerDetail], what: str) -> None:
    """Wait for the result, then draw the page again."""
    if future.done():
        st.rerun()
    st.text(f"Still running {what}; the workers are busy.")


PARTS = ("Values", "Image", "Weights", "Figures")


def _draw(detail: LayerDetail, image: EncodedImage, colour: str, key: str, beside: Sequence[tuple[str, str]]) -> None:
    st.html(identity_html(detail))
    part = st.segmented_control(
        "Part", PARTS, default=PARTS[0], key="layers-part", label_visibility="collapsed", wrap=True
    )
    rows = figures(detail)
    if part == "Image":
        _draw_map(detail, image, key)
    elif part == "Weights":
        _draw_weights(detail, colour, key)
    elif part != "Figures":
        st.plotly_chart(value_histograms(detail, colour), width="stretch", key=f"histogram-{key}")
        rows = [row for row in rows if row[0] in FIRST]
    if part not in PARTS[1:3]:
        st.html(figures_html([*rows, *beside]))


def _draw_map(detail: LayerDetail, image: EncodedImage, key: str) -> None:
    picture = server.results().preview(image, SCREEN, WAIT_SECONDS)
    if detail.map is None:
        st.text("No map: the output of this layer is not a feature map of the image.")
    elif isinstance(picture, Preview):
        st.plotly_chart(error_map(detail, picture.jpeg), width="stretch", key=f"map-{key}")
    else:
        st.text(str(picture) if picture is not None else "The image is not ready yet.")


def _draw_weights(detail: LayerDetail, colour: str, key: str) -> None:
    weights = detail.weights
    if weights is None:
        st.text("This layer has no weights to compare.")
    elif not weights.worst:
        st.text("Its weights equal the reference's." if weights.sqnr_db is None else "Its weights have no channels.")
    else:
        st.plotly_chart(weight_channels(detail, colour), width="stretch", key=f"weights-{key}")


MAX_NAME = 64
"""Maximum number of characters shown of a tensor's name; hovering shows all of it."""


def identity_html(detail: LayerDetail) -> str:
    """HTML with the layer's operator, tensor and type, and the main source of its error."""
    layer = detail.layer
    name = operator_name(layer.order, layer.op_kind, layer.reference_order)
    facts = [f"{layer.dtype} {'×'.join(str(side) for side in layer.shape)}"]
    if layer.scale is not None:
        facts.append(f"scale {layer.scale:.4g}, zero point {layer.zero_point}")
    if layer.reference_order is None:
        facts.append("compared with the reference's input")
    elif layer.reference_op_kind != layer.op_kind:
        facts.append(f"compared with the reference's {layer.reference_op_kind}")
    lines = [
        f'<p class="qviz qviz-layer"><b>{escape(name[0].upper() + name[1:])}</b>',
        f'<br><span title="{escape(layer.tensor)}">{escape(shortened(layer.tensor, MAX_NAME))}</span>',
        f"<br>{escape(' · '.join(facts))}</p>",
        f'<p class="qviz qviz-verdict qviz-cause">{escape(detail.cause)}</p>',
    ]
    return "".join(lines)


def figures_html(rows: Sequence[tuple[str, str]]) -> str:
    """HTML of a table of figures. rows: (name, value)."""
    cells = (f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f'<table class="qviz qviz-figures">{"".join(cells)}</table>'


FIRST = ("local SQNR, dB", "cumulative SQNR, dB", "clipped share of FP32's values", "worst channels, by RMSE")
"""Names of the figures below the histogram."""


def figures(detail: LayerDetail) -> list[tuple[str, str]]:
    """(name of the figure, value with its unit) for each known figure; a higher SQNR is better."""
    error, values = detail.error, detail.values
    rows = [
        ("local SQNR, dB", _number(error.local_sqnr_db, ".1f")),
        ("cumulative SQNR, dB", _number(error.cumulative_sqnr_db, ".1f")),
        ("local RMSE/scale (rounding alone: 0.29)", _number(error.local_rmse_over_scale, ".2f")),
        ("cumulative RMSE/scale", _number(error.cumulative_rmse_over_scale, ".2f")),
        ("FP32's values", _ends(values.reference)),
        ("the variant's values", _ends(values.variant)),
        ("representable range", _ends(values.representable)),
        ("clipped share of FP32's values", _number(values.clipped_share, ".2%")),
        ("unused share of the range", _number(values.unused_share, ".1%")),
        ("wasted bits", _number(values.wasted_bits, ".1f")),
        ("worst channels, by RMSE", ", ".join(map(str, detail.channels[:5])) or None),
    ]
    if detail.weights is not None:
        kind = "per channel" if detail.weights.per_channel else "per tensor"
        rows.append(
            (f"SQNR of the weights ({detail.weights.dtype}, {kind}), dB", _number(detail.weights.sqnr_db, ".1f"))
        )
        rows.append(("median of the other layers' weights, dB", _number(detail.weights.usual_db, ".1f")))
    return [(name, value) for name, value in rows if value is not None]


def _number(value: float | None, form: str) -> str | None:
    return None if value is None else format(value, form)


def _ends(ends: tuple[float, float] | None) -> str | None:
    return None if ends is None else f"{ends[0]:.4g} to {ends[1]:.4g}"
