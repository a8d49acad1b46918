"""Remarks on images of 16 bits that are nearly black: detectors find nothing there, and agree about it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

from qviz.context import Context
from qviz.datasets.images import dark_range
from qviz.errors import ImageError, WorkerError
from qviz.structures import EncodedImage

MAX_CHECKED = 50
"""Images without objects that are checked."""


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
