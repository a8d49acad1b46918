"""A remark on images of 16 bits that use a small part of the range, whether or not something is detected on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.features.detection.dark import MAX_CHECKED, suspects
from tests.conftest import Sample


def written(sample: Sample, folder: Path, name: str, shift: int) -> Path:
    """A photograph of 8 bits, shifted to the left in a file of 16 bits."""
    import cv2

    pixels = cv2.imread(str(sample.images / "hens.jpg"))
    path = folder / name
    cv2.imwrite(str(path), pixels.astype(np.uint16) << shift)
    return path


@pytest.mark.parametrize(
    ("name", "shift", "highest"),
    [("8.png", 0, "255"), ("10.png", 2, "1020"), ("12.png", 4, "4080"), ("12.tiff", 4, "4080"), ("16.png", 8, None)],
)
def test_the_used_range_is_named(sample: Sample, tmp_path: Path, name: str, shift: int, highest: str | None) -> None:
    path = written(sample, tmp_path, name, shift)
    models = sample.models["float32"], sample.models["int8"]
    with qviz.open(*models, images=path, cache=False) as session:
        results = session.detect().skipped, session.compare().skipped
    for skipped in results:
        if highest is None:
            assert skipped == ()
        else:
            (sentence,) = skipped
            assert sentence.startswith(f"{name} is nearly black: 16 bits per value, but no value is above")


def test_images_without_objects_are_checked_first() -> None:
    images = [(f"{number}.png", f"p{number}") for number in range(MAX_CHECKED)] + [
        ("a.jpg", "empty"),
        ("b.jpg", "full"),
    ]
    chosen = suspects(images, {"empty"})
    assert len(chosen) == MAX_CHECKED
    assert "empty" in chosen and "full" not in chosen and f"p{MAX_CHECKED - 1}" not in chosen
