"""The table of corruptions, its seeds, and properties of every corruption."""

from __future__ import annotations

import re

import numpy as np
import pytest

from qviz.corruptions import CORRUPTIONS, SEVERITIES, blocks, corrupt, corrupt_boxes
from qviz.errors import ImageError, SettingsError
from tests.conftest import ROOT
from tests.corruptions.pictures import patch, picture

LIGHTING = {"exposure_down", "exposure_up", "gamma_dark", "gamma_bright", "contrast", "haze", "warm", "cool",
    "vignette", "side_light", "backlight", "glare", "night", "flicker"}  # fmt: skip
PUBLISHED = {"gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur", "zoom_blur", "fog",
    "brightness", "jpeg_compression", "pixelate"}  # fmt: skip

DRAWING = {"exposure_down", "night", "side_light", "shadow", "backlight", "glare", "flicker", "gaussian_noise",
    "shot_noise", "impulse_noise", "speckle_noise", "motion_blur", "fog", "rotation", "perspective"}  # fmt: skip
"""Those that draw anything; the others must not depend on the seed."""


@pytest.fixture(scope="module")
def kitten() -> np.ndarray:
    return picture("kitten")[:150, :200]


def test_names_and_families_of_all_corruptions() -> None:
    families = {name: row.family for name, row in CORRUPTIONS.items()}
    assert {families[name] for name in LIGHTING} == {"lighting"}
    assert {families[name] for name in PUBLISHED} == {"published"}
    assert [name for name, family in families.items() if family == "pose"] == ["rotation", "perspective", "scale"]
    assert all(name == row.name and row.description.endswith(".") for name, row in CORRUPTIONS.items())
    assert {name for name, row in CORRUPTIONS.items() if row.movement} == {"rotation", "perspective", "scale"}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_results_depend_on_the_seed_only(name: str, kitten: np.ndarray) -> None:
    before = kitten.copy()
    first, again = corrupt(kitten, name, 3, 11), corrupt(kitten, name, 3, 11)
    assert first.shape == kitten.shape and first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert np.array_equal(kitten, before) and not np.shares_memory(first, kitten)
    assert not np.array_equal(first, kitten)
    others = [corrupt(kitten, name, 3, seed) for seed in (12, 13, 14, 15, 16)]
    assert any(not np.array_equal(first, other) for other in others) == (name in DRAWING)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3), (400, 2), (3, 500)])
def test_odd_shapes(name: str, shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for severity in (1, 5):
        spoiled = corrupt(pixels, name, severity, 4)
        assert spoiled.shape == pixels.shape and spoiled.dtype == np.uint8


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.filterwarnings("error")
def test_black_white_and_borrowed_pictures(name: str) -> None:
    for value in (0, 1, 255):
        assert corrupt(patch(value, 20), name, 5, 0).shape == (20, 20, 3)
    mirrored = picture("kitten")[:40, :60][:, ::-1]
    mirrored.flags.writeable = False
    assert np.array_equal(corrupt(mirrored, name, 2, 5), corrupt(mirrored.copy(), name, 2, 5))


@pytest.mark.parametrize("name", ["exposure_up", "gamma_dark", "contrast", "vignette", "flicker", "jpeg_compression",
    "defocus_blur", "brightness", "fog"])  # fmt: skip
def test_grey_stays_grey(name: str) -> None:
    """Corruptions without a colour of their own leave grey images grey."""
    grey = np.repeat(picture("kitten")[:64, :64, :1], 3, axis=2)
    spoiled = corrupt(grey, name, 4, 3).astype(int)
    assert int(np.ptp(spoiled, axis=2).max()) <= 2


@pytest.mark.parametrize("name", ["exposure_down", "night", "glare", "shadow", "shot_noise", "brightness", "fog"])
def test_processing_in_blocks_gives_no_visible_seams(
    name: str, kitten: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = corrupt(kitten, name, 4, 9)
    monkeypatch.setattr(blocks, "BLOCK_PIXELS", 7 * kitten.shape[1])
    assert np.array_equal(corrupt(kitten, name, 4, 9), whole)


@pytest.mark.parametrize("name", [name for name, row in CORRUPTIONS.items() if not row.movement])
def test_corruptions_without_geometry_leave_boxes_unchanged(name: str) -> None:
    boxes = np.array([[1, 2, 30, 40], [-3, 0, 500, 9]], np.float32)
    after, visible = corrupt_boxes(boxes, (60, 50), name, 3, 0)
    assert np.array_equal(after, boxes) and after is not boxes and visible.tolist() == [True, True]


def test_the_dark_side_is_the_same_at_every_severity() -> None:
    """The seed fixes the scene: the dark side of side_light is the same at each severity."""
    for seed in range(4):
        darker = [corrupt(patch(), "side_light", severity, seed) for severity in SEVERITIES]
        assert len({float(pixels[:, :100].mean()) < float(pixels[:, 100:].mean()) for pixels in darker}) == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda p: corrupt(p, "fogg", 1, 0), r"'fogg' does not exist; choose from exposure_down, .*, scale\."),
        (lambda p: corrupt(p, "fog", 0, 0), r"Severity is 0; give a whole number from 1 \(slight\) to 5"),
        (lambda p: corrupt(p, "fog", 2.5, 0), r"Severity is 2\.5; give"),
        (lambda p: corrupt(p, "fog", 1, -1), r"Seed is -1; give a whole number of at least 0\."),
        (lambda p: corrupt_boxes(np.zeros((0, 4)), (5, 5), "scale", 6, 0), r"Severity is 6; give"),
        (lambda p: corrupt_boxes(np.zeros((0, 4)), (5, 5), "sharpen", 1, 0), r"choose from .*rotation"),
    ],
)
def test_unknown_settings_are_refused(call: object, sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        call(patch(9, 8))  # type: ignore[operator]


@pytest.mark.parametrize("pixels", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)])
def test_arrays_that_are_not_images_are_refused(pixels: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected \(height, width, 3\) of uint8"):
        corrupt(pixels, "fog", 1, 0)


def test_every_corruption_is_documented() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "corruptions.md").read_text(), re.MULTILINE)
    assert rows == list(CORRUPTIONS)
