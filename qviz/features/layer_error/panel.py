"""The Layers page: its jobs, its images and its chart.

The Layers page: which variant, layer and image the panel below the chart shows.

The layer in view is a part of the view: it stands in the address, and stays while other variants are shown, and when
the page is left.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import streamlit as st

from qviz.cache import LRUCache
from qviz.chart_style import variant_colour
from qviz.errors import Cancelled
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layer_errors, outliers, reference_places, worst_layer, worst_variant
from qviz.features.layer_error.plot import Row, layer_error_chart
from qviz.features.settings import a_few
from qviz.formatting import duration
from qviz.progress import TimeLeft
from qviz.structures import EncodedImage, Scheme
from qviz.ui import clicks, page, server, view
from qviz.ui.page import Page
from qviz.ui.server import Models


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


BEAT = 0.5
INTEGER = (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)


@dataclass(slots=True)
class LayerJob:
    """The layers of one variant under way. seconds_left: None while the pace is unknown."""

    key: Hashable
    total: int
    done: int = 0
    seconds_left: float | None = None
    cancel: threading.Event = field(default_factory=threading.Event)
    future: Future[LayerErrors] = field(default_factory=Future)
    _left: TimeLeft = field(default_factory=TimeLeft)

    def report(self, done: int, total: int) -> None:
        self.done, self.total = done, total
        self.seconds_left = self._left.after(done, total)


@st.cache_resource(show_spinner=False)
def _jobs() -> LRUCache[LayerJob]:
    return LRUCache(32)


def job(here: Page, variant: LoadedModel, images: Sequence[EncodedImage], local_inputs: str) -> LayerJob:
    """The layers of a variant over a few images, started once for the server."""
    assert here.models is not None, "pages without a model stop before"
    reference = here.models.reference
    models = tuple(model.identity for model in (reference, variant))
    key = models, tuple((image.digest, image.name) for image in images), local_inputs

    def start() -> LayerJob:
        begun = LayerJob(key, len(images))
        begun.future = server.threads().submit(
            layer_errors, server.engine(), reference, variant, images, local_inputs, begun.report, cancel=begun.cancel
        )
        return begun

    return _jobs().get(key, start)


def images_of(here: Page) -> list[EncodedImage]:
    """The image in view, where there is one, and others spread over those that are loaded."""
    seen = here.workspace.image_named(here.view.image)
    others = [image for image in a_few(here.workspace.images) if seen is None or image.digest != seen.digest]
    return ([seen] if seen is not None else []) + others


@st.fragment(run_every=BEAT)
def wait_for(jobs: Sequence[LayerJob]) -> None:
    """A bar and a way out until all are there; then the page is drawn once more."""
    if all(begun.future.done() for begun in jobs):
        st.rerun()
    done, total = sum(begun.done for begun in jobs), sum(begun.total for begun in jobs)
    left, right = st.columns([6, 1], vertical_alignment="center")
    stopping = any(begun.cancel.is_set() for begun in jobs)
    said = f"{done} of {total} images run, layer by layer"
    seconds = max((begun.seconds_left or 0.0 for begun in jobs if not begun.future.done()), default=0.0)
    said += f" · {duration(seconds)} left" if seconds else ""
    left.progress(min(done / max(total, 1), 1.0), text="Stopping" if stopping else said)
    right.button("Cancel", on_click=_stop, args=(jobs,), disabled=stopping, width="stretch", key="layers-cancel")


def _stop(jobs: Sequence[LayerJob]) -> None:
    for begun in jobs:
        begun.cancel.set()


def stopped(jobs: Sequence[LayerJob]) -> bool:
    """Whether somebody stopped one of them; then how to go on."""
    ended = [begun for begun in jobs if isinstance(begun.future.exception(), Cancelled)]
    if ended:
        page.verdict("Stopped before all layers were run.")

        def forget() -> None:
            for begun in ended:
                _jobs().forget(begun.key)

        clicks.button(st, "Go on", forget, "layers-again", st.rerun, type="primary")
    return bool(ended)


def usual(found: Models, said: Sequence[str]) -> list[str]:
    """The variants shown where nobody chose: those that the view names, else two, in integers if there are such."""
    names = [found.name(variant) for variant in found.variants]
    integer = [found.name(variant) for variant in found.variants if variant.scheme in INTEGER]
    return [name for name in said if name in names] or (integer or names)[:2]


def rows(results: Mapping[str, LayerErrors], names: Sequence[str]) -> dict[str, Row]:
    """What the chart draws of each variant; several stand along the reference's. names: all that are loaded."""
    several = len(results) > 1
    return {
        name: Row(
            name,
            errors,
            outliers(errors.layers),
            variant_colour(names.index(name)),
            reference_places(errors) if several else {},
        )
        for name, errors in results.items()
    }


def show_chart(rows: Sequence[Row], choice: Choice | None) -> None:
    """All variants over one another; a click chooses a layer."""
    key = "layers-chart"
    at = (choice.variant, choice.order) if choice is not None else None
    figure = layer_error_chart(rows, at)
    st.plotly_chart(figure, width="stretch", key=key, on_select=lambda: _clicked(key), selection_mode="points")


def _clicked(key: str) -> None:
    points = st.session_state[key].selection.points
    if points:
        variant, order = points[-1]["customdata"][:2]
        choose(str(variant), int(order))
