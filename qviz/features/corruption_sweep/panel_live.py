"""The slider of the Robustness page: one image under one corruption in all models, and the confidence of one object.

Only this part of the page reruns when the user releases the slider, so that the image appears immediately.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st

from qviz.corruptions import CORRUPTIONS, SEVERITIES, moved_boxes
from qviz.errors import QvizError
from qviz.features.comparison import panel as compare
from qviz.features.comparison.matching import IOU, changes, confidences
from qviz.features.comparison.panel_viewer import payload
from qviz.features.corruption_sweep.plot import live_curves
from qviz.features.corruption_sweep.text import corruption_title
from qviz.features.detection.models import LoadedModel
from qviz.formatting import listed
from qviz.structures import AppliedCorruption, Detections, EncodedImage, Inference
from qviz.structures.boxes import iou_matrix
from qviz.ui import clicks, page, server, view
from qviz.ui.page import Page
from qviz.ui.results import Preview, redraw_while_pending
from qviz.ui.strip import strip
from qviz.ui.viewer import ViewerState, viewer

REFRESH_SECONDS = 0.4
THUMBNAIL = compare.THUMBNAIL
MAX_BESIDE = 2
"""Maximum number of panes that leave room for the curves beside them."""
FOLLOWED, KIND = "qviz_live_object", "qviz-live-kind"


@dataclass(frozen=True, slots=True)
class Slider:
    """One slider: the severity of a corruption, or a change of light by any amount.

    Attributes:
        amounts: The amounts that are drawn as pictures and as points of the curve.
        neutral: The amount that leaves the image unchanged.
    """

    name: str
    label: str
    amounts: tuple[float, ...]
    step: float
    neutral: float
    unit: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        return self.amounts[0], self.amounts[-1]

    @property
    def title(self) -> str:
        return f"{self.label} ({self.unit})" if self.unit else self.label

    def under(self, image: EncodedImage, amount: float) -> EncodedImage:
        """The image at this amount."""
        return image.under(None if amount == self.neutral else AppliedCorruption(self.name, amount))

    def text(self, amount: float) -> str:
        """An amount in words, e.g. `-1.5 stops`, `clean` or `severity 3`."""
        if amount == self.neutral:
            return "clean"
        return f"severity {amount:g}" if self.name in CORRUPTIONS else f"{amount:+g} {self.unit}".strip()


_CONTINUOUS = (
    Slider(
        "exposure", "Exposure", (-4, -3, -2, -1.5, -1, -0.5, 0, 1, 2), 0.25, 0, "stops", "Each stop halves the light."
    ),
    Slider(
        "gamma",
        "Gamma",
        (0.3, 0.5, 0.7, 1, 1.4, 1.8, 2.2, 2.6, 3),
        0.1,
        1,
        help="Above 1 darkens the midtones, below 1 lightens them.",
    ),
    Slider(
        "temperature",
        "Colour temperature",
        (-3500, -2500, -1500, -500, 0, 1000, 2500, 4000, 5500),
        250,
        0,
        "K",
        "Relative to daylight: negative is warmer, positive is cooler.",
    ),
)
SLIDERS: dict[str, Slider] = {slider.name: slider for slider in _CONTINUOUS} | {
    row.name: Slider(row.name, corruption_title(row.name), (0, *SEVERITIES), 1, 0, "severity", row.description)
    for row in CORRUPTIONS.values()
}


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """The object that is followed: the digest of its image without corruption, and `Detections` with a single row."""

    image: str
    target: Detections

    def position(self, detections: Detections) -> int | None:
        """Index of the detection of the same class that matches it best, or None."""
        overlap = iou_matrix(self.target.boxes, detections.boxes)[0] if len(detections) else np.zeros(0)
        overlap = np.where(detections.class_ids == self.target.class_ids[0], overlap, 0)
        return int(overlap.argmax()) if overlap.max(initial=0) >= IOU else None


def _followed(here: Page, image: EncodedImage) -> Followed | None:
    """The object that the user chose on this image, or else the reference's most confident one on the clean image."""
    last: Followed | None = st.session_state.get(FOLLOWED)
    if last is not None and last.image == image.plain.digest:
        return last
    clean = server.results().inference(here.loaded.reference, image.plain)
    if not isinstance(clean, Inference) or not len(clean.detections):
        return None
    return Followed(image.plain.digest, clean.detections.by_score()[[0]])


