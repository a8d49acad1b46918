"""The panel of one layer: the cause of its error, its values, the error over the image, its channels and figures.

A button builds a variant that keeps this operator in float, and compares it.
"""

from __future__ import annotations

from concurrent.futures import Future

import pandas as pd
import streamlit as st

from qviz.cache import LRUCache
from qviz.errors import QvizError
from qviz.features.building import panel as build
from qviz.features.building.panel import Choice
from qviz.features.building.recipes import RECIPES, Options
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.detail import LayerDetail, start_layer_detail
from qviz.features.layer_error.plot_detail import error_map, value_histograms, weight_channels
from qviz.formatting import plural
from qviz.structures import EncodedImage
from qviz.ui import clicks, page, server
from qviz.ui.clicks import wait_for_result
from qviz.ui.page import Page
from qviz.ui.results import Preview

REQUEST = "qviz_keep_float"


def _show_keep_float(here: Page, variant: LoadedModel, detail: LayerDetail) -> None:
    """The button that builds a variant with this operator in float, and that variant."""
    order = detail.layer.reference_order
    if order is None:
        st.caption(
            f"{here.loaded.reference.name} has no matching operator, so it cannot be kept in float. Recalibrate on"
            " *Build* instead."
        )
        return
    reference = here.loaded.reference
    try:
        choice = _choice(here, variant, order)
        refusal = build.refusal(reference, choice) or build.full(here.workspace)

        def begin() -> None:
            st.session_state[REQUEST] = build.start(reference, choice), order

        description = refusal or _description(choice, order)
        clicks.button(st, "Keep in float and rebuild", begin, "keep-float", disabled=bool(refusal), help=description)
        _follow(here, order)
    except QvizError as error:
        st.text(str(error))


def _choice(here: Page, variant: LoadedModel, order: int) -> Choice:
    """The variant's recipe with one operator of the reference in float."""
    recipe = next((row for row in RECIPES.values() if row.scheme is variant.scheme), RECIPES["int8"])
    images = build.usual_images(here) if recipe.needs_calibration else ()
    return Choice(recipe, Options(keep_orders=(order,)), images=images)


def _description(choice: Choice, order: int) -> str:
    ranges = f", ranges from {plural(len(choice.images), 'image')}" if choice.images else ""
    return (
        f"Builds {choice.recipe.name} from the reference with its operator {order} in float{ranges}, and compares it."
    )


def _follow(here: Page, order: int) -> None:
    """The variant that was requested for this layer: being built, or among the models."""
    request: tuple[build.NewVariant, int] | None = st.session_state.get(REQUEST)
    if request is None or request[1] != order or request[0].reference != here.loaded.reference.digest:
        return
    build.follow(here, request[0])


WAIT_SECONDS = 4.0
REFRESH_SECONDS = 0.5
"""How often the page checks a layer that took longer than WAIT_SECONDS."""
SCREEN = 960
"""Pixels of the picture's longest side."""


@st.cache_resource(show_spinner=False)
def _details() -> LRUCache[Future[LayerDetail]]:
    return LRUCache(128)


def start(here: Page, variant: LoadedModel, order: int, image: EncodedImage) -> Future[LayerDetail]:
    """The layer, started once per server. Raises ModelError where one of the two has no layers."""
    reference = here.loaded.reference
    models = tuple(model.identity for model in (reference, variant))
    return _details().get(
        (models, image.digest, image.name, order),
        lambda: start_layer_detail(server.context(), reference, variant, image, order),
    )


def show(here: Page, variant: LoadedModel, order: int, image: EncodedImage) -> None:
    """Draw the panel; where the workers need longer, the page is drawn again when they have finished."""
    server.results().want_previews([image], SCREEN, urgent=True)
    try:
        future = start(here, variant, order, image)
        with st.spinner(f"Running operator {order} on {image.name} …"):
            detail = wait_for_result(future, WAIT_SECONDS)
    except TimeoutError:
        _wait_for(future, f"operator {order} on {image.name}")
        return
    except QvizError as error:
        st.text(str(error))
        return
    _draw(detail, image, here.loaded.colours[variant.digest], f"{variant.digest[:8]}-{image.digest[:8]}-{order}")
    _show_keep_float(here, variant, detail)


@st.fragment(run_every=REFRESH_SECONDS)
def _wait_for(future: Future[LayerDetail], what: str) -> None:
    """Wait, then draw the page again."""
    if future.done():
        st.rerun()
    st.text(f"Still running {what}; the workers are busy.")


def _draw(detail: LayerDetail, image: EncodedImage, colour: str, key: str) -> None:
    page.verdict(detail.cause, identity_text(detail))
    left, right = st.columns(2)
    with left:
        st.plotly_chart(value_histograms(detail, colour), width="stretch", key=f"histogram-{key}")
    with right:
        _draw_map(detail, image, key)
    left, right = st.columns(2)
    with left:
        _draw_weights(detail, colour, key)
    with right:
        table = pd.DataFrame(figures(detail), columns=["figure", "value"])
        st.dataframe(table, hide_index=True, width="stretch", height="content", key=f"figures-{key}")


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


def identity_text(detail: LayerDetail) -> str:
    """What the layer is, in one line."""
    layer = detail.layer
    parts = [
        f"Operator {layer.order} ({layer.op_kind})",
        f"{layer.dtype} {'×'.join(str(side) for side in layer.shape)}",
    ]
    if layer.scale is not None:
        parts.append(f"scale {layer.scale:.4g}, zero point {layer.zero_point}")
    partner = "input" if layer.reference_order is None else f"operator {layer.reference_order}"
    kind = f" ({layer.reference_op_kind})" if layer.reference_op_kind not in (None, layer.op_kind) else ""
    return " · ".join([*parts, f"against the reference's {partner}{kind}", f"on {detail.image}", layer.tensor[-80:]])


def figures(detail: LayerDetail) -> list[tuple[str, str]]:
    """(figure, value with its unit), unknown ones left out; a higher SQNR is better."""
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
