"""The calibrations that a lab tries, one after the other; ranges that have to be measured are measured when it comes
to them, so that the first results are there early.

Ranges measured on random numbers instead of images, as tutorials do: to see what that costs.

numpy.random.rand(...)   uniform in [0, 1), whatever the network reads
the whole range          uniform between what black and white pixels become, channel by channel

Calibrations that do not match what the network will see, each measured as it is done by mistake.

A row is a function of what is there: it gives the ranges that such a calibration shows, and says in words what was
done; None where the mistake cannot be made with these images or this model. Subsets take as many images as a point of
the curve has, so that it is the kind of image that tells, and not the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.engine import Blob, Engine
from qviz.errors import QuantizeError
from qviz.features.building import METHODS, Calibration, ImageRanges, calibration_of, see_ranges
from qviz.features.building.calibration import PER_JOB, ranges_now, ranges_of, watched
from qviz.features.building.ranges import ImageRanges as NoiseImageRanges
from qviz.features.building.ranges import check_method, joined
from qviz.features.calibrating.outliers import removed
from qviz.features.calibrating.result import Outlier
from qviz.features.settings import NORMALISATIONS
from qviz.progress import OnProgress
from qviz.structures import AppliedCorruption, EncodedImage, Settings
from qviz.tflite.inputs import channels_last

Triple = tuple[float, float, float]
UNIT: tuple[Triple, Triple] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def input_range(settings: Settings) -> tuple[Triple, Triple]:
    """(lowest, highest) that pixels of 0 and 255 become, a channel each. Raises QuantizeError."""
    if not (settings.mean and settings.std):
        raise QuantizeError("The model's normalisation is not known; say mean and std.")
    pairs = list(zip(settings.mean, settings.std, strict=True))
    black, white = ([(pixel - mean) / std for mean, std in pairs] for pixel in (0.0, 255.0))
    lows, highs = ([choose(pair) for pair in zip(black, white, strict=True)] for choose in (min, max))
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def noise_ranges(
    engine: Engine, model: Blob, ends: tuple[Triple, Triple], count: int, method: str = "minmax", seed: int = 0
) -> NoiseImageRanges:
    """What `count` inputs of uniform noise between `ends` show. Raises QuantizeError, WorkerError."""
    check_method(method)
    seeds = [(seed, number) for number in range(count)]
    parts = [seeds[i : i + PER_JOB] for i in range(0, count, PER_JOB)]
    return joined([job.result() for job in [engine.submit(noise_job, model, ends, part, method) for part in parts]])


def noise_job(
    model: Blob, ends: tuple[Triple, Triple], seeds: Sequence[tuple[int, int]], method: str = "minmax"
) -> NoiseImageRanges:
    """In a worker: the ranges of every float activation on one input a seed."""
    graph, runner = watched(model)
    tensor = graph.input_tensors()[0]
    last = channels_last(tensor)
    channels = tensor.shape[-1 if last else 1]
    shape = (channels,) if last else (channels, 1, 1)
    low, high = (np.array(end, np.float32)[:channels].reshape(shape) for end in ends)
    rows = []
    for seed in seeds:
        values = np.random.default_rng(seed).random(tensor.shape, np.float32) * (high - low) + low
        runner.run([values.astype(tensor.dtype)])
        rows.append(ranges_now(graph, runner, method))
    return ranges_of(graph, rows)


VIEWS = tuple(
    AppliedCorruption(name, level)
    for level in (1, 2, 3, 4, 5)
    for name in ("rotation", "perspective", "scale", "exposure_down", "exposure_up", "warm", "cool")
)
"""Of one image: turned, tilted, from farther away, in another light."""
PART = 4
"""The darkest and the brightest are taken from an end of so many."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What mistakes are made with. images: those of `seen`, in its order; brightness: mean of each, 0..255.

    classes: the class of the surest object on each image, None where FP32 finds nothing; sizes: of the curve's points.
    progress: makes a counter for each pass over images.
    """

    engine: Engine
    model: Blob
    settings: Settings
    method: str
    seed: int
    images: Sequence[EncodedImage]
    seen: ImageRanges
    brightness: np.ndarray
    classes: Sequence[str | None]
    sizes: Sequence[int]
    progress: Callable[[], OnProgress]

    def pass_over(self, images: Sequence[EncodedImage], settings: Settings | None = None) -> ImageRanges:
        """The ranges of other images, or under other settings."""
        how = settings or self.settings
        return see_ranges(self.engine, self.model, how, images, self.method, self.progress(), len(images))

    def size(self, most: int) -> int:
        """The largest of the curve's sizes that is not above; at least 1."""
        return max((size for size in self.sizes if size <= most), default=1)


