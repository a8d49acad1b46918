"""Guess unknown settings of a model by running it on a few images.

A wrong normalisation or channel order makes a detector less confident, or makes it find objects everywhere. Each choice
is judged by running every image and its mirror image: the confidence of objects that both confirm (same class,
IoU > 0.6) counts. A choice under which less than `MIN_SHARE` of the confidence is confirmed is excluded, and so is one
that the model's input quantizer would clip. The head's usual settings win unless another choice is clearly better.

How the image is resized cannot be found this way (the choices differ by noise) and is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from qviz.context import Context
from qviz.datasets.files import ImageFiles, load_images
from qviz.datasets.images import read_image
from qviz.detector import Detector
from qviz.engine import Blob
from qviz.errors import ImageError, QvizError
from qviz.features.comparison.matching import match_detections
from qviz.features.detection.inference import Reading
from qviz.features.detection.models import LoadedModel, follow
from qviz.features.inspection.checks import CLIPPED, clipped_share
from qviz.structures import Dataset, Detections, EncodedImage, Image, Settings
from qviz.structures.dataset import spread

IMAGES = 16
"""Images that are run; eight of the sample's are not enough to identify a robust detector's settings."""
MIN_IMAGES = 4
"""With fewer images nothing is guessed: the head's usual settings are right more often."""
MIN_SCORE = 0.2
MIN_IOU = 0.6
MIN_SHARE = 0.6
MARGIN = 0.4
"""Another choice must confirm 1 + MARGIN / sqrt(images) times as much: the noise of a sum falls with the root."""
GUESSED = ("mean", "std", "channels")

Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
NORMALISATIONS: tuple[tuple[Triple, Triple], ...] = (
    ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    IMAGENET,
)
"""(mean, std) in RGB order, as used in training; reversed for BGR."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Sums of confidences over the images: of all objects, and of those that the mirror image confirms."""

    confirmed: float
    total: float

    @property
    def share(self) -> float:
        return self.confirmed / self.total if self.total else 0.0


def unknown_settings(model: LoadedModel) -> tuple[str, ...]:
    """Names of the settings that have only the head's default."""
    if not model.layers_available:
        return ()
    return tuple(name for name in GUESSED if model.inspection.sources.get(name) == "default")


def guess_for(
    context: Context, models: Sequence[LoadedModel], images: ImageFiles | Dataset | Sequence[EncodedImage]
) -> list[LoadedModel]:
    """The models with the reference's unknown settings guessed; the variants follow the reference (the first).

    Args:
        images: Up to `IMAGES` of them are run, evenly spread, because neighbours in a folder are often alike.
    """
    if not unknown_settings(models[0]):
        return list(models)
    if isinstance(images, Dataset):
        sample = list(Reading().of(spread(images.images, IMAGES)))
    elif isinstance(images, ImageFiles):
        sample = list(islice(load_images(spread(images.paths, IMAGES)), IMAGES))
    else:
        sample = spread(images, IMAGES)
    reference = guess_settings(context, models[0], sample)
    return [reference, *(follow(variant, reference) for variant in models[1:])]


def guess_settings(context: Context, model: LoadedModel, images: Sequence[EncodedImage]) -> LoadedModel:
    """The model with its unknown settings guessed; unchanged where no choice is clearly better than the defaults."""
    unknown = unknown_settings(model)
    images = list({image.digest: image for image in images}.values())  # a photograph given twice counts once
    if not unknown or len(images) < MIN_IMAGES:
        return model
    sample = tuple(spread(images, IMAGES))
    graph = model.inspection.graph
    choices = [
        choice
        for choice in _choices(model.settings, unknown)
        if choice == model.settings or clipped_share(graph, choice) <= CLIPPED
    ]
    jobs = [context.engine.submit_urgent(confirm_job, model.blob, choice, sample) for choice in choices]
    results: list[tuple[Settings, Confirmed]] = []
    for choice, job in zip(choices, jobs, strict=True):
        try:
            results.append((choice, job.result()))
        except QvizError:
            continue  # an image or model that fails here fails again, with its sentence, in the analysis
    best = best_choice(model.settings, results, len(sample))
    if all(getattr(best, name) == getattr(model.settings, name) for name in unknown):
        return model
    sources = {**model.inspection.sources, **dict.fromkeys(unknown, "guess")}
    return replace(model, inspection=replace(model.inspection, settings=best, sources=sources))


def best_choice(default: Settings, results: Sequence[tuple[Settings, Confirmed]], images: int) -> Settings:
    """The choice with the highest confirmed confidence; the default unless another one is clearly better."""
    plausible = [(choice, result) for choice, result in results if result.share >= MIN_SHARE]
    if not plausible:
        return default
    best, highest = max(plausible, key=lambda item: item[1].confirmed)
    confirmed = next((result.confirmed for choice, result in plausible if choice == default), 0.0)
    return best if highest.confirmed > confirmed * (1 + MARGIN / images**0.5) else default


def _choices(default: Settings, unknown: Sequence[str]) -> list[Settings]:
    """The default first, then every other combination of the unknown settings."""
    pairs = [(default.mean, default.std)]
    channels = [default.channels]
    if "mean" in unknown and "std" in unknown:
        pairs += [pair for pair in NORMALISATIONS if pair != pairs[0]]
    if "channels" in unknown:
        channels += [name for name in ("rgb", "bgr") if name != default.channels]
    choices = []
    for order in channels:
        for mean, std in pairs:
            if order == "bgr" and (mean, std) == IMAGENET:
                mean, std = IMAGENET[0][::-1], IMAGENET[1][::-1]
            choices.append(replace(default, channels=order, mean=mean, std=std))
    return list(dict.fromkeys(choices))


def confirm_job(blob: Blob, settings: Settings, images: tuple[EncodedImage, ...]) -> Confirmed:
    """In a worker: how much of the confidence the mirror images confirm."""
    detector = Detector(blob.read(), settings)
    confirmed = total = 0.0
    for encoded in images:
        try:
            image = read_image(encoded)
        except ImageError:
            continue
        detections = detector.detect(image, MIN_SCORE).detections
        mirrored = _unmirrored(detector.detect(_mirror(image), MIN_SCORE).detections, image.width)
        matches = match_detections(detections, mirrored, MIN_IOU)
        same = detections.class_ids[matches.pairs[:, 0]] == mirrored.class_ids[matches.pairs[:, 1]]
        confirmed += float(detections.scores[matches.pairs[same, 0]].sum())
        total += float(detections.scores.sum())
    return Confirmed(confirmed, total)


def _mirror(image: Image) -> Image:
    return replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))


def _unmirrored(detections: Detections, width: int) -> Detections:
    """Detections on a mirror image, at their positions in the original."""
    boxes = detections.boxes.copy()
    boxes[:, 0], boxes[:, 2] = width - detections.boxes[:, 2], width - detections.boxes[:, 0]
    return replace(detections, boxes=boxes)
