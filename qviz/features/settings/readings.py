"""Choose the decoder of a file if several fit the shapes of its outputs, and check that its boxes are plausible.

Each decoder that fits the shapes decodes the same outputs of a few images. Its `fit` says how well the values agree
with that reading: boxes contain the cell that predicts them, and objectness is high together with a class score. A
decoder other than the usual one is chosen if it fits clearly better.

With the final settings, the boxes on these images are checked: most must have their left side left of their right side,
lie on the image, be larger than a pixel and differ in size, and the scores must differ. If not, the model's `odd_boxes`
says what is wrong, and a warning shows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace

import numpy as np

from qviz.context import Context
from qviz.datasets.images import read_image
from qviz.decoders import DECODERS, Decoder
from qviz.detector import Detector, Inspection
from qviz.engine import Blob
from qviz.errors import ImageError, QvizError
from qviz.features.detection.models import LoadedModel
from qviz.formatting import share
from qviz.structures import Detections, EncodedImage, Settings
from qviz.structures.dataset import spread

IMAGES = 3
"""Number of images that are run."""
STRONGEST = 20
"""Number of boxes per image that are checked: those with the highest scores."""
MIN_BOXES = 5
"""With fewer boxes over all images, nothing is reported."""
FLOOR = 0.05
MIN_SAME_SIZE = 30
"""Boxes of the same size are reported only if at least this many were checked. A few objects can be equally large."""
GOOD_FIT = 0.8
"""With at least this fit, boxes of the same size are not reported, because the values confirm the decoder."""
MARGIN = 0.2
"""Another decoder is chosen only if its fit exceeds that of the usual decoder by this much."""
ODD = 0.5
"""If more than this share of the boxes is implausible, the boxes are odd."""
SAME_SIZE = 0.9
SAME_SCORE = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """The outcome of one decoder on a few images.

    Attributes:
        fit: Mean of `Decoder.fit` over the images; None if the decoder has no such measure or nothing was decoded.
        odd: What is implausible about the boxes, or empty.
    """

    decoder: str
    fit: float | None
    odd: str


def with_readings(context: Context, models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> list[LoadedModel]:
    """Each model with the decoder that best fits its outputs on these images; unchanged if they do not decide."""
    names = [rivals(model.inspection) if model.reads_outputs else () for model in models]
    choices = [
        [model.inspection.read_as(name).settings for name in fitting]
        for model, fitting in zip(models, names, strict=True)
    ]
    read = []
    for model, readings in zip(models, _read(context, models, choices, images), strict=True):
        chosen = best_reading(readings)
        read.append(model if chosen is None else replace(model, inspection=model.inspection.read_as(chosen)))
    return read


def checked(context: Context, models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> list[LoadedModel]:
    """The models, each with `odd_boxes` filled in if its boxes on these images are implausible."""
    choices = [[model.settings] if model.reads_outputs else [] for model in models]
    readings = [rows[0].odd if rows else "" for rows in _read(context, models, choices, images)]
    return [
        model
        if model.inspection.odd_boxes == odd
        else replace(model, inspection=replace(model.inspection, odd_boxes=odd))
        for model, odd in zip(models, readings, strict=True)
    ]


def rivals(inspection: Inspection) -> tuple[str, ...]:
    """Names of the decoder in use and of the other decoders that may fit the outputs; empty if there is no choice.

    There is no choice if the user or the file chose the decoder. If the file has class names, decoders for a different
    number of classes are excluded.
    """
    if inspection.sources.get("decoder") != "default":
        return ()
    names, graph = inspection.decoders, inspection.graph
    if inspection.sources.get("labels") not in (None, "class count", "default"):
        count = len(inspection.labels)
        counts = {name: DECODERS[name].class_count(graph) for name in names}
        exact = tuple(name for name in names if counts[name] == count)
        names = exact or tuple(name for name in names if counts[name] is None) or names
    others = [name for name in names if name != inspection.decoder and _shows_fit(name)]
    return (inspection.decoder, *others) if others and _shows_fit(inspection.decoder) else ()


def _shows_fit(name: str) -> bool:
    return type(DECODERS[name]).fit is not Decoder.fit


def best_reading(readings: Sequence[Reading]) -> str | None:
    """The decoder to use, or None if no reading has a fit. The first reading is that of the usual decoder."""
    rated = [reading for reading in readings if reading.fit is not None]
    if not rated:
        return None
    best = max(rated, key=lambda reading: reading.fit or 0.0)
    usual = readings[0]
    if usual.fit is None or (best.fit or 0.0) > usual.fit + MARGIN:
        return best.decoder
    return usual.decoder


def _read(
    context: Context,
    models: Sequence[LoadedModel],
    choices: Sequence[Sequence[Settings]],
    images: Sequence[EncodedImage],
) -> list[list[Reading]]:
    """For each model, its readings with its choices of settings; all of them run at the same time."""
    sample = tuple(spread(list(images), IMAGES))
    submit = context.engine.submit_urgent
    jobs = [
        [submit(read_job, model.blob, choice, sample) for choice in settings if sample]
        for model, settings in zip(models, choices, strict=True)
    ]
    return [[reading for job in row if (reading := _result(job)) is not None] for row in jobs]


def _result(job: Future[Reading]) -> Reading | None:
    try:
        return job.result()
    except QvizError:
        return None  # an image or model that fails here will fail again in the analysis, which reports the error


def read_job(blob: Blob, settings: Settings, images: tuple[EncodedImage, ...]) -> Reading:
    """The outcome of one decoder on the images that can be read; runs in a worker."""
    detector = Detector(blob.read(), settings, candidates=False)
    fits, boxes = [], []
    for encoded in images:
        try:
            image = read_image(encoded)
        except ImageError:
            continue
        inference, fit = detector.detect_and_fit(image, FLOOR)
        fits += [fit] if fit is not None else []
        boxes.append((inference.detections.by_score()[:STRONGEST], (image.width, image.height)))
    decoder = settings.decoder or ""
    fit = float(np.mean(fits)) if fits else None
    check_sizes = (decoder not in DECODERS or DECODERS[decoder].check_sizes) and (fit is None or fit < GOOD_FIT)
    return Reading(decoder, fit, odd_boxes(boxes, check_sizes))


def odd_boxes(images: Sequence[tuple[Detections, tuple[int, int]]], check_sizes: bool = True) -> str:
    """What is implausible about most boxes, e.g. `60% of its 60 strongest boxes lie outside the image`.

    Empty if nothing is implausible, or if there are fewer than `MIN_BOXES` boxes.

    Args:
        images: For each image, its strongest detections (boxes in pixels of the image) and its (width, height).
        check_sizes: Whether boxes that all have the same size are implausible.
    """
    count = sum(len(detections) for detections, _ in images)
    if count < MIN_BOXES:
        return ""
    boxes = np.concatenate([detections.boxes for detections, _ in images])
    sizes = np.concatenate([np.tile(size, (len(detections), 1)) for detections, size in images])
    scores = np.concatenate([detections.scores for detections, _ in images])
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    shares = {
        "have their right side left of the left one, or the lower above the upper": (sides <= 0).any(axis=1),
        "are smaller than a pixel": ((sides > 0) & (sides < 1)).any(axis=1),
        "lie outside the image": ((centres < 0) | (centres > sizes)).any(axis=1),
        "are more than twice as large as the image": (sides > 2 * sizes).any(axis=1),
    }
    for words, odd in shares.items():
        if odd.mean() > ODD:
            return f"{share(float(odd.mean()))} of its {count} strongest boxes {words}"
    relative = sides / sizes
    median = np.median(relative, axis=0)
    if check_sizes and count >= MIN_SAME_SIZE and _same(relative, median, 0.01) > SAME_SIZE:
        return f"its {count} strongest boxes have the same size"
    if count >= 2 * MIN_BOXES and len(images) > 1 and _same(scores[:, None], np.median(scores), 1e-4) > SAME_SCORE:
        return f"its {count} strongest boxes have the same score, {float(np.median(scores)):.2f}"
    return ""


def _same(values: np.ndarray, median: np.ndarray, tolerance: float) -> float:
    """The share of rows in which every value differs from the median by at most `tolerance` times the median."""
    return float((np.abs(values - median) <= tolerance * np.abs(median)).all(axis=1).mean())
