"""The actions for selected layers: build a variant of the same recipe with these layers in float or in 16 bits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from qviz.errors import QvizError
from qviz.features.building import panel as build
from qviz.features.building import panel_images
from qviz.features.building.panel import Choice
from qviz.features.building.recipes import RECIPES, Options, Recipe
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors
from qviz.features.what_if import panel as naming
from qviz.formatting import plural, shortened
from qviz.structures.operators import orders_text
from qviz.ui import clicks, page, requested, view
from qviz.ui.page import Page

REQUEST = "qviz_layers_request"
MAX_NUMBERS = 60
"""Maximum number of characters for operator numbers in a sentence."""


@dataclass(frozen=True, slots=True)
class Request:
    """A requested variant. action: a key of ACTIONS; orders: indices of the reference's operators."""

    new: build.NewVariant
    action: str
    orders: tuple[int, ...]


ACTIONS = {"float": "in float", "wide": "in 16 bits"}
"""Action -> its words. `float` does not quantize the selected operators; `wide` gives them 16-bit activations."""


def show(here: Page, variant: LoadedModel, errors: LayerErrors, selected: Sequence[int]) -> None:
    """Draw the selection in words, the buttons that build a variant from it, and that variant."""
    partners = {layer.order: layer.reference_order for layer in errors.layers}
    orders = tuple(sorted({order for one in selected if (order := partners.get(one)) is not None}))
    text = _selection_text(here, selected, orders)
    if not orders:
        page.small_text(text)
        tabs = {**view.current().tabs, "Variants": "Build"}
        page.link("pages/variants.py", "Recalibrate instead: Variants, Build →", tabs=tabs)
        return
    left, *columns = st.columns([4, 3, 3], vertical_alignment="center", gap="small")
    with left:
        page.small_text(text)
    try:
        recipe = next((row for row in RECIPES.values() if row.scheme is variant.scheme), RECIPES["int8"])
        actions = list(ACTIONS)[: 2 if recipe.activation_bits == 8 else 1]
        for column, action in zip(columns, actions, strict=False):
            _draw_button(column, here, recipe, action, orders)
        _follow(here, orders)
    except QvizError as error:
        st.text(str(error))


def offer_named(
    here: Page, variant: LoadedModel, selected: Sequence[int], choose: Callable[[int, Sequence[int]], None]
) -> None:
    """Draw a button that selects the operators which an experiment named, if there are several of them.

    Args:
        choose: Puts an operator in view and selects these operators.
    """
    result = naming.finished(here, variant)
    named = None if result is None else result.named
    if named is None or named.is_single or set(named.orders) <= set(selected):
        return
    label = f"Select {named.subject}: in float they bring back {max(named.explained or 0.0, 0.0):.0%}"
    act = clicks.callback(partial(choose, named.orders[0], named.orders))
    st.button(label, on_click=act, key="select-named", width="stretch")


def _draw_button(column: DeltaGenerator, here: Page, recipe: Recipe, action: str, orders: tuple[int, ...]) -> None:
    reference = here.loaded.reference
    options = Options(keep_orders=orders) if action == "float" else Options(wide_orders=orders)
    images = panel_images.usual_images(here) if recipe.needs_calibration else ()
    choice = Choice(recipe, options, images=images)
    refusal = build.refusal(reference, choice) or build.full(here.workspace)

    def begin() -> None:
        requested.keep(REQUEST, Request(build.start(reference, choice), action, orders))

    count = f"{len(orders)} " if len(orders) > 1 else ""
    clicks.button(
        column,
        f"Keep {count}{ACTIONS[action]}",
        begin,
        f"keep-{action}",
        disabled=bool(refusal),
        help=refusal or _description(choice, action, orders),
        width="stretch",
        type="primary" if action == "float" else "secondary",
    )


def _selection_text(here: Page, selected: Sequence[int], orders: Sequence[int]) -> str:
    """`18 operators selected: 0-17.`, and how many of them cannot be kept in float."""
    numbers = shortened(orders_text(selected).replace(",", ", "), MAX_NUMBERS)
    text = f"Operator {numbers} selected." if len(selected) == 1 else f"{len(selected)} operators selected: {numbers}."
    missing = len(selected) - len(orders)
    if not missing:
        return text
    which = "It has" if len(selected) == 1 else f"{missing} of them {'has' if missing == 1 else 'have'}"
    name = here.loaded.name(here.loaded.reference)
    return f"{text} {which} no partner in {name} and cannot be kept in float or 16 bits."


def _description(choice: Choice, action: str, orders: Sequence[int]) -> str:
    ranges = f", ranges from {plural(len(choice.images), 'image')}" if choice.images else ""
    noun = "operator" if len(orders) == 1 else "operators"
    numbers = shortened(orders_text(orders), MAX_NUMBERS)
    return (
        f"Builds {choice.recipe.name} from the reference with its {noun} {numbers} {ACTIONS[action]}{ranges}, and"
        " compares it."
    )


def _follow(here: Page, orders: tuple[int, ...]) -> None:
    """Draw the progress of the variant that was requested for these layers, or the variant once it is built."""
    request: Request | None = requested.last(REQUEST)
    if request is not None and request.orders == orders and request.new.reference == here.loaded.reference.digest:
        build.follow(here, request.new)
