"""The live slider of the Robustness page: one image under one light, all models beside each other.

Only this part of the page runs again when the slider is let go, so the picture is there at once.

One object along the live slider: which one is followed, and its confidence in every model.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from qviz.chart_style import REFERENCE, variant_colour
from qviz.corruptions import moved_boxes
from qviz.errors import QvizError
from qviz.features.comparison import panel as compare
from qviz.features.comparison.matching import IOU, changes, confidences
from qviz.features.comparison.panel import payload
from qviz.features.corruption_sweep.panel import KINDS, Kind
from qviz.features.corruption_sweep.plot import Curve, live_curves
from qviz.features.detection.models import LoadedModel
from qviz.structures import Detections, EncodedImage, Inference
from qviz.structures.boxes import iou_matrix
from qviz.ui import server, view
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.strip import strip
from qviz.ui.viewer import ViewerState, viewer

BEAT = 0.4
FOLLOWED = "qviz_live_object"


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """An object of an image (its plain digest): a box and a class, in `Detections` of one."""

    image: str
    what: Detections

    def position(self, among: Detections) -> int | None:
        """Where it is among other detections."""
        overlap = iou_matrix(self.what.boxes, among.boxes)[0] if len(among) else np.zeros(0)
        overlap = np.where(among.class_ids == self.what.class_ids[0], overlap, 0)
        return int(overlap.argmax()) if overlap.max(initial=0) >= IOU else None


def follow(image: EncodedImage, found: Detections, number: int) -> None:
    """This object is followed from now on."""
    if 0 <= number < len(found):
        st.session_state[FOLLOWED] = Followed(image.plain.digest, found[[number]])


def live_curve_followed(here: Page, image: EncodedImage) -> Followed | None:
    """The one chosen on this image, else the reference's most confident one on the clean image."""
    kept: Followed | None = st.session_state.get(FOLLOWED)
    if kept is not None and kept.image == image.plain.digest:
        return kept
    assert here.models is not None, "pages without a model stop before"
    clean = server.results().found(here.models.reference, image.plain)
    if not isinstance(clean, Inference) or not len(clean.detections):
        return None
    return Followed(image.plain.digest, clean.detections.by_score()[[0]])


def live_curve_show(here: Page, image: EncodedImage, kind: Kind, amount: float, what: Followed | None) -> None:
    """Confidence of every model along the slider; drawn again until every point is there."""
    assert here.models is not None, "pages without a model stop before"
    found, images = here.models, [kind.under(image, at) for at in kind.amounts]
    server.results().want(found.all, [image, *images])

    def pending() -> bool:
        return server.results().pending(found.all, [image, *images]) > 0

    @st.fragment(run_every=BEAT if pending() else None)
    def chart() -> None:
        key = f"qviz-live-waits-{kind.name}-{image.digest[:12]}"
        waits = pending()
        if st.session_state.get(key) and not waits:
            st.session_state[key] = False
            st.rerun()
        st.session_state[key] = waits
        object_ = what or live_curve_followed(here, image)
        if object_ is None:
            st.caption("No object is followed: the reference finds none on the clean image.")
            return
        label = found.reference.inspection.label(int(object_.what.class_ids[0]))
        st.text(f"{label}: confidence along the slider. Click another box to follow it.")
        curves = [
            Curve(found.name(model), _colour(here, model), _points(model, image, kind, object_)) for model in found.all
        ]
        title = f"{kind.label} ({kind.unit})" if kind.unit else kind.label
        figure = live_curves(curves, kind.ends, amount, here.view.score, title)
        st.plotly_chart(figure, width="stretch", key=f"live-curves-{kind.name}")

    chart()


def _colour(here: Page, model: LoadedModel) -> str:
    assert here.models is not None, "pages without a model stop before"
    numbers = {variant.digest: i for i, variant in enumerate(here.models.variants)}
    return variant_colour(numbers[model.digest]) if model.digest in numbers else REFERENCE


def _points(model: LoadedModel, image: EncodedImage, kind: Kind, what: Followed) -> list[tuple[float, float]]:
    """(amount, confidence) where it is known already."""
    points = []
    for amount in kind.amounts:
        under = kind.under(image, amount)
        run = server.results().found(model, under)
        if isinstance(run, Inference):
            boxes, kept = moved_boxes(what.what.boxes, (run.width, run.height), under)
            there = Detections.of(boxes, what.what.scores, what.what.class_ids)
            if kept.all():
                points.append((float(amount), float(confidences(there, run.detections)[0])))
    return points


THUMB = 160
PICKED = "qviz_live_amount"


def choose_image(here: Page, image: EncodedImage) -> None:
    """Another image comes into view."""
    names = [other.name for other in here.workspace.images]
    key = f"live-image-{image.digest[:12]}"

    def changed() -> None:
        view.select(None)
        view.change(image=st.session_state[key])

    st.selectbox("Image", names, names.index(image.name), key=key, on_change=changed)


