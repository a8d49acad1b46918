"""Settings that nobody knows, guessed by running a few images.

A wrong normalisation or channel order leaves a detector less sure, or lets it fire everywhere. Each choice is judged by
running every image and its mirror image: the confidence that both confirm (same class, IoU > .6) counts, and a choice
under which less than `LEAST_SHARE` of the confidence is confirmed is out. A choice
that the model's own input quantizer would clip is not tried. The usual settings of the head win unless
another choice is clearly better. How the image is resized cannot be told this way (the choices differ by
noise) and is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np

from qviz.context import Context
from qviz.datasets.files import ImageFiles, load_images
from qviz.datasets.images import read_image
from qviz.detector import Detector
from qviz.engine import Blob, Engine
from qviz.errors import ImageError, QvizError
from qviz.features.comparison.matching import match_detections
from qviz.features.detection.models import LoadedModel, follow
from qviz.features.inspection.lint import CLIPPED, clipped_share
from qviz.structures import Dataset, Detections, EncodedImage, Image, Settings

IMAGES = 16
"""A robust detector hardly minds on a few photographs (eight of the sample's do not tell its own apart)."""
LEAST_IMAGES = 4
"""From fewer nothing is guessed: the usual settings of a head are right more often than a few photographs."""
LEAST_SCORE = 0.2
LEAST_IOU = 0.6
LEAST_SHARE = 0.6
CLEARLY = 0.4
"""Another choice must confirm 1 + CLEARLY / sqrt(images) times as much: the noise of a sum falls with its root."""
GUESSED = ("mean", "std", "channels")

T = TypeVar("T")
Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
NORMALISATIONS: tuple[tuple[Triple, Triple], ...] = (
    ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    IMAGENET,
)
"""(mean, std) in RGB order, as trainers use them; turned round for BGR."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """Confidence summed over the images: all of it, and what the mirror image confirms."""

    confirmed: float
    total: float

    @property
    def share(self) -> float:
        return self.confirmed / self.total if self.total else 0.0


def unknown_settings(model: LoadedModel) -> tuple[str, ...]:
    """Those that only the head's usual values speak for."""
    if not model.layers_available:
        return ()
    return tuple(name for name in GUESSED if model.inspection.sources.get(name) == "default")


def a_few(images: Sequence[T]) -> list[T]:
    """`IMAGES` of them, spread evenly: neighbours in a folder are often alike."""
    count = min(IMAGES, len(images))
    return [images[i * len(images) // count] for i in range(count)]


def guess_settings(engine: Engine, model: LoadedModel, images: Sequence[EncodedImage]) -> LoadedModel:
    """The model with its unknown settings guessed; as it was where nothing is unknown or nothing is clearly better."""
    unknown = unknown_settings(model)
    images = list({image.digest: image for image in images}.values())  # the same photograph twice says nothing new
    if not unknown or len(images) < LEAST_IMAGES:
        return model
    graph = model.inspection.graph
    choices = [
        choice
        for choice in _choices(model.settings, unknown)
        if choice == model.settings or clipped_share(graph, choice) <= CLIPPED
    ]
    jobs = [engine.submit_urgent(confirm_job, model.blob, choice, tuple(a_few(images))) for choice in choices]
    found: list[tuple[Settings, Confirmed]] = []
    for choice, job in zip(choices, jobs, strict=True):
        try:
            found.append((choice, job.result()))
        except QvizError:
            continue  # what fails here fails again where it is told
    best = best_choice(model.settings, found, len(a_few(images)))
    changed = {name: getattr(best, name) for name in unknown if getattr(best, name) != getattr(model.settings, name)}
    if not changed:
        return model
    sources = {**model.inspection.sources, **dict.fromkeys(unknown, "guess")}
    return replace(model, inspection=replace(model.inspection, settings=best, sources=sources))


def guess_all(engine: Engine, models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> list[LoadedModel]:
    """The reference (the first) with its unknown settings guessed, the variants following it."""
    reference = guess_settings(engine, models[0], images)
    return [reference, *(follow(variant, reference) for variant in models[1:])]


def guess_for(
    context: Context, models: Sequence[LoadedModel], images: ImageFiles | Dataset | Sequence[EncodedImage]
) -> list[LoadedModel]:
    """The models with the reference's unknown settings guessed on a few of these images, the variants following it."""
    if not unknown_settings(models[0]):
        return list(models)
    if isinstance(images, Dataset):
        few = [image.encoded() for image in a_few(images.images)]
    elif isinstance(images, ImageFiles):
        few = list(islice(load_images(a_few(images.paths)), IMAGES))
    else:
        few = a_few(images)
    return guess_all(context.engine, models, few)


def best_choice(usual: Settings, found: Sequence[tuple[Settings, Confirmed]], images: int) -> Settings:
    """The choice that confirms most, the usual one unless another is clearly better."""
    sane = [(choice, result) for choice, result in found if result.share >= LEAST_SHARE]
    if not sane:
        return usual
    best, most = max(sane, key=lambda item: item[1].confirmed)
    own = next((result.confirmed for choice, result in sane if choice == usual), 0.0)
    return best if most.confirmed > own * (1 + CLEARLY / images**0.5) else usual


def _choices(usual: Settings, unknown: Sequence[str]) -> list[Settings]:
    """The usual settings first, then every other combination of what is unknown."""
    pairs = [(usual.mean, usual.std)]
    channels = [usual.channels]
    if "mean" in unknown and "std" in unknown:
        pairs += [pair for pair in NORMALISATIONS if pair != pairs[0]]
    if "channels" in unknown:
        channels += [name for name in ("rgb", "bgr") if name != usual.channels]
    rows = []
    for order in channels:
        for mean, std in pairs:
            turned = order == "bgr" and (mean, std) == IMAGENET
            rows.append(
                replace(
                    usual,
                    channels=order,
                    mean=mean[::-1] if turned and mean else mean,
                    std=std[::-1] if turned and std else std,
                )
            )
    return list(dict.fromkeys(rows))


def confirm_job(blob: Blob, settings: Settings, images: tuple[EncodedImage, ...]) -> Confirmed:
    """In a worker: how much of the confidence the mirror images confirm."""
    detector = Detector(blob.read(), settings)
    confirmed = total = 0.0
    for encoded in images:
        try:
            image = read_image(encoded)
        except ImageError:
            continue
        here = detector.detect(image, LEAST_SCORE).detections
        there = _mirrored(detector.detect(_mirror(image), LEAST_SCORE).detections, image.width)
        matches = match_detections(here, there, LEAST_IOU)
        same = here.class_ids[matches.pairs[:, 0]] == there.class_ids[matches.pairs[:, 1]]
        confirmed += float(here.scores[matches.pairs[same, 0]].sum())
        total += float(here.scores.sum())
    return Confirmed(confirmed, total)


def _mirror(image: Image) -> Image:
    return replace(image, pixels=np.ascontiguousarray(image.pixels[:, ::-1]))


def _mirrored(found: Detections, width: int) -> Detections:
    """Boxes of a mirror image, back where they are in the image."""
    boxes = found.boxes.copy()
    boxes[:, 0], boxes[:, 2] = width - found.boxes[:, 2], width - found.boxes[:, 0]
    return replace(found, boxes=boxes)
