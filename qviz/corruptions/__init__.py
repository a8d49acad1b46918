"""What happens to a picture between laboratory and field: light first, the published corruptions, then pose.

pixels (h, w, 3) uint8 RGB; severity 1..5, where 5 is the worst; every random draw comes from `seed` and the name, so
equal seeds give equal pictures. The severity is no part of it: a seed keeps its side, lamp and angle, and the same
scene gets worse. The caller derives the seed from the image (its digest), not from its place in a list.

One row of `CORRUPTIONS` and one function make a corruption. `continuous` has exposure, gamma and colour temperature by
any amount, for a slider. Definitions, constants and sources: docs/corruptions.md.
"""

from __future__ import annotations

import zlib

import numpy as np

from qviz.corruptions import (
    lighting,
    pose,
    published_blur,
    published_digital,
    published_noise,
    stray_light,
    uneven_light,
)
from qviz.corruptions.corruption import Corruption
from qviz.errors import ImageError, SettingsError

__all__ = ["CORRUPTIONS", "SEVERITIES", "Corruption", "corrupt", "corrupt_boxes", "known"]

SEVERITIES = (1, 2, 3, 4, 5)

_ROWS = (
    Corruption("exposure_down", "lighting", lighting.exposure_down, "Too little light, with the sensor's noise."),
    Corruption("exposure_up", "lighting", lighting.exposure_up, "Too much light: highlights clip."),
    Corruption("gamma_dark", "lighting", lighting.gamma_dark, "Darker midtones; black and white stay."),
    Corruption("gamma_bright", "lighting", lighting.gamma_bright, "Lighter midtones; black and white stay."),
    Corruption("contrast", "lighting", published_digital.contrast, "Low contrast, as ImageNet-C defines it."),
    Corruption("haze", "lighting", lighting.haze, "Haze, denser towards the top, where the scene is far."),
    Corruption("warm", "lighting", lighting.warm, "Lamp light with the white balance left at daylight."),
    Corruption("cool", "lighting", lighting.cool, "Shade and blue sky with the white balance left at daylight."),
    Corruption("vignette", "lighting", uneven_light.vignette, "Corners fall off as cos^4 of the field angle."),
    Corruption("side_light", "lighting", uneven_light.side_light, "Light from one side, falling linearly."),
    Corruption("shadow", "lighting", uneven_light.shadow, "A cast shadow with a soft edge over part of the scene."),
    Corruption(
        "backlight", "lighting", stray_light.backlight, "Light from behind: a dark scene, a bright edge, a veil."
    ),
    Corruption("glare", "lighting", stray_light.glare, "A lamp in the picture: halo, streaks, ghosts, a veil."),
    Corruption("night", "lighting", lighting.night, "Dark, blue and pale, with an amplified sensor's noise."),
    Corruption("flicker", "lighting", uneven_light.flicker, "Bands of a flickering lamp under a rolling shutter."),
    Corruption("gaussian_noise", "published", published_noise.gaussian_noise, "Noise of equal strength everywhere."),
    Corruption("shot_noise", "published", published_noise.shot_noise, "Poisson noise of few photons."),
    Corruption("impulse_noise", "published", published_noise.impulse_noise, "Salt and pepper."),
    Corruption("speckle_noise", "published", published_noise.speckle_noise, "Noise in proportion to brightness."),
    Corruption("defocus_blur", "published", published_blur.defocus_blur, "Out of focus: a disc."),
    Corruption("motion_blur", "published", published_blur.motion_blur, "Motion along a line."),
    Corruption("zoom_blur", "published", published_blur.zoom_blur, "Zoomed while the shutter is open."),
    Corruption("gaussian_blur", "published", published_blur.gaussian_blur, "A Gaussian blur."),
    Corruption("fog", "published", published_digital.fog, "Clouds of fog by diamond-square."),
    Corruption("brightness", "published", published_digital.brightness, "Value (of HSV) plus a constant."),
    Corruption("jpeg_compression", "published", published_digital.jpeg_compression, "JPEG of low quality."),
    Corruption("pixelate", "published", published_digital.pixelate, "Fewer pixels."),
    Corruption("rotation", "pose", pose.rotation, "Turned about the centre.", pose.rotated),
    Corruption("perspective", "pose", pose.perspective, "Seen at a slant, as a plane.", pose.tilted),
    Corruption("scale", "pose", pose.scale, "Smaller: seen from farther away.", pose.shrunk),
)

CORRUPTIONS: dict[str, Corruption] = {row.name: row for row in _ROWS}
"""In the order in which they are shown."""


def known(name: str) -> Corruption:
    """The row of that name. Raises SettingsError."""
    if name not in CORRUPTIONS:
        raise SettingsError(f"corruption is {name!r}; known are {', '.join(CORRUPTIONS)}.")
    return CORRUPTIONS[name]


def corrupt(pixels: np.ndarray, name: str, severity: int, seed: int) -> np.ndarray:
    """The picture spoiled: a new array of the same shape and type. Raises SettingsError, ImageError."""
    row, rng = known(name), _random(name, seed)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ImageError(
            f"pixels are {pixels.dtype} of shape {pixels.shape}; expected (height, width, 3) of uint8, RGB. "
            "Scale floats to 0..255 and convert them."
        )
    return row.apply(pixels, _checked(severity), rng)


def corrupt_boxes(
    boxes: np.ndarray, size: tuple[int, int], name: str, severity: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where the boxes (n, 4) xyxy of a picture of (width, height) are after `corrupt` with the same settings.

    Returns (boxes (n, 4) float32, kept (n,) bool): a box is kept where enough of it is still inside the picture. What
    does not move pixels returns the boxes as they are. Raises SettingsError.
    """
    row, rng = known(name), _random(name, seed)
    checked = _checked(severity)
    if row.movement is None:
        return np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), bool)
    return pose.moved(boxes, size, row.movement(size, checked, rng))


def _checked(severity: int) -> int:
    if severity not in SEVERITIES:
        raise SettingsError(f"severity is {severity}; expected a whole number from 1 (slight) to 5 (the worst).")
    return int(severity)


def _random(name: str, seed: int) -> np.random.Generator:
    if seed < 0:
        raise SettingsError(f"seed is {seed}; expected a whole number from 0 up.")
    return np.random.default_rng([seed, zlib.crc32(name.encode())])
