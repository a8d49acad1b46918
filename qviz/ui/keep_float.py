"""From a layer to a better variant: its float operator kept, the rest quantized as in the variant, compared at once."""

from __future__ import annotations

import streamlit as st

from qviz.analysis.layer_detail import LayerDetail
from qviz.analysis.models import LoadedModel
from qviz.errors import QvizError
from qviz.quantize import RECIPES, Options
from qviz.structures import Scheme
from qviz.ui import build, build_job, calibration_images, clicks
from qviz.ui.build_choice import Choice
from qviz.ui.page import Page

ASKED = "qviz_keep_float_asked"
RECIPE_OF = {
    Scheme.FLOAT16: "float16",
    Scheme.DYNAMIC_RANGE: "dynamic_range",
    Scheme.WEIGHT_ONLY: "weight_only_int8",
    Scheme.INT16X8: "int16x8",
}
"""Any other scheme is rebuilt as int8."""


def show(here: Page, variant: LoadedModel, detail: LayerDetail) -> None:
    """The button, and what came of it."""
    assert here.models is not None, "pages without a model stop before"
    order = detail.layer.reference_order
    if order is None:
        st.caption("The reference has no such operator, so nothing of it can be kept in float: Build calibrates anew.")
        return
    reference = here.models.reference
    try:
        choice = _choice(here, variant, order)
        refusal = build_job.refusal(reference, choice) or build.full(here.workspace)

        def begin() -> None:
            st.session_state[ASKED] = build.Asked(build_job.start(reference, choice), reference.digest), order

        told = refusal or _told(choice, order)
        clicks.button(st, "Keep in float and rebuild", begin, "keep-float", disabled=bool(refusal), help=told)
        _follow(here, order)
    except QvizError as error:
        st.text(str(error))


def _choice(here: Page, variant: LoadedModel, order: int) -> Choice:
    """The variant's recipe with one operator of the reference in float."""
    recipe = RECIPES[RECIPE_OF.get(variant.scheme, "int8")]
    images = calibration_images.usual(here) if recipe.needs_calibration else ()
    return Choice(recipe, Options(keep_orders=(order,)), images=images)


def _told(choice: Choice, order: int) -> str:
    ranges = f", ranges from {len(choice.images)} images" if choice.images else ""
    return f"Builds {choice.recipe.name} from the reference with its operator {order} in float{ranges}; it is compared."


def _follow(here: Page, order: int) -> None:
    """The variant that was asked for of this layer: under way, or among the session's models."""
    assert here.models is not None, "pages without a model stop before"
    asked: tuple[build.Asked, int] | None = st.session_state.get(ASKED)
    if asked is None or asked[1] != order or asked[0].reference != here.models.reference.digest:
        return
    build.follow(here, asked[0])