@st.fragment
def show(here: Page, image: EncodedImage, variants: Sequence[LoadedModel]) -> None:
    """Slider, pictures, viewer and curves of one image."""
    assert here.models is not None, "pages without a model stop before"
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    with left:
        kind = _kind()
    with right:
        amount = _amount(kind)
    under = kind.under(image, amount)
    try:
        picture, runs = compare.run_now(here, under, variants)
    except QvizError as error:
        st.text(f"{image.name} cannot be shown. {error}")
        return
    followed = live_curve_followed(here, image)
    wide, narrow = st.columns([3, 2])
    with wide:
        state = _viewer(here, under, picture, runs, variants, followed)
    _take(state, image, runs)
    with narrow:
        live_curve_show(here, image, kind, amount, live_curve_followed(here, image))
    _pictures(image, kind, amount)


def _kind() -> Kind:
    names = list(KINDS)
    name = st.selectbox(
        "Light", names, format_func=lambda name: KINDS[name].label, key="qviz-live-kind", help="One shift at a time."
    )
    return KINDS[name or names[0]]


def _amount(kind: Kind) -> float:
    key = f"qviz-live-{kind.name}"
    if (picked := st.session_state.pop(PICKED, None)) is not None:
        st.session_state[key] = picked  # a picture was clicked
    elif key not in st.session_state:
        st.session_state[key] = float(kind.neutral)
    start, end = (float(side) for side in kind.ends)
    label = f"{kind.label} ({kind.unit})" if kind.unit else kind.label
    step = float(kind.step)
    style = "%d" if step >= 1 else "%.2f"
    return round(st.slider(label, start, end, step=step, format=style, key=key, help=kind.help), 4)


def _viewer(
    here: Page,
    under: EncodedImage,
    picture: Preview,
    runs: Sequence[Inference],
    variants: Sequence[LoadedModel],
    followed: Followed | None,
) -> ViewerState:
    assert here.models is not None, "pages without a model stop before"
    panes = [(here.models.name(variant), run) for variant, run in zip(variants, runs[1:], strict=True)]
    chosen = _selected(here, runs, variants, followed)
    data = payload(under, picture, here.models, runs[0], panes, None, here.view, chosen, (0, 1))
    data["view"]["present"] = None  # there is one image, and the light is the control
    return viewer(data, key="live")


def _selected(
    here: Page, runs: Sequence[Inference], variants: Sequence[LoadedModel], followed: Followed | None
) -> str | None:
    """The object that is followed, as the viewer names it under this light."""
    assert here.models is not None, "pages without a model stop before"
    if followed is None or not variants or followed.position(runs[0].detections) is None:
        return None
    wanted = followed.position(runs[0].detections)
    number = next(i for i, other in enumerate(here.models.variants) if other.digest == variants[0].digest)
    rows = changes(runs[0].detections, runs[1].detections, None, here.view.score)
    row = next((row for row in rows if row.reference == wanted), None)
    return None if row is None else f"v{number}:{wanted}:{-1 if row.variant is None else row.variant}"


def _take(state: ViewerState, image: EncodedImage, runs: Sequence[Inference]) -> None:
    """A box that was clicked is followed from now on; a threshold that was moved is kept."""
    if "threshold" in state.acted and state.threshold is not None:
        view.change(score=round(state.threshold, 2))
        st.rerun()
    if "selected" in state.acted and state.selected:
        _, first, second = (part for part in state.selected.split(":"))
        number, run = (int(first), runs[0]) if int(first) >= 0 else (int(second), runs[1])
        follow(image, run.detections, number)
        st.rerun(scope="fragment")


def _pictures(image: EncodedImage, kind: Kind, amount: float) -> None:
    """The image at each of the slider's amounts; a click moves the slider there."""
    shifted = {kind.text(at): kind.under(image, at) for at in kind.amounts}
    server.results().want_previews(shifted.values(), THUMB)

    def pending() -> bool:
        return any(server.results().preview(other, THUMB) is None for other in shifted.values())

    @st.fragment(run_every=0.4 if pending() else None)
    def pictures() -> None:
        rows = [{"name": n, "src": _source(other), "badge": n, "level": "none"} for n, other in shifted.items()]
        picked = strip(rows, kind.text(amount), key=f"live-strip-{kind.name}")
        if picked is not None and picked in shifted and picked != kind.text(amount):
            st.session_state[PICKED] = next(float(at) for at in kind.amounts if kind.text(at) == picked)
            st.rerun()

    pictures()


def _source(image: EncodedImage) -> str:
    picture = server.results().preview(image, THUMB)
    if not isinstance(picture, Preview):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode()
