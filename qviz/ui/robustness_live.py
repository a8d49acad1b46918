"""The live slider of the Robustness page: one image under one light, all models beside each other.

Only this part of the page runs again when the slider is let go, so the picture is there at once.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import streamlit as st

from qviz.analysis.changes import changes
from qviz.analysis.models import LoadedModel
from qviz.errors import QvizError
from qviz.structures import EncodedImage, Inference
from qviz.ui import calls, compare, live_curve, view
from qviz.ui.live_curve import Followed
from qviz.ui.overlay import payload
from qviz.ui.page import Page
from qviz.ui.results import Preview
from qviz.ui.robustness_kinds import KINDS, Kind
from qviz.ui.strip import strip
from qviz.ui.viewer import ViewerState, viewer

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
    followed = live_curve.followed(here, image)
    wide, narrow = st.columns([3, 2])
    with wide:
        state = _viewer(here, under, picture, runs, variants, followed)
    _take(state, image, runs)
    with narrow:
        live_curve.show(here, image, kind, amount, live_curve.followed(here, image))
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
        live_curve.follow(image, run.detections, number)
        st.rerun(scope="fragment")


def _pictures(image: EncodedImage, kind: Kind, amount: float) -> None:
    """The image at each of the slider's amounts; a click moves the slider there."""
    shifted = {kind.text(at): kind.under(image, at) for at in kind.amounts}
    calls.results().want_previews(shifted.values(), THUMB)

    def pending() -> bool:
        return any(calls.results().preview(other, THUMB) is None for other in shifted.values())

    @st.fragment(run_every=0.4 if pending() else None)
    def pictures() -> None:
        rows = [{"name": n, "src": _source(other), "badge": n, "level": "none"} for n, other in shifted.items()]
        picked = strip(rows, kind.text(amount), key=f"live-strip-{kind.name}")
        if picked is not None and picked in shifted and picked != kind.text(amount):
            st.session_state[PICKED] = next(float(at) for at in kind.amounts if kind.text(at) == picked)
            st.rerun()

    pictures()


def _source(image: EncodedImage) -> str:
    picture = calls.results().preview(image, THUMB)
    if not isinstance(picture, Preview):
        return ""
    return "data:image/jpeg;base64," + base64.b64encode(picture.jpeg).decode()
