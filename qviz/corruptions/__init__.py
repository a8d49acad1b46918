"""Corruptions of images as they occur in use: lighting, the published corruptions, and pose.

Pixels are (h, w, 3) uint8 RGB before and after, and the size does not change; severity is 1..5, where 5 is the worst.
All random draws are determined by the seed and the corruption's name, so equal seeds give equal pictures. They do not
depend on the severity, so with the same seed the side, the lamp and the angle stay the same while the scene gets worse.
The seed of an image is derived from its digest and not from its position in a list, so every model sees the same
pixels.

A corruption is a function and a row of `CORRUPTIONS`. `light` offers exposure, gamma and colour temperature by any
amount, for sliders. Definitions, constants and sources are in docs/corruptions.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from qviz.corruptions import lighting, pose, published
from qviz.corruptions.light import exposure, gamma, temperature
from qviz.errors import ImageError, SettingsError
from qviz.structures import EncodedImage, Image

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way to corrupt an image.

    Attributes:
        apply: (pixels, severity, rng) -> new pixels; it does not modify its input and draws only from `rng`.
        description: One sentence for users.
        movement: ((width, height), severity, rng) -> (3, 3) homography that maps a point of the original image to its
            new position, for corruptions that move pixels (pose); None for all others.
    """

    name: str
    family: Literal["lighting", "published", "pose"]
    apply: Callable[[np.ndarray, int, np.random.Generator], np.ndarray]
    description: str
    movement: Callable[[tuple[int, int], int, np.random.Generator], np.ndarray] | None = None


_ROWS = (
    Corruption("exposure_down", "lighting", lighting.exposure_down, "Too little light, with the sensor's noise."),
    Corruption("exposure_up", "lighting", lighting.exposure_up, "Too much light: highlights clip."),
    Corruption("gamma_dark", "lighting", lighting.gamma_dark, "Darker midtones; black and white stay."),
    Corruption("gamma_bright", "lighting", lighting.gamma_bright, "Lighter midtones; black and white stay."),
    Corruption("contrast", "lighting", published.contrast, "Low contrast, as ImageNet-C defines it."),
    Corruption("haze", "lighting", lighting.haze, "Haze, denser towards the top, where the scene is farther away."),
    Corruption("warm", "lighting", lighting.warm, "Lamp light with the white balance left at daylight."),
    Corruption("cool", "lighting", lighting.cool, "Shade and blue sky with the white balance left at daylight."),
    Corruption("vignette", "lighting", lighting.vignette, "Corners fall off as cos^4 of the field angle."),
    Corruption("side_light", "lighting", lighting.side_light, "Light from one side, falling linearly."),
    Corruption("shadow", "lighting", lighting.shadow, "A cast shadow with a soft edge over part of the scene."),
    Corruption("backlight", "lighting", lighting.backlight, "Light from behind: a dark scene, a bright edge, a veil."),
    Corruption("glare", "lighting", lighting.glare, "A lamp in the picture: halo, streaks, ghosts, a veil."),
    Corruption("night", "lighting", lighting.night, "Dark, bluish and pale, with the noise of an amplified sensor."),
    Corruption("flicker", "lighting", lighting.flicker, "Bands of a flickering lamp under a rolling shutter."),
    Corruption("gaussian_noise", "published", published.gaussian_noise, "Gaussian noise, equally strong everywhere."),
    Corruption("shot_noise", "published", published.shot_noise, "Poisson noise of few photons."),
    Corruption("impulse_noise", "published", published.impulse_noise, "Salt and pepper."),
    Corruption("speckle_noise", "published", published.speckle_noise, "Noise in proportion to brightness."),
    Corruption("defocus_blur", "published", published.defocus_blur, "A lens out of focus."),
    Corruption("motion_blur", "published", published.motion_blur, "Motion along a line."),
    Corruption("zoom_blur", "published", published.zoom_blur, "A lens that zooms while the shutter is open."),
    Corruption("gaussian_blur", "published", published.gaussian_blur, "A Gaussian blur."),
    Corruption("fog", "published", published.fog, "Clouds of fog by diamond-square."),
    Corruption("brightness", "published", published.brightness, "Value (of HSV) plus a constant."),
    Corruption("jpeg_compression", "published", published.jpeg_compression, "Low JPEG quality."),
    Corruption("pixelate", "published", published.pixelate, "Low resolution."),
    Corruption("rotation", "pose", pose.rotation, "Rotated about the centre.", pose.rotated),
    Corruption("perspective", "pose", pose.perspective, "Viewed at an angle, as a plane.", pose.tilted),
    Corruption("scale", "pose", pose.scale, "Smaller, as if seen from farther away.", pose.shrunk),
)

