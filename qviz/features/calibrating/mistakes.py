"""Wrong calibrations as they happen in practice, each of which is built and measured.

A mistake is a function with a row in `MISTAKES`. It returns the ranges that such a calibration would measure and a
description, or None if the mistake is impossible with these images or this model. Subsets have as many images as a
point of the curve, so that differences are due to the kind of image and not to the number.

Two mistakes use random numbers instead of images, as some tutorials do:

noise_unit   numpy.random.rand(...): uniform in [0, 1), regardless of the range that the network reads
noise_range  uniform between the network's values of black and white pixels, per channel
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from qviz.context import Context
from qviz.detector import decoded
from qviz.engine import Blob
from qviz.errors import QuantizeError
from qviz.features.building.calibration import (
    IMAGES_PER_JOB,
    ImageRanges,
    check_method,
    image_ranges,
    joined,
    measure_ranges,
    ranges_of_last_run,
    warm_runner,
)
from qviz.features.settings import NORMALISATIONS
from qviz.formatting import plural
from qviz.structures import AppliedCorruption, EncodedImage, Settings
from qviz.tflite.inputs import channels_last

Channels = tuple[float, float, float]
Ends = tuple[Channels, Channels]
"""(lowest, highest) input value per channel."""
UNIT: Ends = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
VIEWS = tuple(
    AppliedCorruption(name, level)
    for level in (1, 2, 3, 4, 5)
    for name in ("rotation", "perspective", "scale", "exposure_down", "exposure_up", "warm", "cool")
)
"""The variations of one image: rotated, tilted, from farther away, and in other light."""
BRIGHTNESS_QUANTILES = 4
"""`by_brightness` uses at most 1 / BRIGHTNESS_QUANTILES of the images: the darkest or the brightest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationImages:
    """The calibration images that could be read, and facts about them.

    Attributes:
        model: The float32 .tflite file.
        method: Method that computes the ranges.
        images, measured: The images and their ranges, in the same order.
        brightness: (images,) mean over pixels and channels, 0 to 255.
        classes: Label of the reference's most confident object on each image, or None if it finds nothing.
        sizes: The numbers of images that are points of the curve.
    """

    context: Context
    model: Blob
    settings: Settings
    method: str
    seed: int
    images: Sequence[EncodedImage]
    measured: ImageRanges
    brightness: np.ndarray
    classes: Sequence[str | None]
    sizes: Sequence[int]

    def measure(self, images: Sequence[EncodedImage], settings: Settings | None = None) -> ImageRanges:
        """The ranges of other images, or of images prepared in another way."""
        return measure_ranges(self.context, self.model, settings or self.settings, images, self.method)

    def subset_size(self, limit: int) -> int:
        """The largest of `sizes` that does not exceed the limit; at least 1."""
        return max((size for size in self.sizes if size <= limit), default=1)


MistakeRanges = tuple[ImageRanges, str] | None
"""(ranges, what was done), or None where the mistake cannot be made."""


