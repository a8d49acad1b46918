"""Where neither model finds an object, nothing is lost and no agreement is known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.features.what_if.cli import _print
from tests.squares import Squares


def test_black_images(squares: Squares, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "black.png")
    models = squares.model("reference", "float32"), squares.model("reference", "int8")
    with qviz.open(*models, images=tmp_path, mean=0, std=255, cache=False) as session:
        result = session.what_if(sets=[{0, 1}])
    assert (result.base, [row.agreement for row in result.sets], result.named) == (None, [None], None)
    assert [row.explained for row in result.sets] == [None]
    assert "finds an object on 1 image at this confidence" in str(result) and "1.00" not in str(result)
    assert result.to_json()["base"] is None and json.dumps(result.to_json(), allow_nan=False)
    _print(result)
    assert "1.000" not in capsys.readouterr().out
