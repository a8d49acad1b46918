"""`qviz compare` on images on which nothing is detected prints no agreement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cli.conftest import Run
from tests.squares import Squares


def test_agreement_is_a_dash_and_null(run: Run, squares: Squares, tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    models = squares.model("reference", "float32"), squares.model("reference", "int8")
    call = ("compare", *models, "--images", tmp_path / "black.png", "--mean", 0, "--std", 255)
    printed = run(*call).out
    assert "1.000" not in printed and "–" in printed
    assert "neither model finds an object at this confidence" in printed
    (variant,) = run(*call, "--json").json["variants"]
    assert variant["summary"]["agreement"] is None