def noise_unit(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with noise from numpy.random.rand, as in many tutorials."""
    ranges = noise_ranges(images.context, images.model, UNIT, len(images.images), images.method, images.seed)
    low, high = _limits(input_range(images.settings))
    inside = " That is this network's whole range." if (low, high) == ("0", "1") else ""
    return ranges, f"Random numbers in [0, 1), as in many tutorials; images span [{low}, {high}].{inside}"


def noise_range(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with noise in the range that the network reads."""
    ends = input_range(images.settings)
    ranges = noise_ranges(images.context, images.model, ends, len(images.images), images.method, images.seed + 1)
    low, high = _limits(ends)
    return ranges, f"Random numbers over the input's whole range, [{low}, {high}]."


def one_image(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with variations of a single image."""
    image = images.images[int(np.random.default_rng(images.seed).integers(len(images.images)))]
    count = images.subset_size(min(len(VIEWS), len(images.images)))
    ranges = images.measure([image.under(view) for view in VIEWS[:count]])
    views = plural(count, "view")
    return ranges, f"{views} of one image, {image.name}: rotated, tilted, nearer and farther, in other light."


def one_class(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with images that mostly show objects of the same class."""
    counts = Counter(name for name in images.classes if name is not None)
    if len(counts) < 2:
        return None
    name, count = counts.most_common(1)[0]
    size = images.subset_size(count)
    rows = [row for row, other in enumerate(images.classes) if other == name][:size]
    description = f"{plural(size, 'image')} of one class: the most confident object is {name!r}."
    return images.measured.of(rows), description


def by_brightness(which: str, images: CalibrationImages) -> MistakeRanges:
    """Calibrate with only the `darkest` or only the `brightest` images."""
    if len(images.images) < 2 * BRIGHTNESS_QUANTILES:
        return None
    size = images.subset_size(len(images.images) // BRIGHTNESS_QUANTILES)
    order = np.argsort(images.brightness, kind="stable")
    rows = order[:size] if which == "darkest" else order[::-1][:size]
    mean = images.brightness[rows].mean()
    return images.measured.of(rows.tolist()), f"Only the {size} {which} images; mean brightness {mean:.0f} of 255."


def exposed(stops: float, description: str, images: CalibrationImages) -> MistakeRanges:
    """Calibrate with under- or overexposed images, for a model that is used by day."""
    exposure = AppliedCorruption("exposure", stops)
    return images.measure([image.under(exposure) for image in images.images]), description


def wrong_normalisation(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with inputs in [0, 1] instead of [-1, 1], or the other way round."""
    settings = images.settings
    mean, std = next(pair for pair in NORMALISATIONS[:2] if pair != (settings.mean, settings.std))
    return _prepared(images, replace(settings, mean=mean, std=std), "normalised to {wrong}; inference uses {right}")


def not_normalised(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with pixel values that are not normalised."""
    raw = replace(images.settings, mean=(0.0,) * 3, std=(1.0,) * 3)
    if (images.settings.mean, images.settings.std) == (raw.mean, raw.std):
        return None
    return _prepared(images, raw, "not normalised: pixels 0 to 255; inference uses {right}")


def wrong_resize(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with stretched instead of letterboxed images, or the other way round."""
    stretched = images.settings.resize == "stretch"
    other = replace(images.settings, resize="letterbox" if stretched else "stretch")
    return _prepared(
        images, other, "letterboxed; inference stretches" if stretched else "stretched; inference letterboxes"
    )


def wrong_channels(images: CalibrationImages) -> MistakeRanges:
    """Calibrate with RGB instead of BGR images, or the other way round."""
    channels = str(images.settings.channels)
    other = "bgr" if channels == "rgb" else "rgb"
    order = f"in {other.upper()} order; inference uses {channels.upper()}"
    return _prepared(images, replace(images.settings, channels=other), order)


def _prepared(images: CalibrationImages, settings: Settings, description: str) -> MistakeRanges:
    right, wrong = (f"[{', '.join(_limits(input_range(each)))}]" for each in (images.settings, settings))
    return images.measure(images.images, settings), f"The same images {description.format(right=right, wrong=wrong)}."


def _limits(ends: Ends) -> tuple[str, str]:
    return f"{min(ends[0]):.3g}", f"{max(ends[1]):.3g}"


MISTAKES: Mapping[str, Callable[[CalibrationImages], MistakeRanges]] = {
    "noise_unit": noise_unit,
    "noise_range": noise_range,
    "wrong_normalisation": wrong_normalisation,
    "not_normalised": not_normalised,
    "wrong_resize": wrong_resize,
    "wrong_channels": wrong_channels,
    "dark_only": partial(by_brightness, "darkest"),
    "bright_only": partial(by_brightness, "brightest"),
    "underexposed": partial(exposed, -3, "All images three stops darker, as in bad light."),
    "overexposed": partial(exposed, 2, "All images two stops brighter; highlights clip."),
    "one_class": one_class,
    "one_image": one_image,
}
"""Name of a mistake -> the function that makes it, in the order in which the lab tries them."""


def input_range(settings: Settings) -> Ends:
    """(lowest, highest) input value per channel, computed from the pixel values 0 and 255. Raises QuantizeError."""
    if not (settings.mean and settings.std):
        raise QuantizeError("The model's normalisation is unknown; give mean and std.")
    pairs = list(zip(settings.mean, settings.std, strict=True))
    black, white = ([(pixel - mean) / std for mean, std in pairs] for pixel in (0.0, 255.0))
    lows, highs = ([choose(pair) for pair in zip(black, white, strict=True)] for choose in (min, max))
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def noise_ranges(
    context: Context, model: Blob, ends: Ends, count: int, method: str = "minmax", seed: int = 0
) -> ImageRanges:
    """The ranges of `count` inputs of uniform noise between `ends`. Raises Cancelled, QuantizeError, WorkerError."""
    check_method(method)
    seeds = [(seed, number) for number in range(count)]
    parts = [seeds[i : i + IMAGES_PER_JOB] for i in range(0, count, IMAGES_PER_JOB)]
    jobs = [context.engine.submit(noise_job, model, ends, part, method) for part in parts]
    return joined([context.wait(job) for job in jobs])


def noise_job(model: Blob, ends: Ends, seeds: Sequence[tuple[int, int]], method: str = "minmax") -> ImageRanges:
    """The ranges of every float activation on inputs of uniform noise, one input per seed; runs in a worker."""
    graph, runner = warm_runner(model)
    tensor = graph.input_tensors()[0]
    last = channels_last(tensor)
    channels = tensor.shape[-1 if last else 1]
    shape = (channels,) if last else (channels, 1, 1)
    low, high = (np.array(end, np.float32)[:channels].reshape(shape) for end in ends)
    rows = []
    for seed in seeds:
        values = np.random.default_rng(seed).random(tensor.shape, np.float32) * (high - low) + low
        runner.run([values.astype(tensor.dtype)])
        rows.append(ranges_of_last_run(graph, runner, method))
    return image_ranges(graph, rows)


def brightness_job(image: EncodedImage) -> float:
    """Mean brightness over the pixels and channels, 0 to 255; runs in a worker."""
    return float(decoded(image).pixels.mean())
