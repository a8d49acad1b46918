"""Sample images that the tests corrupt."""

from __future__ import annotations

import numpy as np
from PIL import Image

from tests.conftest import ROOT


def picture(name: str) -> np.ndarray:
    """A sample image at half its size. Every second pixel is dropped, so that no resizing filter is involved."""
    with Image.open(ROOT / "sample_data" / "images" / f"{name}.jpg") as opened:
        return np.ascontiguousarray(np.asarray(opened.convert("RGB"))[::2, ::2])


def patch(value: int = 128, side: int = 200) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)
