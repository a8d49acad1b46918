"""One object along the live slider: which one is followed, and its confidence in every model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import streamlit as st

from qviz.analysis.found_again import IOU, confidences
from qviz.analysis.models import LoadedModel
from qviz.corruptions.shift import moved
from qviz.plots.colours import REFERENCE, variant_colour
from qviz.plots.live_curves import Curve, live_curves
from qviz.structures import Detections, EncodedImage, Inference
from qviz.structures.boxes import iou_matrix
from qviz.ui import calls
from qviz.ui.page import Page
from qviz.ui.robustness_kinds import Kind

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


def followed(here: Page, image: EncodedImage) -> Followed | None:
    """The one chosen on this image, else the reference's most confident one on the clean image."""
    kept: Followed | None = st.session_state.get(FOLLOWED)
    if kept is not None and kept.image == image.plain.digest:
        return kept
    assert here.models is not None, "pages without a model stop before"
    clean = calls.results().found(here.models.reference, image.plain)
    if not isinstance(clean, Inference) or not len(clean.detections):
        return None
    return Followed(image.plain.digest, clean.detections.by_score()[[0]])


def show(here: Page, image: EncodedImage, kind: Kind, amount: float, what: Followed | None) -> None:
    """Confidence of every model along the slider; drawn again until every point is there."""
    assert here.models is not None, "pages without a model stop before"
    found, images = here.models, [kind.under(image, at) for at in kind.amounts]
    calls.results().want(found.all, [image, *images])

    def pending() -> bool:
        return calls.results().pending(found.all, [image, *images]) > 0

    @st.fragment(run_every=BEAT if pending() else None)
    def chart() -> None:
        key = f"qviz-live-waits-{kind.name}-{image.digest[:12]}"
        waits = pending()
        if st.session_state.get(key) and not waits:
            st.session_state[key] = False
            st.rerun()
        st.session_state[key] = waits
        object_ = what or followed(here, image)
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
        run = calls.results().found(model, under)
        if isinstance(run, Inference):
            boxes, kept = moved(what.what.boxes, (run.width, run.height), under)
            there = Detections.of(boxes, what.what.scores, what.what.class_ids)
            if kept.all():
                points.append((float(amount), float(confidences(there, run.detections)[0])))
    return points
