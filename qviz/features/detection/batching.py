"""Split a stream of images into batches for the workers.

A round trip to a worker costs about 1 ms and a fast model needs a few ms per image, so fast models get several images
per job. Slow models get one image per job, which keeps progress visible and makes the time limit apply per image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qviz.structures import EncodedImage, Inference

MAX_BATCH = 16
"""Images; larger batches gain little."""
MAX_BATCH_SECONDS = 0.25
"""An interactive request waits for at most one running batch."""
MAX_BATCH_BYTES = 4 << 20
"""Large photographs take long to decode, and few should be in memory at once."""
FAIR_SHARE = 2 / 3
"""Maximum batch, as a share of a worker's part of the images left: no worker waits long for another's last batch."""


@dataclass(slots=True)
class Batcher:
    """Cuts images into batches, sized by the measured time per image.

    Attributes:
        total: Expected number of images.
        workers: Number of worker processes.
        ms_per_image: Time of all models on one image, or None before the first result.
    """

    total: int
    workers: int
    ms_per_image: float | None = None

    def observe(self, inferences: Sequence[Inference]) -> None:
        """Update the time per image from the inferences of one image; none where it could not be run."""
        if inferences:
            self.ms_per_image = sum(inference.milliseconds for inference in inferences)

    def batches(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """The images in order. Corrupted versions of one picture stay together, so that it is decoded once."""
        batch: list[EncodedImage] = []
        left = self.total
        for image in images:
            if batch and self._is_full(batch, image, left):
                yield batch
                left -= len(batch)
                batch = []
            batch.append(image)
        if batch:
            yield batch

    def _is_full(self, batch: list[EncodedImage], following: EncodedImage, left: int) -> bool:
        max_images = min(self._max_images(), max(1, int(FAIR_SHARE * left / self.workers)))
        if len(batch) < max_images and sum(len(image.data) for image in batch) < MAX_BATCH_BYTES:
            return False
        same_picture = following.plain.digest == batch[-1].plain.digest
        return max_images == 1 or len(batch) >= 2 * max_images or not same_picture

    def _max_images(self) -> int:
        if self.ms_per_image is None:
            return 1
        return max(1, min(MAX_BATCH, int(1e3 * MAX_BATCH_SECONDS / max(self.ms_per_image, 1e-3))))
