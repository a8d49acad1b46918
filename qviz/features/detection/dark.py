"""Remarks on images of 16 bits that are nearly black: detectors find nothing there, and agree about it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from qviz.context import Context
from qviz.datasets.images import dark_range
from qviz.errors import ImageError, WorkerError
from qviz.features.detection.inference import Detected
from qviz.features.detection.models import LoadedModel
from qviz.formatting import plural
from qviz.structures import EncodedImage

MAX_CHECKED = 50
"""Images without objects that are checked."""


def dark_remarks(
    context: Context, images: Iterable[EncodedImage], detected: Detected, model: LoadedModel, score: float
) -> list[str]:
    """A sentence about images on which a model detects nothing because they are nearly black; empty without any."""
    empty = {
        image_digest
        for (model_digest, image_digest), inference in detected.inferences.items()
        if model_digest == model.digest and not (inference.detections.scores >= score).any()
    }
    dark = list(dark_images(context, images, empty).values())
    further = f"{plural(len(dark), 'image')} without objects are nearly black; " if len(dark) > 1 else ""
    return [further + dark[0]] if dark else []


def dark_images(context: Context, images: Iterable[EncodedImage], without_objects: set[str]) -> dict[str, str]:
    """Digest -> sentence about the range of values, of images that are nearly black.

    without_objects: digests of the images to check, those where nothing is detected.

    Raises:
        Cancelled: The context was cancelled.
    """
    jobs: dict[str, tuple[str, Future[str]]] = {}
    left = set(sorted(without_objects)[:MAX_CHECKED])
    for image in images if left else ():
        if image.digest in left:
            left.remove(image.digest)
            jobs[image.digest] = image.name, context.engine.submit(dark_range, image)
        if not left:
            break
    sentences = {}
    for digest, (name, job) in jobs.items():
        try:
            if used := context.wait(job):
                sentences[digest] = f"{name} is nearly black: {used}. Scale the values, or save them with 8 bits."
        except (ImageError, WorkerError):
            continue  # reported where it was run
    return sentences
