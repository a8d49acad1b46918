"""Find out how the outputs of a file are to be read where shapes allow several readings, and whether boxes make sense.

Each decoder that fits the shapes reads the same outputs of a few images. Its `fit` says how well the values agree with
the reading: boxes contain the cell that predicts them, an objectness is high together with a class. Another decoder
than the usual one is taken where it fits clearly better.

With the settings that are used in the end, the boxes on these images are checked: most must have a left and a right
side in this order, lie on the image, be larger than a pixel and differ in size, and scores must differ. If not, the
model's `odd_boxes` says what was seen, and a warning shows it.
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
"""Images that are run."""
STRONGEST = 20
"""Boxes per image that are checked: the ones with the highest scores."""
MIN_BOXES = 5
"""With fewer boxes over all images nothing is said."""
FLOOR = 0.05
MARGIN = 0.2
"""Another decoder must fit by so much better."""
ODD = 0.5
"""Share of the boxes above which they are odd."""
SAME_SIZE = 0.9
SAME_SCORE = 0.9


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One decoder on a few images.

    Attributes:
        fit: Mean of `Decoder.fit`; None where the values do not show it.
        odd: What is senseless about the boxes, or empty.
    """

    decoder: str
    fit: float | None
    odd: str


def with_readings(context: Context, models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> list[LoadedModel]:
    """Each model with the decoder whose reading fits the outputs of these images; unchanged if they do not decide."""
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
    """The models, each with `odd_boxes` filled in if its boxes on these images make no sense."""
    choices = [[model.settings] if model.reads_outputs else [] for model in models]
    readings = [rows[0].odd if rows else "" for rows in _read(context, models, choices, images)]
    return [
        model
        if model.inspection.odd_boxes == odd
        else replace(model, inspection=replace(model.inspection, odd_boxes=odd))
        for model, odd in zip(models, readings, strict=True)
    ]


def rivals(inspection: Inspection) -> tuple[str, ...]:
    """The decoder in use and others that fit, of which values may choose; empty if the user chose the decoder.

    Class names decide first: with them, decoders of another number of classes do not count.
    """
    if inspection.sources.get("decoder") != "default":
        return ()
    names, graph = inspection.decoders, inspection.graph
    if inspection.sources.get("labels") not in (None, "class count", "default"):
        count = len(inspection.labels)
        names = tuple(name for name in names if DECODERS[name].class_count(graph) in (count, None)) or names
    others = [name for name in names if name != inspection.decoder and _shows_fit(name)]
    return (inspection.decoder, *others) if others and _shows_fit(inspection.decoder) else ()


def _shows_fit(name: str) -> bool:
    return type(DECODERS[name]).fit is not Decoder.fit


def best_reading(readings: Sequence[Reading]) -> str | None:
    """The decoder to use; None where there are no readings. The first is that of the usual decoder."""
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
    """The readings of each model with its choices of settings, which all run at the same time."""
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
        return None  # an image or model that fails here fails again, with its sentence, in the analysis


def read_job(blob: Blob, settings: Settings, images: tuple[EncodedImage, ...]) -> Reading:
    """In a worker: one decoder on the images that can be read."""
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
    odd = odd_boxes(boxes, DECODERS[decoder].check_sizes if decoder in DECODERS else True)
    return Reading(decoder, float(np.mean(fits)) if fits else None, odd)


def odd_boxes(images: Sequence[tuple[Detections, tuple[int, int]]], check_sizes: bool = True) -> str:
    """What is senseless about most boxes, as the end of a sentence; empty if nothing, or if there are few boxes.

    Args:
        images: The strongest detections of each image in its pixels, and its (width, height).
        check_sizes: Whether boxes of one size are senseless.
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
    if check_sizes and count >= 2 * MIN_BOXES and _same(relative, median, 0.01) > SAME_SIZE:
        return f"its {count} strongest boxes have the same size"
    if count >= 2 * MIN_BOXES and len(images) > 1 and _same(scores[:, None], np.median(scores), 1e-4) > SAME_SCORE:
        return f"its {count} strongest boxes have the same score, {float(np.median(scores)):.2f}"
    return ""


def _same(values: np.ndarray, median: np.ndarray, tolerance: float) -> float:
    """The share of rows that differ from the median by at most this share of it."""
    return float((np.abs(values - median) <= tolerance * np.abs(median)).all(axis=1).mean())
