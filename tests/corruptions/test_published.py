"""The published corruptions against their definitions, implemented here independently."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
from PIL import Image

from qviz.corruptions import corrupt
from qviz.corruptions.published import disc, line, plasma
from tests.corruptions.pictures import patch, picture


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    return picture("berlin_street")[:96, :120]


@pytest.mark.parametrize(("severity", "sigma"), [(1, 0.08), (2, 0.12), (3, 0.18)])
def test_gaussian_noise(severity: int, sigma: float) -> None:
    noise = corrupt(patch(), "gaussian_noise", severity, 0).astype(float) - 128
    assert noise.std() / 255 == pytest.approx(sigma, rel=0.02)


@pytest.mark.parametrize(("severity", "photons"), [(1, 60), (3, 12), (5, 3)])
def test_shot_noise_is_poisson(severity: int, photons: int) -> None:
    counts = corrupt(patch(64), "shot_noise", severity, 0) * (photons / 255)
    expected = 64 / 255 * photons
    assert counts.mean() == pytest.approx(expected, rel=0.05)  # cut off, not rounded: a little less
    assert counts.var() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("severity", "share"), [(1, 0.03), (5, 0.27)])
def test_impulse_noise_is_salt_and_pepper_in_equal_parts(severity: int, share: float) -> None:
    spoiled = corrupt(patch(), "impulse_noise", severity, 0)
    assert (spoiled == 0).mean() == pytest.approx(share / 2, rel=0.05)
    assert (spoiled == 255).mean() == pytest.approx(share / 2, rel=0.05)
    assert ((spoiled == 128) | (spoiled == 0) | (spoiled == 255)).all()


def test_speckle_noise_grows_with_the_value() -> None:
    dim, bright = (corrupt(patch(value), "speckle_noise", 1, 0).astype(float).std() for value in (50, 150))
    assert dim == pytest.approx(50 * 0.15, rel=0.03) and bright == pytest.approx(150 * 0.15, rel=0.03)


@pytest.mark.parametrize(("severity", "contrast_left"), [(1, 0.4), (5, 0.05)])
def test_contrast(severity: int, contrast_left: float, street: np.ndarray) -> None:
    means = street.astype(float).mean(axis=(0, 1))
    expected = (street - means) * contrast_left + means
    assert np.abs(corrupt(street, "contrast", severity, 0) - expected).max() <= 1


@pytest.mark.parametrize(("severity", "raised"), [(1, 0.1), (5, 0.5)])
def test_brightness_is_value_of_hsv(severity: int, raised: float, street: np.ndarray) -> None:
    small = np.concatenate([street[::16, ::16].reshape(-1, 3), [[0, 0, 0], [255, 0, 0], [9, 9, 9]]]).astype(np.uint8)
    hsv = [colorsys.rgb_to_hsv(*(pixel / 255)) for pixel in small]
    expected = [np.multiply(colorsys.hsv_to_rgb(h, s, min(v + raised, 1)), 255) for h, s, v in hsv]
    spoiled = corrupt(small[None], "brightness", severity, 0)[0]
    assert np.abs(spoiled - np.array(expected)).max() <= 1.01


@pytest.mark.parametrize(("severity", "quality"), [(1, 25), (5, 7)])
def test_jpeg_compression(severity: int, quality: int, street: np.ndarray) -> None:
    file = io.BytesIO()
    Image.fromarray(street).save(file, "JPEG", quality=quality)
    assert np.array_equal(corrupt(street, "jpeg_compression", severity, 0), np.asarray(Image.open(file)))


def test_pixelate_averages_whole_blocks(street: np.ndarray) -> None:
    blocks = street.reshape(24, 4, 30, 4, 3).mean(axis=(1, 3))
    assert (
        np.abs(corrupt(street, "pixelate", 5, 0) - blocks.repeat(4, 0).repeat(4, 1)).max() <= 1
    )  # Pillow rounds twice


def test_defocus_kernel_is_a_disc() -> None:
    for radius, sigma in [(3, 0.1), (6, 0.5), (10, 0.5)]:
        kernel = disc(radius, sigma)
        assert kernel.sum() == pytest.approx(1, abs=0.011)  # softened within its own frame, as published
        assert np.allclose(kernel, kernel.T) and np.allclose(kernel, kernel[::-1])
        assert (kernel > kernel.max() / 2).sum() == pytest.approx(np.pi * radius**2, rel=0.08)


@pytest.mark.parametrize("angle", [-45, -10, 0, 30, 45])
def test_motion_blur_kernel_is_a_line(angle: float) -> None:
    kernel, (x, y) = line(10, 3, angle)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert kernel[y, x] > kernel.max() / 2  # it starts where the pixel is, and fades; two steps may share a pixel
    rows, columns = np.nonzero(kernel > 1e-9)
    along = np.degrees(np.arctan2(rows[-1] - y if angle > 0 else rows[0] - y, np.ptp(columns)))
    assert along == pytest.approx(angle, abs=4)


def test_blurs_leave_uniform_images_unchanged() -> None:
    for name in ("defocus_blur", "motion_blur", "zoom_blur", "gaussian_blur"):
        assert np.abs(corrupt(patch(77, 64), name, 5, 0).astype(int) - 77).max() <= 1


def test_zoom_blur_keeps_the_centre_sharp() -> None:
    rings = patch(0, 101)
    rings[50, 50] = 255
    rings[50, 90] = 255
    blurred = corrupt(rings, "zoom_blur", 3, 0)
    assert blurred[50, 50, 0] > 150 > blurred[50, 90, 0]
    assert blurred[50, 92:, 0].any() and not blurred[50, 60:88].any()  # smeared outwards, away from the centre


def test_fog_by_diamond_square() -> None:
    clouds = plasma(64, 2.0, np.random.default_rng(0))
    assert clouds.shape == (64, 64) and clouds.min() == 0 and clouds.max() == 1
    near = np.abs(clouds - np.roll(clouds, 1, axis=0)).mean()
    assert near < np.abs(clouds - np.roll(clouds, 16, axis=0)).mean() / 3  # clouds, not noise
    assert np.abs(clouds[0] - clouds[-1]).mean() < 3 * near  # seamless
    rough = plasma(64, 1.4, np.random.default_rng(0))
    assert np.abs(rough - np.roll(rough, 1, axis=0)).mean() > near


def test_fog_of_a_long_picture_is_bounded() -> None:
    """A map of 65536 x 65536 would take 17 GB."""
    assert corrupt(np.full((2, 40000, 3), 90, np.uint8), "fog", 5, 0).shape == (2, 40000, 3)