Made = tuple[ImageRanges, str] | None
Mistake = Callable[[Given], Made]


def noise_unit(given: Given) -> Made:
    """numpy.random.rand, as it stands in many tutorials."""
    found = noise_ranges(given.engine, given.model, UNIT, len(given.images), given.method, given.seed)
    low, high = _told(input_range(given.settings))
    inside = " That is this network's whole range." if (low, high) == ("0", "1") else ""
    return found, f"Random numbers in [0, 1), as many tutorials do; images span [{low}, {high}].{inside}"


def noise_range(given: Given) -> Made:
    """Noise where the range is right and nothing else."""
    ends = input_range(given.settings)
    found = noise_ranges(given.engine, given.model, ends, len(given.images), given.method, given.seed + 1)
    low, high = _told(ends)
    return found, f"Random numbers over the input's whole range, [{low}, {high}]."


def one_image(given: Given) -> Made:
    """Many views, no diversity."""
    image = given.images[int(np.random.default_rng(given.seed).integers(len(given.images)))]
    count = given.size(min(len(VIEWS), len(given.images)))
    found = given.pass_over([image.under(view) for view in VIEWS[:count]])
    return found, f"{count} views of one image, {image.name}: turned, tilted, nearer and farther, in other light."


def one_class(given: Given) -> Made:
    """Images that show mostly the same kind of object."""
    counted = Counter(name for name in given.classes if name is not None)
    if len(counted) < 2:
        return None
    name, count = counted.most_common(1)[0]
    size = given.size(count)
    rows = [row for row, other in enumerate(given.classes) if other == name][:size]
    return given.seen.of(rows), f"{_images(size)} of one class: the surest object on each is {name!r}."


def dark_only(given: Given) -> Made:
    """The dark end of the images."""
    return _by_brightness(given, darkest=True)


def bright_only(given: Given) -> Made:
    """The bright end of the images."""
    return _by_brightness(given, darkest=False)


