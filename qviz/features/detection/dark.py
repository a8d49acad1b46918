"""Remarks about 16-bit images that are nearly black. Detectors find nothing in them, so that models seem to agree."""

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
"""Maximum number of images that are checked."""
WIDE = (".png", ".tif", ".tiff")
"""Suffixes of images that may have 16 bits."""


def dark_remarks(
    context: Context, images: Iterable[EncodedImage], detected: Detected, model: LoadedModel, score: float
) -> list[str]:
    """A list with one sentence about the images that are nearly black, or an empty list if there are none.

    Images in which the model finds no objects are checked first.
    """
    empty = {
        image_digest
        for (model_digest, image_digest), inference in detected.inferences.items()
        if model_digest == model.digest and not (inference.detections.scores >= score).any()
    }
    dark = dark_images(context, images, suspects(detected.images, empty))
    without = " without objects" if dark.keys() <= empty else ""
    further = f"{plural(len(dark), 'image')}{without} are nearly black; " if len(dark) > 1 else ""
    return [further + next(iter(dark.values()))] if dark else []


def suspects(images: Iterable[tuple[str, str]], empty: set[str]) -> set[str]:
    """Digests of the images to check: those without objects, then those whose files may have 16 bits.

    images: (name, digest) of each image; empty: digests of the images without objects.
    """
    rows = [(digest not in empty, digest) for name, digest in images if digest in empty or name.lower().endswith(WIDE)]
    rows.sort(key=lambda row: row[0])
    return {digest for _, digest in rows[:MAX_CHECKED]}


def dark_images(context: Context, images: Iterable[EncodedImage], digests: set[str]) -> dict[str, str]:
    """Digest -> sentence about the range of values, for the images that are nearly black.

    digests: Digests of the images to check.

    Raises:
        Cancelled: The context was cancelled.
    """
    jobs: dict[str, tuple[str, Future[str]]] = {}
    left = set(digests)
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
            continue  # already reported when it was run
    return sentences
