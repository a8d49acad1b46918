"""The Layers page: its jobs, and which layers are in view and selected.

The layer in view is part of the page's address. It stays in view when the user shows other variants or leaves the page.
Further layers of its variant can be selected together with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from qviz.chart_style import variant_colour
from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.layer_error.outliers import outliers, positions_along, worst_layer, worst_variant
from qviz.features.layer_error.plot import Row
from qviz.features.settings import IMAGES
from qviz.job import Job
from qviz.structures import EncodedImage, Scheme
from qviz.structures.dataset import spread
from qviz.ui import jobs, page, view
from qviz.ui.jobs import Work
from qviz.ui.page import Page
from qviz.ui.server import Models


@dataclass(frozen=True, slots=True)
class Choice:
    """The layer in view, by variant and operator index."""

    variant: str
    order: int


SELECTED = "qviz_layers_selected"


def choose(variant: str, order: int, selected: Sequence[int] = ()) -> None:
    """Put a layer in view and select it, or the layers in `selected` together with it."""
    view.change(layer=f"{variant}:{order}")
    st.session_state[SELECTED] = (variant, tuple(sorted({*selected} or {order})))


def selected_with(choice: Choice) -> tuple[int, ...]:
    """Indices of the selected layers, including the one in view."""
    variant, orders = st.session_state.get(SELECTED) or ("", ())
    return orders if variant == choice.variant and choice.order in orders else (choice.order,)


def _from_address() -> Choice | None:
    variant, _, order = view.current().layer.rpartition(":")
    return Choice(variant, int(order)) if order.isdecimal() else None


def variant_in_view() -> str:
    """The variant of the layer in view; empty if none was chosen."""
    return view.current().layer.rpartition(":")[0]


def look_at(variant: str) -> None:
    """Put another variant in view, at the same operator if it has that operator, else at its layer to look at first."""
    view.change(layer=f"{variant}:{view.current().layer.rpartition(':')[2]}")


def chosen(results: Mapping[str, LayerErrors], variant: str = "") -> Choice | None:
    """The layer in view if it is measured, else the layer to show first.

    The layer to show first belongs to `variant` if this variant is measured, else to the variant with the lowest SQNR
    at its end.
    """
    in_view = _from_address()
    layers = results[in_view.variant].layers if in_view is not None and in_view.variant in results else ()
    if in_view is not None and any(layer.order == in_view.order for layer in layers):
        return in_view
    text = view.current().layer
    if text and not text.endswith(":") and (in_view is None or in_view.variant in results):
        page.unknown(f"the layer {text}, which this variant does not have")
    return first_of(results, variant if variant in results else worst_variant(results))


def first_of(results: Mapping[str, LayerErrors], variant: str | None) -> Choice | None:
    """The layer of a variant to show first; None without a variant or a layer."""
    layer = worst_layer(results[variant].layers) if variant is not None else None
    return None if variant is None or layer is None else Choice(variant, layer.order)


INTEGER = (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)
KIND = "layers"


def results_of(
    here: Page, variants: Mapping[str, LoadedModel], images: Sequence[EncodedImage], local_inputs: str
) -> dict[str, LayerErrors] | None:
    """Name of each variant -> its layer errors. While one is being measured, draws its progress and returns None."""
    reference = here.loaded.reference
    shown = tuple((image.digest, image.name) for image in images)
    keys = {name: ((reference.identity, model.identity), shown, local_inputs) for name, model in variants.items()}

    def start(name: str) -> Job[LayerErrors]:
        def measure(context: Context) -> LayerErrors:
            return layers(context, reference, variants[name], images, local_inputs=local_inputs)

        work = Work(jobs.subject_of(variants[name].digest), len(images), name)
        return jobs.start(KIND, keys[name], measure, step=f"Measuring the layers of {name}", unit="images", work=work)

    running = {name: start(name) for name in variants}

    def begin_again() -> None:
        for name, job in running.items():
            if job.cancelled or job.error is not None:
                jobs.forget(KIND, keys[name])

    for job in running.values():
        if job.finished and job.cancelled:
            for other in running.values():
                other.stop()
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
    """The variants that are shown at first: those that the view names, else two, preferably quantized to integers."""
    every = [models.name(variant) for variant in models.variants]
    integer = [models.name(variant) for variant in models.variants if variant.scheme in INTEGER]
    return [name for name in names if name in every] or (integer or every)[:2]


def rows(results: Mapping[str, LayerErrors], names: Sequence[str], base: str) -> dict[str, Row]:
    """Variant -> what the chart draws for it.

    Args:
        names: Names of all loaded variants.
        base: If there are several variants, the one whose operator indices are on the axis.
    """
    several = len(results) > 1
    return {
        name: Row(
            name,
            errors,
            outliers(errors.layers),
            variant_colour(names.index(name)),
            positions_along(errors, results[base]) if several else {},
        )
        for name, errors in results.items()
    }
