"""Regression values of each corruption, measured in linear light."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from qviz.corruptions.light import Sensor, to_linear
from tests.corruptions.pictures import patch, picture

# name: (mean of linear light, its standard deviation = RMS contrast), severities 1..5; seed 1; clean: 0.280, 0.273
GOLDEN = {
    "exposure_down": ((0.141, 0.084, 0.050, 0.030, 0.018), (0.138, 0.082, 0.049, 0.029, 0.017)),
    "exposure_up": ((0.385, 0.477, 0.537, 0.582, 0.642), (0.364, 0.419, 0.435, 0.436, 0.433)),
    "gamma_dark": ((0.238, 0.205, 0.157, 0.125, 0.094), (0.256, 0.239, 0.211, 0.189, 0.166)),
    "gamma_bright": ((0.327, 0.365, 0.426, 0.473, 0.524), (0.291, 0.301, 0.313, 0.318, 0.320)),
    "contrast": ((0.193, 0.185, 0.180, 0.177, 0.176), (0.122, 0.101, 0.083, 0.070, 0.067)),
    "haze": ((0.381, 0.457, 0.529, 0.599, 0.661), (0.228, 0.194, 0.162, 0.130, 0.097)),
    "warm": ((0.281, 0.282, 0.284, 0.282, 0.279), (0.286, 0.306, 0.331, 0.351, 0.368)),
    "cool": ((0.283, 0.286, 0.288, 0.291, 0.292), (0.274, 0.276, 0.282, 0.289, 0.295)),
    "vignette": ((0.233, 0.195, 0.149, 0.108, 0.066), (0.234, 0.205, 0.170, 0.138, 0.101)),
    "side_light": ((0.210, 0.175, 0.157, 0.148, 0.144), (0.209, 0.183, 0.172, 0.168, 0.166)),
    "shadow": ((0.256, 0.230, 0.214, 0.205, 0.200), (0.277, 0.278, 0.282, 0.286, 0.289)),
    "backlight": ((0.219, 0.208, 0.215, 0.271, 0.347), (0.188, 0.174, 0.195, 0.278, 0.336)),
    "glare": ((0.309, 0.342, 0.401, 0.486, 0.591), (0.278, 0.282, 0.287, 0.289, 0.277)),
    "night": ((0.097, 0.057, 0.034, 0.021, 0.015), (0.094, 0.055, 0.033, 0.021, 0.017)),
    "flicker": ((0.262, 0.243, 0.217, 0.191, 0.165), (0.257, 0.241, 0.224, 0.211, 0.205)),
    "gaussian_noise": ((0.285, 0.290, 0.299, 0.312, 0.333), (0.285, 0.297, 0.315, 0.337, 0.365)),
    "shot_noise": ((0.285, 0.286, 0.289, 0.293, 0.298), (0.296, 0.312, 0.332, 0.363, 0.386)),
    "impulse_noise": ((0.288, 0.295, 0.301, 0.319, 0.342), (0.287, 0.298, 0.309, 0.335, 0.364)),
    "speckle_noise": ((0.283, 0.284, 0.286, 0.287, 0.289), (0.295, 0.305, 0.333, 0.347, 0.364)),
    "defocus_blur": ((0.267, 0.263, 0.256, 0.257, 0.250), (0.252, 0.246, 0.235, 0.234, 0.225)),
    "motion_blur": ((0.269, 0.263, 0.255, 0.249, 0.245), (0.255, 0.245, 0.233, 0.223, 0.216)),
    "zoom_blur": ((0.266, 0.264, 0.260, 0.258, 0.255), (0.251, 0.247, 0.241, 0.238, 0.233)),
    "gaussian_blur": ((0.273, 0.264, 0.257, 0.251, 0.241), (0.260, 0.247, 0.236, 0.228, 0.215)),
    "fog": ((0.268, 0.274, 0.287, 0.297, 0.292), (0.155, 0.149, 0.154, 0.169, 0.177)),
    "brightness": ((0.364, 0.442, 0.495, 0.534, 0.567), (0.336, 0.380, 0.393, 0.391, 0.384)),
    "jpeg_compression": ((0.280, 0.279, 0.280, 0.280, 0.280), (0.273, 0.272, 0.273, 0.276, 0.273)),
    "pixelate": ((0.280, 0.279, 0.276, 0.273, 0.272), (0.270, 0.269, 0.265, 0.261, 0.259)),
}

# Standard deviation in linear light of the green of a patch of 128 (0.2159 in linear light), seed 1.
NOISE = {
    "exposure_down": (0.0043, 0.0034, 0.0026, 0.0020, 0.0016),
    "night": (0.0062, 0.0071, 0.0090, 0.0109, 0.0131),
    "gaussian_noise": (0.0749, 0.1145, 0.1772, 0.2532, 0.3289),
    "shot_noise": (0.0880, 0.1419, 0.2136, 0.3093, 0.3602),
    "impulse_noise": (0.0994, 0.1399, 0.1705, 0.2306, 0.2901),
    "speckle_noise": (0.0709, 0.0955, 0.1738, 0.2244, 0.2857),
}


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return picture("astronaut")


def test_every_corruption_without_geometry_has_reference_values() -> None:
    assert set(GOLDEN) == {name for name, row in CORRUPTIONS.items() if not row.movement}


@pytest.mark.parametrize("name", GOLDEN)
def test_mean_and_contrast_of_linear_light(name: str, astronaut: np.ndarray) -> None:
    light = [to_linear(corrupt(astronaut, name, severity, 1)) for severity in SEVERITIES]
    means, contrasts = GOLDEN[name]
    np.testing.assert_allclose([part.mean() for part in light], means, atol=0.003, rtol=0.01)
    np.testing.assert_allclose([part.std() for part in light], contrasts, atol=0.003, rtol=0.01)


@pytest.mark.parametrize("name", NOISE)
def test_noise_in_linear_light(name: str) -> None:
    noise = [float(to_linear(corrupt(patch(), name, severity, 1))[..., 1].std()) for severity in SEVERITIES]
    np.testing.assert_allclose(noise, NOISE[name], rtol=0.04)


@pytest.mark.parametrize(("name", "sign"), [("exposure_down", -1), ("night", -1), ("gamma_dark", -1), ("vignette", -1),
    ("side_light", -1), ("shadow", -1), ("flicker", -1), ("exposure_up", 1), ("gamma_bright", 1), ("haze", 1),
    ("glare", 1), ("brightness", 1)])  # fmt: skip
def test_the_mean_changes_monotonically_with_severity(name: str, sign: int, astronaut: np.ndarray) -> None:
    light = [float(to_linear(pixels).mean()) for pixels in strip(astronaut, name, 3)]
    assert np.all(np.diff(light) * sign > 0)


@pytest.mark.parametrize("name", [name for name in GOLDEN if name != "pixelate"])
@pytest.mark.parametrize("image", ["astronaut", "kitten", "berlin_street"])
def test_the_distance_to_the_clean_image_grows(name: str, image: str) -> None:
    clean, *spoiled = strip(picture(image), name, 5)
    distance = [float(np.sqrt(np.mean((pixels.astype(float) - clean) ** 2))) for pixels in spoiled]
    assert np.all(np.diff([0.0, *distance]) > 0), distance


def test_pixelate_leaves_fewer_pixels(astronaut: np.ndarray) -> None:
    """Its distance need not grow: whole block sizes (severity 5: four pixels) fit the grid better than fractions."""
    columns = [len(np.unique(pixels[0], axis=0)) for pixels in strip(astronaut, "pixelate", 0)]
    assert np.all(np.diff(columns) < 0)
    assert columns[-1] <= 256 * 0.25


def test_low_light_noise_equals_the_sensor_model() -> None:
    """sqrt(s / 6000 + (3 / 6000)^2) at s = 0.2159 / 2, and it grows relative to the signal with every stop."""
    light = [to_linear(pixels)[..., 1] for pixels in strip(patch(), "exposure_down", 2)[1:]]
    expected = np.sqrt(0.2159 / 2 / 6000 + (3 / 6000) ** 2)
    assert float(light[0].std()) == pytest.approx(expected, rel=0.08)  # rounding to 8 bits adds some
    assert np.all(np.diff([float(part.std() / part.mean()) for part in light]) > 0)
    assert float(Sensor().sigma(np.array([0.2159 / 2]))[0]) == pytest.approx(expected, rel=1e-4)


def strip(clean: np.ndarray, name: str, seed: int) -> list[np.ndarray]:
    return [clean, *(corrupt(clean, name, severity, seed) for severity in SEVERITIES)]