def _by_brightness(given: Given, darkest: bool) -> Made:
    if len(given.images) < 2 * PART:
        return None
    size = given.size(len(given.images) // PART)
    order = np.argsort(given.brightness, kind="stable")
    rows = order[:size] if darkest else order[::-1][:size]
    mean = given.brightness[rows].mean()
    which = "darkest" if darkest else "brightest"
    return given.seen.of(rows.tolist()), f"Only the {size} {which} images; mean brightness {mean:.0f} of 255."


def underexposed(given: Given) -> Made:
    """Calibrated at night, used by day."""
    return given.pass_over(
        _all(given, AppliedCorruption("exposure", -3))
    ), "All images three stops darker, as in bad light."


def overexposed(given: Given) -> Made:
    """Calibrated in glaring light."""
    return given.pass_over(
        _all(given, AppliedCorruption("exposure", 2))
    ), "All images two stops brighter; highlights clip."


def wrong_normalisation(given: Given) -> Made:
    """[0, 1] for [-1, 1], or the other way round."""
    own = given.settings
    mean, std = next(pair for pair in NORMALISATIONS[:2] if pair != (own.mean, own.std))
    return _prepared(given, replace(own, mean=mean, std=std), "normalised to {there}, where inference uses {here}")


def not_normalised(given: Given) -> Made:
    """Pixels as they are in the file."""
    raw = replace(given.settings, mean=(0.0,) * 3, std=(1.0,) * 3)
    if (given.settings.mean, given.settings.std) == (raw.mean, raw.std):
        return None
    return _prepared(given, raw, "not normalised: pixels 0 to 255, where inference uses {here}")


def wrong_resize(given: Given) -> Made:
    """Stretched for letterboxed, or the other way round."""
    stretched = given.settings.resize == "stretch"
    other = replace(given.settings, resize="letterbox" if stretched else "stretch")
    said = "letterboxed, where inference stretches" if stretched else "stretched, where inference letterboxes"
    return _prepared(given, other, said)


def wrong_channels(given: Given) -> Made:
    """RGB for BGR, or the other way round."""
    other = "bgr" if given.settings.channels == "rgb" else "rgb"
    said = f"in {other.upper()} order, where inference uses {str(given.settings.channels).upper()}"
    return _prepared(given, replace(given.settings, channels=other), said)


def _prepared(given: Given, settings: Settings, said: str) -> Made:
    here, there = (f"[{', '.join(_told(input_range(how)))}]" for how in (given.settings, settings))
    return given.pass_over(given.images, settings), f"The same images {said.format(here=here, there=there)}."


def _all(given: Given, shift: AppliedCorruption) -> list[EncodedImage]:
    return [image.under(shift) for image in given.images]


def _told(ends: tuple[Sequence[float], Sequence[float]]) -> tuple[str, str]:
    return f"{min(ends[0]):.3g}", f"{max(ends[1]):.3g}"


def _images(count: int) -> str:
    return "1 image" if count == 1 else f"{count} images"


MISTAKES: Mapping[str, Mistake] = {
    "noise_unit": noise_unit,
    "noise_range": noise_range,
    "wrong_normalisation": wrong_normalisation,
    "not_normalised": not_normalised,
    "wrong_resize": wrong_resize,
    "wrong_channels": wrong_channels,
    "dark_only": dark_only,
    "bright_only": bright_only,
    "underexposed": underexposed,
    "overexposed": overexposed,
    "one_class": one_class,
    "one_image": one_image,
}
"""In the order in which they are tried."""
PASSING = frozenset(MISTAKES) - {"noise_unit", "noise_range", "dark_only", "bright_only", "one_class"}
"""Those that run the images anew."""


SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
METHODS_TOLD = {
    "minmax": "smallest and largest value of all images",
    "moving_average": "moving average over the images",
    "percentile": "99.99% of each image's values",
}


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One calibration to build. group: curve, method, outliers or mismatch."""

    group: str
    name: str
    told: str
    images: int
    calibration: Calibration


def curve_sizes(images: int) -> tuple[int, ...]:
    """Powers of two up to three quarters, and all of them: draws of nearly all would be the same images."""
    return (*(size for size in SIZES if 4 * size <= 3 * images and size < images), images)


def curve(seen: ImageRanges, model: str, method: str, draws: int, seed: int) -> Iterator[Trial]:
    """All images first, then draw after draw over the sizes: the whole curve is there early, and gets surer."""
    *sizes, count = curve_sizes(seen.images)
    yield Trial("curve", "all", f"all {count} images", count, calibration_of(seen, model, method))
    for draw in range(draws):
        for size in sizes:
            rows = np.random.default_rng([seed, size, draw]).choice(count, size, replace=False)
            ranges = calibration_of(seen.of(rows.tolist()), model, method)
            told = f"{'1 image' if size == 1 else f'{size} images'}, draw {draw + 1}"
            yield Trial("curve", f"{size}/{draw + 1}", told, size, ranges)


def mistakes(given: Given, names: Sequence[str] | None = None) -> Iterator[Trial]:
    """Those of `MISTAKES` that can be made. Raises QuantizeError, WorkerError."""
    for name in MISTAKES if names is None else names:
        made = MISTAKES[name](given)
        if made is not None and made[0].images:
            ranges, told = made
            found = calibration_of(ranges, given.model.digest, given.method)
            yield Trial("mismatch", name, told, ranges.images, found)


def other_methods(given: Given) -> Iterator[Trial]:
    """All images, their ranges summed up in the other ways."""
    for method in METHODS:
        if method != given.method:
            seen = given.seen
            if "percentile" in (method, given.method):  # what an image showed was read another way
                arguments = (given.engine, given.model, given.settings, given.images, method)
                seen = see_ranges(*arguments, given.progress(), len(given.images))
            found = calibration_of(seen, given.model.digest, method)
            yield Trial("method", method, METHODS_TOLD[method], seen.images, found)


def without_outliers(given: Given, found: Sequence[Outlier]) -> Iterator[Trial]:
    """The images that widen the ranges most left out."""
    left_out = set(removed(found, given.seen.images))
    rows = [row for row, digest in enumerate(given.seen.digests) if digest not in left_out]
    if left_out and rows:
        told = f"without the {len(left_out)} images that widen the ranges most" if len(left_out) > 1 else "without it"
        ranges = calibration_of(given.seen.of(rows), given.model.digest, given.method)
        yield Trial("outliers", "without_outliers", told, len(rows), ranges)


def skipping(trials: Callable[[], Iterator[Trial]], said: list[str]) -> Iterator[Trial]:
    """Until one cannot be measured, which is said: the others' figures stand."""
    try:
        yield from trials()
    except QuantizeError as error:
        said.append(str(error))
