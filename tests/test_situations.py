"""Situations that people reported, from the files to the answer: each was answered wrongly once.

The files are small detectors of coloured squares (`tests/squares`), whose AP is 66.6 where everything is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qviz
from tests.squares import Squares

RIGHT: dict[str, Any] = {"mean": 0, "std": 255}


def ap(squares: Squares, *models: Path, **settings: Any) -> list[float]:
    """AP x 100 of each model on the scenes."""
    result = qviz.evaluate(
        *models, dataset=squares.annotations, dataset_images=squares.images, labels=squares.labels, **settings
    )
    return [100 * (model.ap or 0.0) for model in result.models]


def codes(warnings: Any) -> set[str]:
    return {warning.code for warning in warnings}


def test_the_variants_input_range_decides_the_normalisation(squares: Squares) -> None:
    float32, int8 = squares.model("pixels_with_scores", "float32"), squares.model("pixels_with_scores", "int8_io")
    result = qviz.compare(float32, int8, images=squares.images)
    assert "assumed_settings" in codes(result.warnings)
    assert f"from the input of {int8.name}" in next(w.message for w in result.warnings if w.code == "assumed_settings")
    reference, variant = ap(squares, float32, int8)
    assert reference == pytest.approx(66.6, abs=0.1)
    assert variant < 40


@pytest.mark.parametrize("name", ["reference", "end_to_end", "four_classes"])
def test_a_file_beside_itself_is_read_alike_and_without_an_alarm(name: str, squares: Squares) -> None:
    """Its objects have one size, which is no sign of a wrong reading; 20 objects in every image are one."""
    file = squares.model(name)
    with qviz.open(file, file, images=squares.images) as session:
        result = session.compare()
        models = session.models_for(session.images_of())
    assert {(model.settings.mean, model.settings.std) for model in models} == {((0.0,) * 3, (255.0,) * 3)}
    assert result.variants[0].summary.agreement == 1
    assert codes(result.warnings) == {"assumed_settings"}


def test_a_built_file_says_what_was_assumed(squares: Squares, tmp_path: Path) -> None:
    float32 = squares.model("reference", "float32")
    built = qviz.quantize(float32, recipe="int8", calibration=squares.images)
    (warning,) = built.warnings
    assert warning.code == "assumed_settings" and "std 255" in warning.message
    assert built.to_json()["warnings"][0]["code"] == "assumed_settings"
    assert ap(squares, float32, built.save(tmp_path / "int8.tflite"), **RIGHT)[1] > 60
    assert qviz.quantize(float32, recipe="int8", calibration=squares.images, channels="rgb", **RIGHT).warnings == ()


@pytest.mark.parametrize("name", ["pixels_with_scores", "end_to_end"])
def test_the_cure_of_a_shared_scale_works(name: str, squares: Squares, tmp_path: Path) -> None:
    """The last join and what is behind it in float, as the warning says."""
    float32 = squares.model(name, "float32")  # type: ignore[arg-type]
    with qviz.open(float32, calibration=squares.images, **RIGHT) as session:
        graph = session.models[0].inspection.graph
        joins = [op.order for op in graph.ops if op.kind == "CONCATENATION"]
        first = joins[-1] if name == "pixels_with_scores" else joins[-2]  # an end-to-end head joins twice
        orders = range(first, len(graph.ops))
        plain = session.quantize("int8")
        mended = session.quantize("int8", keep_operators=orders)
    assert codes(plain.warnings) & {"shared_concat_scale", "class_index_shares_scale"}
    assert not codes(mended.warnings) & {"shared_concat_scale", "class_index_shares_scale"}
    files = plain.save(tmp_path / "plain.tflite"), mended.save(tmp_path / "mended.tflite")
    labels = squares.labels if name == "pixels_with_scores" else None
    result = qviz.compare(float32, *files, images=squares.images, labels=labels, **RIGHT)
    before, after = (variant.summary.agreement or 0.0 for variant in result.variants)
    assert after > 0.95 > before


def test_raw_pixels_for_an_integer_input_without_a_scale(squares: Squares) -> None:
    float32, int8 = squares.model("uint8_input", "float32"), squares.model("uint8_input", "int8")
    result = qviz.detect(float32, images=squares.images / "s01.png", labels=squares.labels)
    assert len(result.to_frame()) == 4
    assert ap(squares, float32, int8) == pytest.approx([66.6, 64.3], abs=0.3)
    reference = squares.model("reference", "float32")
    assert ap(squares, reference, int8, **RIGHT) == pytest.approx([66.6, 64.3], abs=0.3)
    info = qviz.info(float32)
    assert (info.models[0].settings["std"], info.models[0].settings_from["std"]) == ([1.0] * 3, "file")


def test_another_input_size_is_the_headline(squares: Squares) -> None:
    pair = squares.model("reference", "float32"), squares.model("input_256", "int8")
    verdict = str(qviz.compare(*pair, images=squares.images, labels=squares.labels, **RIGHT))
    assert verdict.startswith(f"{pair[1].name} reads images of 256 x 256 pixels, {pair[0].name} of 320 x 320")


def test_four_classes(squares: Squares) -> None:
    for name in ("four_classes", "four_classes_scores_first"):
        assert ap(squares, squares.model(name, "float32"), squares.model(name, "int8"), **RIGHT)[0] > 66  # type: ignore[arg-type]


def test_a_rescue_keeps_the_agreement(squares: Squares, tmp_path: Path) -> None:
    float32 = squares.model("pixels_with_scores", "float32")
    result = qviz.rescue(
        float32,
        calibration=squares.images,
        dataset=squares.annotations,
        dataset_images=squares.images,
        labels=squares.labels,
        max_ap_loss=0.03,
        recipes=["int8", "int16x8"],
        **RIGHT,
    )
    compared = qviz.compare(
        float32, result.save(tmp_path / "small.tflite"), images=squares.images, labels=squares.labels, **RIGHT
    )
    assert result.within_budget
    assert (compared.variants[0].summary.agreement or 0.0) > 0.9
    assert compared.variants[0].summary.spurious <= 1


def test_a_join_of_boxes_with_logits_is_the_whole_cause(squares: Squares) -> None:
    """FP32 joins scores, the variant logits: the join runs in float although one of its inputs has no partner."""
    with qviz.open(
        squares.model("reference"), squares.model("logits_with_boxes"), images=squares.images, **RIGHT
    ) as session:
        diagnosis = session.diagnose()
        joins = [op.order for op in session.models[1].inspection.graph.ops if op.kind == "CONCATENATION"]
    cause = diagnosis.causes[0]
    assert (cause.explained or 0) > 0.95 and joins[-1] in cause.operators
