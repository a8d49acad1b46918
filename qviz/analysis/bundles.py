"""How many images go to a worker in one job.

A trip to a worker and back costs a millisecond; quick models take a few an image, so several images share a trip. A
slow model gets its images one by one: progress is seen, and a limit of seconds holds for an image. So do the last
images: no worker should wait long for another one's bundle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qviz.structures import EncodedImage, Inference

MOST = 16
"""Images a trip: more gain little. A picture under several shifts is not split, so that it is decoded once."""
SECONDS = 0.25
"""What a trip may take: a person's image waits for the one under way."""
SHARE = 1.5
"""A trip takes at most this part of what is left: of a worker's share two thirds."""
BYTES = 4 << 20
"""Large photographs take their time to be decoded; nor are many held at once."""


@dataclass(slots=True)
class Bundles:
    """Cuts a stream of about `total` images into jobs for `workers`.

    milliseconds: what the models take on one image, None until one has run.
    """

    total: int
    workers: int
    milliseconds: float | None = None

    def learn(self, answers: Sequence[Inference]) -> None:
        """One image's answers have come, or none."""
        if answers:
            self.milliseconds = sum(answer.milliseconds for answer in answers)

    def cut(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """The images in their order; what was learned meanwhile holds from the next one on."""
        bundle: list[EncodedImage] = []
        left = self.total
        for image in images:
            if bundle and self._is_full(bundle, image, left):
                yield bundle
                left -= len(bundle)
                bundle = []
            bundle.append(image)
        if bundle:
            yield bundle

    def _is_full(self, bundle: list[EncodedImage], following: EncodedImage, left: int) -> bool:
        most = min(self._most(), max(1, int(left / (SHARE * self.workers))))
        if len(bundle) < most and sum(len(image.data) for image in bundle) < BYTES:
            return False
        return most == 1 or len(bundle) >= 2 * most or following.plain.digest != bundle[-1].plain.digest

    def _most(self) -> int:
        if self.milliseconds is None:
            return 1
        return max(1, min(MOST, int(SECONDS * 1e3 / max(self.milliseconds, 1e-3))))
