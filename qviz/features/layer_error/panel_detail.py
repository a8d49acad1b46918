"""The panel of one layer: what hurts in it, its values, where on the image it errs, its channels, its figures.

From a layer to a better variant: its float operator kept, the rest quantized as in the variant, compared at once.
"""

from __future__ import annotations

from concurrent.futures import Future

import pandas as pd
import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.errors import QvizError
from qviz.features.building import RECIPES, Options
from qviz.features.building import panel as build
from qviz.features.building import panel_choice as calibration_images
from qviz.features.building.panel_choice import Choice
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.detail import LayerDetail, start_layer_detail
from qviz.features.layer_error.plot_detail import error_map, value_histograms, weight_channels
from qviz.structures import EncodedImage
from qviz.ui import clicks, page, server
from qviz.ui.clicks import wait_for_result
from qviz.ui.page import Page
from qviz.ui.results import Preview

ASKED = "qviz_keep_float_asked"


def keep_float_show(here: Page, variant: LoadedModel, detail: LayerDetail) -> None:
    """The button, and what came of it."""
    assert here.models is not None, "pages without a model stop before"
    order = detail.layer.reference_order
    if order is None:
        st.caption("The reference has no such operator, so nothing of it can be kept in float: Build calibrates anew.")
        return
    reference = here.models.reference
    try:
        choice = _choice(here, variant, order)
        refusal = build.refusal(reference, choice) or build.full(here.workspace)

        def begin() -> None:
            st.session_state[ASKED] = build.start(reference, choice), order

        told = refusal or _told(choice, order)
        clicks.button(st, "Keep in float and rebuild", begin, "keep-float", disabled=bool(refusal), help=told)
        _follow(here, order)
    except QvizError as error:
        st.text(str(error))


def _choice(here: Page, variant: LoadedModel, order: int) -> Choice:
    """The variant's recipe with one operator of the reference in float."""
    recipe = next((row for row in RECIPES.values() if row.scheme is variant.scheme), RECIPES["int8"])
    images = calibration_images.usual(here) if recipe.needs_calibration else ()
    return Choice(recipe, Options(keep_orders=(order,)), images=images)


def _told(choice: Choice, order: int) -> str:
    ranges = f", ranges from {len(choice.images)} images" if choice.images else ""
    return f"Builds {choice.recipe.name} from the reference with its operator {order} in float{ranges}; it is compared."


def _follow(here: Page, order: int) -> None:
    """The variant that was asked for of this layer: under way, or among the session's models."""
    assert here.models is not None, "pages without a model stop before"
    asked: tuple[build.NewVariant, int] | None = st.session_state.get(ASKED)
    if asked is None or asked[1] != order or asked[0].reference != here.models.reference.digest:
        return
    build.follow(here, asked[0])


PATIENCE = 4.0
"""Seconds the page waits for the layer; then it looks again every BEAT."""
BEAT = 0.5
SCREEN = 960
"""Pixels of the picture's longest side."""


@st.cache_resource(show_spinner=False)
def _details() -> LRUCache[Future[LayerDetail]]:
    return LRUCache(128)


def start(here: Page, variant: LoadedModel, order: int, image: EncodedImage) -> Future[LayerDetail]:
    """The layer under way, once for the server. Raises ModelError where one of the two has no layers."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    models = tuple(model.identity for model in (reference, variant))
    return _details().get(
        (models, image.digest, image.name, order),
        lambda: start_layer_detail(server.context(), reference, variant, image, order),
    )


def show(here: Page, variant: LoadedModel, order: int, image: EncodedImage) -> None:
    """Draw the panel; it waits for the workers a little, and then looks again."""
    server.results().want_previews([image], SCREEN, urgent=True)
    try:
        begun = start(here, variant, order, image)
        with st.spinner(f"Running operator {order} on {image.name} …"):
            detail = wait_for_result(begun, PATIENCE)
    except TimeoutError:
        _wait_for(begun, f"operator {order} on {image.name}")
        return
    except QvizError as error:
        st.text(str(error))
        return
    assert here.models is not None, "start has looked"
    position = next((i for i, other in enumerate(here.models.variants) if other.digest == variant.digest), 0)
    _draw(detail, image, variant_colour(position), f"{variant.digest[:8]}-{image.digest[:8]}-{order}")
    keep_float_show(here, variant, detail)


@st.fragment(run_every=BEAT)
def _wait_for(begun: Future[LayerDetail], what: str) -> None:
    """Until it is there; then the page is drawn once more."""
    if begun.done():
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
    picture = server.results().preview(image, SCREEN, PATIENCE)
    if detail.map is None:
        st.text("No map: the output of this layer is no feature map over the image.")
    elif isinstance(picture, Preview):
        st.plotly_chart(error_map(detail, picture.jpeg), width="stretch", key=f"map-{key}")
    else:
        st.text(str(picture) if picture is not None else "The image is not ready yet; look again.")


def _draw_weights(detail: LayerDetail, colour: str, key: str) -> None:
    weights = detail.weights
    if weights is None:
        st.text("No weights to compare in this layer.")
    elif not weights.worst:
        st.text("Its weights equal the reference's." if weights.sqnr_db is None else "Its weights have no channels.")
    else:
        st.plotly_chart(weight_channels(detail, colour), width="stretch", key=f"weights-{key}")


def identity_text(detail: LayerDetail) -> str:
    """What the layer is, in one line."""
    layer = detail.layer
    said = [f"Operator {layer.order} ({layer.op_kind})", f"{layer.dtype} {'×'.join(str(side) for side in layer.shape)}"]
    if layer.scale is not None:
        said.append(f"scale {layer.scale:.4g}, zero point {layer.zero_point}")
    partner = "input" if layer.reference_order is None else f"operator {layer.reference_order}"
    kind = f" ({layer.reference_op_kind})" if layer.reference_op_kind not in (None, layer.op_kind) else ""
    return " · ".join([*said, f"against the reference's {partner}{kind}", f"on {detail.image}", layer.tensor[-80:]])


def figures(detail: LayerDetail) -> list[tuple[str, str]]:
    """(what, value with its unit) of everything that is known; higher SQNR is better."""
    error, values = detail.error, detail.values
    rows = [
        ("SQNR alone (local), dB", _number(error.local_sqnr_db, ".1f")),
        ("SQNR here (cumulative), dB", _number(error.cumulative_sqnr_db, ".1f")),
        ("RMSE/scale alone (rounding: 0.29)", _number(error.local_rmse_over_scale, ".2f")),
        ("RMSE/scale here", _number(error.cumulative_rmse_over_scale, ".2f")),
        ("FP32's values", _ends(values.reference)),
        ("the variant's values", _ends(values.variant)),
        ("representable range", _ends(values.representable)),
        ("clipped share of FP32's values", _number(values.clipped_share, ".2%")),
        ("unused share of the range", _number(values.unused_share, ".1%")),
        ("bits wasted", _number(values.wasted_bits, ".1f")),
        ("worst channels, by RMSE", ", ".join(str(row.channel) for row in detail.channels[:5]) or None),
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
