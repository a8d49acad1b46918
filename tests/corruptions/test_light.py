"""Light: the transfer function, the colour of black bodies, and the sliders, against published figures."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.corruptions import corrupt
from qviz.corruptions.light import (
    DAYLIGHT,
    TO_LINEAR,
    chromaticity,
    decode,
    encode,
    exposure,
    gains,
    gamma,
    relit,
    temperature,
    to_linear,
    to_pixels,
)
from tests.corruptions.pictures import patch, picture

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)  # [1, 256, 3]


def test_linear_light_round_trip_of_every_pixel_value() -> None:
    assert np.array_equal(to_pixels(to_linear(RAMP)), RAMP)


@pytest.mark.parametrize(("value", "linear"), [(0, 0.0), (10, 0.003035), (11, 0.003347), (128, 0.215861), (255, 1.0)])
def test_srgb_equals_published_values(value: int, linear: float) -> None:
    assert float(TO_LINEAR[value]) == pytest.approx(linear, abs=1e-6)


def test_srgb_is_continuous() -> None:
    values = np.linspace(0, 1, 5001)
    np.testing.assert_allclose(encode(decode(values)), values, atol=2e-5)
    assert np.all(np.diff(decode(values)) > 0)


def test_light_is_added_in_linear_light_and_clips() -> None:
    """Twice half of the light is all of it; sRGB's half is 188, not 128."""
    assert to_pixels(np.array([0.5]))[0] == 188
    assert relit(patch(188, 2), 1.0, 0.5)[0, 0, 0] == 255
    assert relit(patch(255, 2), 0.5)[0, 0, 0] == 188
    assert relit(patch(200, 2), 9.0).min() == 255


# Wyszecki and Stiles: the Planckian locus in CIE 1931.
@pytest.mark.parametrize(
    ("kelvin", "x", "y"),
    [
        (2000, 0.5267, 0.4133),
        (2856, 0.4476, 0.4074),
        (4000, 0.3805, 0.3768),
        (6500, 0.3135, 0.3237),
        (10000, 0.2807, 0.2884),
    ],
)
def test_chromaticity_of_a_black_body(kelvin: float, x: float, y: float) -> None:
    assert chromaticity(kelvin) == pytest.approx((x, y), abs=0.001)


def test_grey_keeps_its_luminance_under_any_lamp() -> None:
    for kelvin in (1000, 1700, 2856, 3999, 4001, 6504, 12000, 25000, 90000):
        red, green, blue = gains(kelvin)
        assert red * 0.2126 + green * 0.7152 + blue * 0.0722 == pytest.approx(1)
        assert (red > blue) == (kelvin < DAYLIGHT) or kelvin == DAYLIGHT
    np.testing.assert_allclose(gains(DAYLIGHT), 1)


@pytest.mark.parametrize(("call", "neutral"), [(exposure, 0.0), (gamma, 1.0), (temperature, 0.0)])
def test_a_slider_at_rest_changes_nothing(call: object, neutral: float) -> None:
    assert np.array_equal(call(RAMP, neutral), RAMP)  # type: ignore[operator]


def test_a_stop_doubles_the_light() -> None:
    brighter = to_linear(exposure(RAMP, 1.0)).ravel()
    expected = np.minimum(2 * to_linear(RAMP).ravel(), 1)
    np.testing.assert_allclose(brighter, expected, atol=0.005)  # half a display step near white


def test_sliders_move_the_right_way() -> None:
    pixels = picture("kitten")[:50, :50]
    assert exposure(pixels, -2).mean() < pixels.mean() < exposure(pixels, 0.5).mean()
    assert gamma(pixels, 2.2).mean() < pixels.mean() < gamma(pixels, 0.5).mean()
    warm, cool = temperature(patch(), -3000)[0, 0].astype(int), temperature(patch(), 4000)[0, 0].astype(int)
    assert warm[0] > 128 > warm[2] and cool[0] < 128 < cool[2]


def test_sliders_stop_at_their_ends() -> None:
    assert np.array_equal(exposure(RAMP, -99), exposure(RAMP, -8))
    assert np.array_equal(gamma(RAMP, 0), gamma(RAMP, 0.1))
    assert np.array_equal(temperature(RAMP, -9000), temperature(RAMP, 1700 - DAYLIGHT))


def test_light_colours_change_monotonically_with_severity() -> None:
    def blueness(name: str) -> list[float]:
        spoiled = [corrupt(patch(), name, severity, 0)[0, 0].astype(float) for severity in (1, 2, 3, 4, 5)]
        return [float(blue - red) for red, _, blue in spoiled]

    assert np.all(np.diff([0, *blueness("warm")]) < 0)
    assert np.all(np.diff([0, *blueness("cool")]) > 0)


def test_night_is_bluer_and_paler_than_mere_underexposure() -> None:
    pixels = picture("kitten")
    night, dark = (to_linear(corrupt(pixels, name, 3, 0)).mean(axis=(0, 1)) for name in ("night", "exposure_down"))
    clean = to_linear(pixels).mean(axis=(0, 1))
    assert (night / clean)[2] / (night / clean)[0] > 1.2 * (dark / clean)[2] / (dark / clean)[0]
    orange = np.full((60, 60, 3), (230, 120, 40), np.uint8)
    shown = corrupt(orange, "night", 5, 0).mean(axis=(0, 1))
    assert shown[0] / shown[2] < 230 / 40 / 2


def test_shape_of_light_maps() -> None:
    grey = patch(128, 101)
    corners = to_linear(corrupt(grey, "vignette", 3, 0))[..., 0]
    assert corners[50, 50] == pytest.approx(TO_LINEAR[128], rel=0.01)
    assert corners[0, 0] / TO_LINEAR[128] == pytest.approx(np.cos(np.radians(50)) ** 4, abs=0.01)
    haze = corrupt(grey, "haze", 4, 0).astype(int)
    assert np.all(np.diff(haze[:, 0, 0]) <= 0) and haze[0, 0, 0] > haze[-1, 0, 0]  # thicker towards the top
    flicker = corrupt(grey, "flicker", 5, 1)
    assert np.array_equal(flicker[:, 0], flicker[:, -1]) and np.ptp(flicker[:, 0, 0]) > 60  # bands are whole rows
    against = corrupt(grey, "backlight", 5, 1).astype(int)
    assert against[0].max() == 255 and against[-1].max() < 128
