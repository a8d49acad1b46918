"""The Layers page: which variant, layer and image the panel below the chart shows.

The layer in view is a part of the view: it stands in the address, and stays while other variants are shown, and when
the page is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from qviz.analysis.layer_error import LayerErrors
from qviz.analysis.outliers import worst_layer, worst_variant
from qviz.structures import EncodedImage
from qviz.ui import view
from qviz.ui.page import Page


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer in view."""

    variant: str
    order: int


def choose(variant: str, order: int) -> None:
    """Another layer comes into view."""
    view.change(layer=f"{variant}:{order}")


def _kept() -> Choice | None:
    variant, _, order = view.current().layer.rpartition(":")
    return Choice(variant, int(order)) if order.isdecimal() else None


def chosen(results: Mapping[str, LayerErrors]) -> Choice | None:
    """What was chosen, where it is shown; else the layer to look at first, in the variant that ends worst."""
    kept = _kept()
    layers = results[kept.variant].layers if kept is not None and kept.variant in results else ()
    if kept is not None and any(layer.order == kept.order for layer in layers):
        return kept
    return _first(results, worst_variant(results))


def _first(results: Mapping[str, LayerErrors], variant: str | None) -> Choice | None:
    order = worst_layer(results[variant].layers) if variant is not None else None
    return None if variant is None or order is None else Choice(variant, order)


def show(here: Page, results: Mapping[str, LayerErrors], choice: Choice) -> EncodedImage:
    """The three as select boxes; the image that was chosen."""
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
    """The same operator in another variant, where it has that; else the one to look at first there."""
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
    known = {layer.order: f"{layer.order}  {layer.op_kind}  {layer.tensor[:120]}" for layer in errors.layers}

    def changed() -> None:
        choose(choice.variant, int(st.session_state[key]))

    orders = list(known)
    at = orders.index(choice.order)
    st.selectbox("Layer in view", orders, index=at, format_func=known.__getitem__, key=key, on_change=changed)


def _choose_image(here: Page, errors: LayerErrors, choice: Choice) -> EncodedImage:
    """The image in view; where there is none, that on which this layer errs most."""
    images = here.workspace.images
    worst = next(layer.worst_image for layer in errors.layers if layer.order == choice.order)
    names = [image.name for image in images]

    def label(name: str) -> str:
        return name or "where this layer errs most"

    asked = names.index(here.view.image) + 1 if here.view.image in names else 0
    name = st.selectbox("On the image", ["", *names], index=asked, format_func=label, key="layers-image")
    return here.workspace.image_named(name or worst) or images[0]