def choose_image(here: Page, image: EncodedImage) -> None:
    """Draw a list of the images; the chosen one becomes the page's image."""
    names = [other.name for other in here.workspace.images]
    key = f"live-image-{image.digest[:12]}"

    def changed() -> None:
        view.select(None)
        view.change(image=st.session_state[key])

    st.selectbox("Image", names, names.index(image.name), key=key, on_change=clicks.callback(changed))


@clicks.fragment()
def show(here: Page, image: EncodedImage, variants: Sequence[LoadedModel]) -> None:
    """Draw the slider, pictures, viewer and curves of one image."""
    first, second, third = st.columns([2, 2, 3], vertical_alignment="bottom")
    with first:
        choose_image(here, image)
    with second:
        slider = _choose_slider()
    with third:
        amount = _choose_amount(slider)
    corrupted = slider.under(image, amount)
    try:
        picture, runs = compare.run_now(here, corrupted, variants)
    except QvizError as error:
        st.text(f"{image.name} cannot be shown. {error}")
        return
    if len(runs) > MAX_BESIDE:  # the panes need the whole width
        wide, narrow = st.container(), st.container()
    else:
        wide, narrow = st.columns([3, 2])
    with wide:
        state = _viewer(here, corrupted, picture, runs, variants, _followed(here, image))
        _pictures(image, slider, amount)
    _apply_events(state, image, runs)
    with narrow:
        _curves(here, image, slider, amount)


def _in_view() -> tuple[Slider, float]:
    """The slider and amount in the view, or else the first slider at its neutral amount."""
    name, _, amount = view.current().light.partition(":")
    if name and name not in SLIDERS:
        page.unknown(f"the light {name}, which is not one of {listed(list(SLIDERS))}")
    slider = SLIDERS.get(name, next(iter(SLIDERS.values())))
    start, end = slider.ends
    return slider, min(max(float(amount), start), end) if name in SLIDERS else slider.neutral


def _show_light(slider: Slider, amount: float) -> None:
    """Make this slider and amount part of the view."""
    is_first = slider is next(iter(SLIDERS.values()))
    view.change(light="" if is_first and amount == slider.neutral else f"{slider.name}:{round(amount, 4):g}")


def _choose_slider() -> Slider:
    slider, _ = _in_view()
    st.session_state[KIND] = slider.name

    def changed() -> None:
        chosen = SLIDERS[st.session_state[KIND]]
        _show_light(chosen, chosen.neutral)

    st.selectbox(
        "Light",
        list(SLIDERS),
        format_func=lambda name: SLIDERS[name].label,
        key=KIND,
        on_change=clicks.callback(changed),
        help="One corruption at a time.",
    )
    return slider


def _choose_amount(slider: Slider) -> float:
    key = f"qviz-live-{slider.name}"
    st.session_state[key] = float(_in_view()[1])
    start, end = (float(side) for side in slider.ends)
    step = float(slider.step)
    style = "%d" if step >= 1 else "%.2f"
    amount = st.slider(
        slider.title,
        start,
        end,
        step=step,
        format=style,
        key=key,
        on_change=clicks.callback(lambda: _show_light(slider, st.session_state[key])),
        help=slider.help,
    )
    return round(amount, 4)


def _viewer(
    here: Page,
    image: EncodedImage,
    picture: Preview,
    runs: Sequence[Inference],
    variants: Sequence[LoadedModel],
    followed: Followed | None,
) -> ViewerState:
    panes = [(here.loaded.name(variant), run) for variant, run in zip(variants, runs[1:], strict=True)]
    selected = _selected(here, runs, variants, followed)
    data = payload(image, picture, here.loaded, runs[0], panes, None, here.view, selected, (0, 1))
    data["view"]["present"] = None  # no projector mode: there is one image, controlled by the slider
    return viewer(data, key="live")


