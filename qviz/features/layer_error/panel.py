"""The Layers page: its jobs and chart, and which variant, layer and image the panel below the chart shows.

The selected layer is part of the view: it is in the address, and stays when other variants are shown or the page is
left.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from qviz.chart_style import variant_colour
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.layer_error.outliers import outliers, reference_positions, worst_layer, worst_variant
from qviz.features.layer_error.plot import Row, layer_error_chart
from qviz.features.settings import IMAGES
from qviz.job import Job
from qviz.structures import EncodedImage, Scheme
from qviz.structures.dataset import spread
from qviz.ui import jobs, view
from qviz.ui.page import Page
from qviz.ui.server import Models


@dataclass(frozen=True, slots=True)
class Choice:
    """The selected layer."""

    variant: str
    order: int


def choose(variant: str, order: int) -> None:
    """Select another layer."""
    view.change(layer=f"{variant}:{order}")


def _from_address() -> Choice | None:
    variant, _, order = view.current().layer.rpartition(":")
    return Choice(variant, int(order)) if order.isdecimal() else None


def chosen(results: Mapping[str, LayerErrors]) -> Choice | None:
    """The selected layer where it is shown; else the layer to look at first, in the variant that ends worst."""
    selected = _from_address()
    rows = results[selected.variant].layers if selected is not None and selected.variant in results else ()
    if selected is not None and any(layer.order == selected.order for layer in rows):
        return selected
    return _first(results, worst_variant(results))


def _first(results: Mapping[str, LayerErrors], variant: str | None) -> Choice | None:
    order = worst_layer(results[variant].layers) if variant is not None else None
    return None if variant is None or order is None else Choice(variant, order)


def show(here: Page, results: Mapping[str, LayerErrors], choice: Choice) -> EncodedImage:
    """Select boxes of variant, layer and image. Returns the selected image."""
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
    """Another variant; the same operator where it has it, else the one to look at first."""
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
    labels = {layer.order: f"{layer.order}  {layer.op_kind}  {layer.tensor[:120]}" for layer in errors.layers}

    def changed() -> None:
        choose(choice.variant, int(st.session_state[key]))

    orders = list(labels)
    at = orders.index(choice.order)
    st.selectbox("Layer in view", orders, index=at, format_func=labels.__getitem__, key=key, on_change=changed)


def _choose_image(here: Page, errors: LayerErrors, choice: Choice) -> EncodedImage:
    """The image in view; without one, the image with the largest error in this layer."""
    images = here.workspace.images
    worst = next(layer.worst_image for layer in errors.layers if layer.order == choice.order)
    names = [image.name for image in images]

    def label(name: str) -> str:
        return name or "image with the largest error in this layer"

    index = names.index(here.view.image) + 1 if here.view.image in names else 0
    name = st.selectbox("On the image", ["", *names], index=index, format_func=label, key="layers-image")
    return here.workspace.image_named(name or worst) or images[0]


INTEGER = (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)
KIND = "layers"


def start(here: Page, variant: LoadedModel, images: Sequence[EncodedImage], local_inputs: str) -> Job[LayerErrors]:
    """The layers of a variant on these images, started once per server."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    return jobs.start(
        KIND,
        _key(here, variant, images, local_inputs),
        lambda context: layers(context, reference, variant, images, local_inputs=local_inputs),
        step=f"Measuring the layers of {here.models.name(variant)}",
        unit="images",
    )


def _key(here: Page, variant: LoadedModel, images: Sequence[EncodedImage], local_inputs: str) -> Hashable:
    assert here.models is not None, "pages without a model stop before"
    models = tuple(model.identity for model in (here.models.reference, variant))
    return models, tuple((image.digest, image.name) for image in images), local_inputs


def results_of(
    here: Page, variants: Mapping[str, LoadedModel], images: Sequence[EncodedImage], local_inputs: str
) -> dict[str, LayerErrors] | None:
    """Name -> layers of each variant; None while one is measured, which is shown with its progress."""
    running = {name: start(here, variant, images, local_inputs) for name, variant in variants.items()}

    def begin_again() -> None:
        for name, job in running.items():
            if job.cancelled or job.error is not None:
                jobs.forget(KIND, _key(here, variants[name], images, local_inputs))

    for job in running.values():
        if job.finished and job.cancelled:
            for other in running.values():
                other.cancel.set()
        if not jobs.wait(job, "layers", begin_again):
            return None
    return {name: job.future.result() for name, job in running.items()}


def images_of(here: Page) -> list[EncodedImage]:
    """The image in view, if there is one, and a few others spread over the loaded images."""
    current = here.workspace.image_named(here.view.image)
    others = [
        image for image in spread(here.workspace.images, IMAGES) if current is None or image.digest != current.digest
    ]
    return ([current] if current is not None else []) + others


def default_variants(models: Models, names: Sequence[str]) -> list[str]:
    """The variants shown at first: those that the view names, else two, quantized to integers if there are such."""
    every = [models.name(variant) for variant in models.variants]
    integer = [models.name(variant) for variant in models.variants if variant.scheme in INTEGER]
    return [name for name in names if name in every] or (integer or every)[:2]


def rows(results: Mapping[str, LayerErrors], names: Sequence[str]) -> dict[str, Row]:
    """What the chart draws of each variant; several share the reference's axis. names: all loaded variants."""
    several = len(results) > 1
    return {
        name: Row(
            name,
            errors,
            outliers(errors.layers),
            variant_colour(names.index(name)),
            reference_positions(errors) if several else {},
        )
        for name, errors in results.items()
    }


def show_chart(rows: Sequence[Row], choice: Choice | None) -> None:
    """All variants in one chart; a click selects a layer."""
    key = "layers-chart"
    at = (choice.variant, choice.order) if choice is not None else None
    figure = layer_error_chart(rows, at)
    st.plotly_chart(figure, width="stretch", key=key, on_select=lambda: _clicked(key), selection_mode="points")


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        variant, order = points[-1]["customdata"][:2]
        choose(str(variant), int(order))
