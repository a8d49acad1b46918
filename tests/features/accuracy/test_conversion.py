"""ONNX, float32 and int8 of one network: the converter's and the quantizer's share of what is lost add up."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnxruntime")

from qviz.engine import LocalEngine
from qviz.features.accuracy.text import conversion_sentences as shares_of_ap
from qviz.features.comparison.conversion import lost_shares
from qviz.features.comparison.text import conversion_sentences
from qviz.session import Session
from tests.squares import Squares
from tests.squares.onnx_network import onnx_squares

SETTINGS: dict[str, Any] = {"mean": 0, "std": 255, "resize": "stretch", "channels": "rgb"}


@pytest.fixture(scope="module")
def reference(squares: Squares) -> Path:
    path = squares.folder / "squares.onnx"
    path.write_bytes(onnx_squares())
    return path


def session(engine: LocalEngine, squares: Squares, *models: Path) -> Session:
    data = {"dataset": squares.annotations, "dataset_images": squares.images, "labels": squares.labels}
    return Session(*models, images=squares.images, engine=engine, cache=False, **data, **SETTINGS)


def shares(opened: Session) -> tuple[float, float, float, float]:
    """(loss, converter's share, quantizer's share) as the sentence about int8 shows them, and the measured loss."""
    result = opened.evaluate()
    (sentence,) = shares_of_ap(result, [model.name for model in result.models])
    assert sentence in str(result)
    loss, converter, quantizer = map(float, re.findall(r"-?\d+\.\d", sentence))
    return loss, converter, quantizer, 100 * ((result.models[0].ap or 0) - (result.models[2].ap or 0))


def test_a_right_conversion_costs_nothing(engine: LocalEngine, squares: Squares, reference: Path) -> None:
    """The loss is that of boxes in pixels beside scores, which the quantizer rounds."""
    files = squares.model("reference", "float32"), squares.model("pixels_with_scores", "int8")
    with session(engine, squares, reference, *files) as opened:
        loss, converter, quantizer, measured = shares(opened)
        compared = opened.compare()
    (lost,), (sentence,) = lost_shares(compared), conversion_sentences(compared)
    assert loss == pytest.approx(measured, abs=0.05) and loss == pytest.approx(converter + quantizer)
    assert converter == 0 and quantizer > 40
    assert lost.by_conversion == 0 and "all in the quantization: reference_float32.tflite keeps them" in sentence


def test_a_wrong_channel_order_is_the_converters(engine: LocalEngine, squares: Squares, reference: Path) -> None:
    files = squares.model("bgr_inside", "float32"), squares.model("bgr_inside", "int8")
    with session(engine, squares, reference, *files) as opened:
        loss, converter, quantizer, measured = shares(opened)
        compared = opened.compare()
    assert loss == pytest.approx(measured, abs=0.05) and loss == pytest.approx(converter + quantizer)
    assert converter > 40 and abs(quantizer) < 3
    (lost,) = lost_shares(compared)
    summary = compared.variants[1].summary
    assert lost.by_conversion + lost.by_quantization == summary.lost + summary.relabelled > 10
    (sentence,) = conversion_sentences(compared)
    assert "all in the conversion: bgr_inside_float32.tflite loses them, too" in sentence and sentence in str(compared)


def test_without_the_float32_file_nothing_is_split(engine: LocalEngine, squares: Squares, reference: Path) -> None:
    with session(engine, squares, reference, squares.model("reference", "int8")) as opened:
        assert lost_shares(opened.compare()) == [] and conversion_sentences(opened.compare()) == []
