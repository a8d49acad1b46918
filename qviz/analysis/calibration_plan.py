"""What a calibration lab tries, and what it knows of the calibration images before it builds anything."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from qviz.analysis.calibration_bench import BATCH, Bench
from qviz.analysis.calibration_mismatch import MISTAKES, PASSING, Given
from qviz.analysis.calibration_trials import curve_sizes
from qviz.analysis.detecting import detect_images
from qviz.detector import PAGE_SCORE, decoded
from qviz.errors import QuantizeError, SettingsError
from qviz.quantize import calibration_of, recipe_of, see_ranges
from qviz.quantize.ranges import check_method
from qviz.structures import EncodedImage

DRAWS = 3
SEED = 20261128
RECIPES = ("int8", "int16x8")
"""Those whose activations have fixed ranges."""


@dataclass(frozen=True, slots=True)
class Plan:
    """draws: of each number of images; mistakes: names of `MISTAKES`; further: outliers, other ways to sum ranges up
    and images to add."""

    recipe: str = "int8"
    method: str = "minmax"
    draws: int = DRAWS
    seed: int = SEED
    mistakes: tuple[str, ...] = tuple(MISTAKES)
    further: bool = True

    def check(self) -> None:
        """Raises QuantizeError, SettingsError."""
        check_method(self.method)
        if not recipe_of(self.recipe).needs_calibration:
            raise QuantizeError(f"Recipe {self.recipe} needs no calibration; the lab is for {' and '.join(RECIPES)}.")
        if unknown := [name for name in self.mistakes if name not in MISTAKES]:
            raise SettingsError(f"{unknown[0]!r} is no mistake; known are {', '.join(MISTAKES)}.")
        if not 1 <= self.draws <= 50:
            raise SettingsError(f"draws is {self.draws}; give a number from 1 to 50.")

    def passes(self, images: int, judged: int) -> int:
        """How many passes over an image it takes, about: variants run together, `BATCH` in a pass."""
        variants = (len(curve_sizes(images)) - 1) * self.draws + 1 + len(self.mistakes) + 3 * self.further
        own = images * (2 + len(PASSING.intersection(self.mistakes)) + 2 * self.further)
        return own + judged * (1 + -(-variants // BATCH) + self.further)


def seen_images(bench: Bench, plan: Plan, images: Sequence[EncodedImage]) -> tuple[Given, float]:
    """Ranges, brightness and classes of the calibration images, and the seconds that measuring the ranges took.

    Raises Cancelled, QuantizeError, WorkerError.
    """
    engine, settings = bench.engine, bench.source.settings
    model = engine.share(bench.source.float_data, bench.source.float_digest)
    start = time.perf_counter()
    seen = see_ranges(engine, model, settings, images, plan.method, bench.counter.part(), len(images))
    seconds = time.perf_counter() - start
    calibration_of(seen, model.digest, plan.method)  # refuses where no image could be read
    by_digest = {image.digest: image for image in images}
    read = [by_digest[digest] for digest in seen.digests]
    light = [engine.submit(brightness_job, image) for image in read]
    classes = _classes(bench, read)
    brightness = np.array([job.result() for job in light])
    sizes = curve_sizes(seen.images)
    how = plan.method, plan.seed
    given = Given(engine, model, settings, *how, read, seen, brightness, classes, sizes, bench.counter.part)
    return given, seconds


def _classes(bench: Bench, images: Sequence[EncodedImage]) -> list[str | None]:
    """What the reference is surest of on each image."""
    model = bench.reference
    found = detect_images(
        bench.engine, [model], images, len(images), PAGE_SCORE, bench.counter.part(), bench.threads, bench.store,
        bench.counter.cancel, candidates=False,
    )  # fmt: skip
    surest: list[str | None] = []
    for image in images:
        inference = found.inferences.get((model.digest, image.digest))
        if inference is None or not len(inference.detections):
            surest.append(None)
        else:
            objects = inference.detections
            surest.append(model.inspection.label(int(objects.class_ids[objects.scores.argmax()])))
    return surest


def brightness_job(image: EncodedImage) -> float:
    """In a worker: the mean over the pixels and channels, 0..255."""
    return float(decoded(image).pixels.mean())