CORRUPTIONS: dict[str, Corruption] = {row.name: row for row in _ROWS}
"""Name -> corruption, in the order in which they are shown."""

FAMILIES = tuple(dict.fromkeys(row.family for row in _ROWS))

CONTINUOUS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "exposure": exposure,
    "gamma": gamma,
    "temperature": temperature,
}
"""Name -> function of (pixels, amount), for corruptions that have an amount instead of a severity."""


def corruption_named(name: str) -> Corruption:
    """The corruption with this name. Raises SettingsError."""
    if name not in CORRUPTIONS:
        raise SettingsError(f"Corruption {name!r} does not exist; choose from {', '.join(CORRUPTIONS)}.")
    return CORRUPTIONS[name]


def corruptions_named(words: Sequence[str]) -> tuple[str, ...]:
    """The names of the corruptions that a list of words selects, without duplicates. Raises SettingsError.

    A word is a name, a family (`lighting`, `published`, `pose`) or `all`.
    """
    names: dict[str, None] = {}
    for word in words:
        chosen = [row.name for row in _ROWS if word in ("all", row.family, row.name)]
        if not chosen:
            raise SettingsError(
                f"Corruption {word!r} does not exist; give all, a family ({', '.join(FAMILIES)}) or some of"
                f" {', '.join(CORRUPTIONS)}."
            )
        names |= dict.fromkeys(chosen)
    if not names:
        raise SettingsError(f"No corruption is given; give all, a family ({', '.join(FAMILIES)}) or some names.")
    return tuple(names)


def corrupt(pixels: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """The corrupted picture as a new array of the same shape and type. Raises SettingsError, ImageError."""
    row, rng = corruption_named(name), _random(name, seed)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ImageError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; expected (height, width, 3) of uint8, RGB. "
            "Scale floats to 0..255 and convert them."
        )
    return row.apply(pixels, _checked(severity), rng)


def corrupt_boxes(
    boxes: np.ndarray, size: tuple[int, int], name: str, severity: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes of a picture after `corrupt` with the same name, severity and seed.

    Args:
        boxes: (n, 4) xyxy in pixels.
        size: (width, height) of the picture.

    Returns:
        (n, 4) float32 boxes, and (n,) bool: whether enough of each box is still inside the picture. For corruptions
        that do not move pixels, the boxes are unchanged.

    Raises:
        SettingsError: The name, severity or seed is not valid.
    """
    row, rng = corruption_named(name), _random(name, seed)
    checked = _checked(severity)
    if row.movement is None:
        return np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), bool)
    return pose.moved(boxes, size, row.movement(size, checked, rng))


def corrupted(image: Image, encoded: EncodedImage) -> Image:
    """The decoded image with the corruption of `encoded`, if it has one. Raises SettingsError."""
    corruption = encoded.corruption
    if corruption is None:
        return image
    if change := CONTINUOUS.get(corruption.name):
        pixels = change(image.pixels, corruption.amount)
    else:
        pixels = corrupt(image.pixels, corruption.name, int(corruption.amount), _seed_of(encoded))
    return replace(image, pixels=pixels, digest=encoded.digest)


def moved_boxes(boxes: np.ndarray, size: tuple[int, int], encoded: EncodedImage) -> tuple[np.ndarray, np.ndarray]:
    """((n, 4) boxes of the original image after the corruption of `encoded`, (n,) bool whether still visible).

    size: (width, height) of the image. If the corruption does not move pixels, the boxes are returned unchanged.
    """
    corruption = encoded.corruption
    if corruption is None or corruption.name in CONTINUOUS or CORRUPTIONS[corruption.name].movement is None:
        return boxes, np.ones(len(boxes), bool)
    return corrupt_boxes(boxes, size, corruption.name, int(corruption.amount), _seed_of(encoded))


def _seed_of(image: EncodedImage) -> int:
    """The seed of an image, which is the same for all of its corruptions."""
    return int(image.digest[:8], 16)


def _checked(severity: int) -> int:
    if severity not in SEVERITIES:
        raise SettingsError(f"Severity is {severity}; give a whole number from 1 (slight) to 5 (the worst).")
    return int(severity)


def _random(name: str, seed: int) -> np.random.Generator:
    if seed < 0:
        raise SettingsError(f"Seed is {seed}; give a whole number of at least 0.")
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
