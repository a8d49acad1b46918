"""Reported mistakes in annotations, from the files to AP, the problem that is named, and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.gate import check_losses
from qviz.session import Session
from tests.squares import Squares, datasets

RIGHT = 0.666


def evaluated(engine: LocalEngine, squares: Squares, dataset: Path, images: Path | None, *models: Path) -> Evaluation:
    options: dict[str, Any] = {"engine": engine, "cache": False, "mean": 0, "std": 255, "labels": squares.labels}
    with Session(*models, dataset=dataset, dataset_images=images, **options) as session:
        return session.evaluate()


SITUATIONS = [
    # change of the annotations, AP, code of the problem, status of the gate
    (datasets.corner_boxes, 0.010, "box_order", 2),
    (datasets.normalised_boxes, 0.0, "box_unit", 2),
    (datasets.category_off_by_one, 0.0, "category_ids_off_by_one", 2),
    (datasets.before_resizing, 0.0, "other_image_sizes", 2),
    (datasets.every_box_twice, 0.336, "repeated_boxes", 0),
    (datasets.image_id_twice, RIGHT, "repeated_image_ids", 0),
    (datasets.file_twice, 0.684, "same_file_twice", 0),
    (datasets.float_image_ids, RIGHT, "", 0),
    (datasets.string_image_ids, RIGHT, "", 0),
    (datasets.mixed_image_ids, None, "mixed_id_types", 2),
    (datasets.string_category_ids, None, "mixed_id_types", 2),
    (datasets.two_categories_one_name, 0.210, "two_categories_one_name", 0),
    (datasets.windows_paths, RIGHT, "", 0),
    (datasets.windows_relative_paths, RIGHT, "", 0),
    (datasets.other_suffix, RIGHT, "", 0),
    (datasets.upper_case, RIGHT, "", 0),
    (datasets.no_suffix, RIGHT, "", 0),
]


@pytest.mark.parametrize(("change", "ap", "code", "status"), SITUATIONS)
def test_a_mistake_in_annotations(
    engine: LocalEngine,
    squares: Squares,
    tmp_path: Path,
    change: datasets.Variant,
    ap: float | None,
    code: str,
    status: int,
) -> None:
    path = datasets.write_annotations(tmp_path / "x.json", change)
    models = squares.model("reference"), squares.model("reference", "int16x8")
    result = evaluated(engine, squares, path, squares.images, *models)
    assert result.models[0].ap == (None if ap is None else pytest.approx(ap, abs=0.002))
    codes = [problem.code for problem in result.problems if not problem.advice]
    assert code in codes or codes == []
    assert bool(codes) == bool(code)
    assert any(code == problem.code for problem in qviz.dataset(path, squares.images).problems) == bool(code)
    gate = check_losses(result, 0.02)
    assert gate.status == status
    assert (gate.passed, bool(gate.inconclusive)) == (status == 0, status == 2)


FOLDERS = [
    ({}, RIGHT, "", 0),
    ({"corners": True}, 0.0, "box_order", 2),
    ({"first_class": 1}, 0.0, "classes_from_one", 2),
    ({"without_label_file": 2}, 0.482, "images_without_labels", 0),
]


@pytest.mark.parametrize(("options", "ap", "code", "status"), FOLDERS)
def test_a_mistake_in_yolo_labels(
    engine: LocalEngine, squares: Squares, tmp_path: Path, options: dict[str, Any], ap: float, code: str, status: int
) -> None:
    models = squares.model("reference"), squares.model("reference", "int16x8")
    result = evaluated(engine, squares, datasets.write_yolo(tmp_path, **options), None, *models)
    assert result.models[0].ap == pytest.approx(ap, abs=0.002)
    assert (code in [problem.code for problem in result.problems]) == bool(code)
    assert check_losses(result, 0.02).status == status


def test_files_of_one_name_in_two_folders(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    path, model = datasets.write_two_cameras(tmp_path), squares.model("reference")
    result = evaluated(engine, squares, path, tmp_path / "images", model, squares.model("input_256"))
    assert result.models[0].ap == pytest.approx(RIGHT, abs=0.002)
    names = {row.name for row in result.details[0].images}
    assert names == {f"{camera}/s0{number}.png" for camera in ("camA", "camB") for number in range(4)}
    with Session(model, engine=engine, cache=False, mean=0, std=255, labels=squares.labels) as session:
        frame = session.detect(tmp_path / "images").to_frame()
    assert set(frame["image"]) == names


def test_the_parent_of_the_images_is_enough(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    pictures = tmp_path / "base" / "pictures"
    pictures.mkdir(parents=True)
    for image in squares.images.iterdir():
        (pictures / image.name).write_bytes(image.read_bytes())
    result = evaluated(engine, squares, squares.annotations, tmp_path / "base", squares.model("reference"))
    assert result.models[0].ap == pytest.approx(RIGHT, abs=0.002)


@pytest.mark.parametrize("bits", [8, 12])
def test_dark_images_of_16_bits_are_named(engine: LocalEngine, squares: Squares, tmp_path: Path, bits: int) -> None:
    folder = datasets.write_dark_16_bit(tmp_path, bits)
    options: dict[str, Any] = {"engine": engine, "cache": False, "mean": 0, "std": 255}
    with Session(squares.model("reference"), images=folder, labels=squares.labels, **options) as session:
        (sentence,) = session.detect().skipped
    assert sentence.startswith("8 images without objects are nearly black; s00.png is nearly black: 16 bits per value")
    result = evaluated(engine, squares, squares.annotations, folder, squares.model("reference"))
    assert "dark_16_bit" in [problem.code for problem in result.problems]