def _selected(
    here: Page, runs: Sequence[Inference], variants: Sequence[LoadedModel], followed: Followed | None
) -> str | None:
    """The name by which the viewer identifies the followed object under this corruption, or None."""
    position = followed.position(runs[0].detections) if followed is not None and variants else None
    if position is None:
        return None
    number = next(i for i, other in enumerate(here.loaded.variants) if other.digest == variants[0].digest)
    rows = changes(runs[0].detections, runs[1].detections, None, here.view.score)
    row = next((row for row in rows if row.reference == position), None)
    return None if row is None else f"v{number}:{position}:{-1 if row.variant is None else row.variant}"


def _apply_events(state: ViewerState, image: EncodedImage, runs: Sequence[Inference]) -> None:
    """Follow the box that the user clicked, and adopt the threshold that the user set."""
    if "threshold" in state.acted and state.threshold is not None:
        view.change(score=round(state.threshold, 2))
        state.done()
        st.rerun()
    if "selected" in state.acted and state.selected:
        _, first, second = state.selected.split(":")
        number, run = (int(first), runs[0]) if int(first) >= 0 else (int(second), runs[1])
        if 0 <= number < len(run.detections):
            st.session_state[FOLLOWED] = Followed(image.plain.digest, run.detections[[number]])
        state.done()
        clicks.rerun_part()
    state.done()


def _curves(here: Page, image: EncodedImage, slider: Slider, amount: float) -> None:
    """Draw the followed object's confidence in every model along the slider, repeatedly until all points are known."""
    models, images = here.loaded, [slider.under(image, each) for each in slider.amounts]
    server.results().want(models.all, [image, *images])

    def is_pending() -> bool:
        return server.results().pending(models.all, [image, *images]) > 0

    def chart() -> None:
        followed = _followed(here, image)
        if followed is None:
            st.caption("No object is followed: the reference finds none on the clean image.")
            return
        label = models.reference.inspection.label(int(followed.target.class_ids[0]))
        st.text(f"{label}: confidence along the slider. Click another box to follow it.")
        curves = [
            (models.name(model), models.colours[model.digest], _points(model, image, slider, followed))
            for model in models.all
        ]
        figure = live_curves(curves, slider.ends, amount, here.view.score, slider.title)
        st.plotly_chart(figure, width="stretch", key=f"live-curves-{slider.name}")

    redraw_while_pending(f"live-curves-{slider.name}-{image.digest[:12]}", is_pending, chart, REFRESH_SECONDS)


def _points(model: LoadedModel, image: EncodedImage, slider: Slider, followed: Followed) -> list[tuple[float, float]]:
    """(amount, confidence) for each amount at which the model has detections."""
    points, target = [], followed.target
    for amount in slider.amounts:
        corrupted = slider.under(image, amount)
        run = server.results().inference(model, corrupted)
        if isinstance(run, Inference):
            boxes, visible = moved_boxes(target.boxes, (run.width, run.height), corrupted)
            if visible.all():
                moved = Detections.of(boxes, target.scores, target.class_ids)
                points.append((float(amount), float(confidences(moved, run.detections)[0])))
    return points


def _pictures(image: EncodedImage, slider: Slider, amount: float) -> None:
    """Draw the image at each of the slider's amounts; a click moves the slider there."""
    by_text = {slider.text(each): slider.under(image, each) for each in slider.amounts}
    server.results().want_previews(by_text.values(), THUMBNAIL)

    def is_pending() -> bool:
        return any(server.results().preview(other, THUMBNAIL) is None for other in by_text.values())

    def show_clicked(text: str) -> None:
        if text in by_text:
            _show_light(slider, next(each for each in slider.amounts if slider.text(each) == text))

    def pictures() -> None:
        previews = {text: server.results().preview(other, THUMBNAIL) for text, other in by_text.items()}
        rows = [
            {"name": text, "src": each.source if isinstance(each, Preview) else "", "badge": text, "level": "none"}
            for text, each in previews.items()
        ]
        strip(rows, slider.text(amount), show_clicked, key=f"live-strip-{slider.name}")

    redraw_while_pending(f"live-pictures-{slider.name}-{image.digest[:12]}", is_pending, pictures, REFRESH_SECONDS)
