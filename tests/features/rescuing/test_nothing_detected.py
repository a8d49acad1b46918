"""A budget in agreement needs objects to agree about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.errors import DatasetError
from tests.squares import Squares


def test_images_without_objects_are_refused(squares: Squares, tmp_path: Path) -> None:
    from PIL import Image

    for number in range(8):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    with (
        qviz.open(squares.model("reference", "float32"), mean=0, std=255, cache=False) as session,
        pytest.raises(DatasetError, match="detects no object on the search half of the images, so no agreement"),
    ):
        session.rescue(calibration=squares.images, images=tmp_path, min_agreement=0.9, recipes=("int8",))
