"""Calibrations that do not match what the network will see, each measured as it is done by mistake.

A row is a function of what is there: it gives the ranges that such a calibration shows, and says in words what was
done; None where the mistake cannot be made with these images or this model. Subsets take as many images as a point of
the curve has, so that it is the kind of image that tells, and not the number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from qviz.analysis.settings_guess import NORMALISATIONS
from qviz.engine import Blob, Engine
from qviz.progress import OnProgress
from qviz.quantize import ImageRanges, see_ranges
from qviz.quantize.noise import UNIT, input_range, noise_ranges
from qviz.structures import EncodedImage, Settings, Shift

VIEWS = tuple(
    Shift(name, level)
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
    return given.pass_over(_all(given, Shift("exposure", -3))), "All images three stops darker, as in bad light."


def overexposed(given: Given) -> Made:
    """Calibrated in glaring light."""
    return given.pass_over(_all(given, Shift("exposure", 2))), "All images two stops brighter; highlights clip."


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


def _all(given: Given, shift: Shift) -> list[EncodedImage]:
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
