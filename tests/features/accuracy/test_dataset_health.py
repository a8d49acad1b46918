"""`qviz.dataset`: what is wrong with annotations, on the scenes of squares; healthy ones are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import DatasetError
from qviz.features.accuracy.dataset_health import DatasetHealth, sentences_of
from qviz.structures import DatasetProblem
from tests.conftest import Sample
from tests.datasets.layouts import put, voc_object, voc_xml
from tests.datasets.tfrecords import annotated, frame, png
from tests.squares import datasets, scenes

LABELS = ("red", "green", "blue")
Coco = dict[str, Any]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    scenes.write_images(folder)
    return folder


def health(images: Path, folder: Path, *changes: Callable[[Coco], Coco], labels: Any = LABELS) -> DatasetHealth:
    coco = scenes.coco()
    for change in changes:
        coco = change(coco)
    path = folder / "x.json"
    path.write_text(json.dumps(coco))
    return qviz.dataset(path, images, labels=labels)


def problem_of(result: DatasetHealth, code: str) -> DatasetProblem:
    return next(problem for problem in result.problems if problem.code == code)


def changed(part: str, change: Callable[[int, dict[str, Any]], dict[str, Any]]) -> Callable[[Coco], Coco]:
    """A change of every row of a part."""
    return lambda coco: {**coco, part: [{**row, **change(number, row)} for number, row in enumerate(coco[part])]}


def test_the_sample_and_the_scenes_are_healthy(sample: Sample, images: Path, tmp_path: Path) -> None:
    result = health(images, tmp_path)
    assert (result.images, result.annotations, result.problems, result.serious) == (8, 32, (), False)
    assert [(row.name, row.objects, row.images) for row in result.categories] == [
        ("red", 8, 5),
        ("green", 14, 8),
        ("blue", 10, 7),
    ]
    assert str(result) == "x.json: 8 images, 32 objects in 3 categories; no problem."
    photographs = qviz.dataset(sample.annotations, sample.images, labels=sample.folder / "labels.txt")
    assert all(problem.advice for problem in photographs.problems)
    assert {problem.code: problem.count for problem in photographs.problems} == {
        "images_without_objects": 3,
        "crowds": 4,
        "classes_without_objects": 56,
    }
    assert qviz.dataset(sample.folder / "scenes").problems == ()


def swapped_sides(coco: Coco) -> Coco:
    return changed("images", lambda _, row: {"width": 320, "height": 200})(coco)


COUNTED = [
    (datasets.corner_boxes, "box_order", 19, True),
    (datasets.normalised_boxes, "box_unit", 32, True),
    (datasets.category_off_by_one, "category_ids_off_by_one", 32, True),
    (datasets.before_resizing, "other_image_sizes", 8, True),
    (datasets.every_box_twice, "repeated_boxes", 32, True),
    (datasets.file_twice, "same_file_twice", 2, False),
    (datasets.image_id_twice, "repeated_image_ids", 2, False),
    (datasets.two_categories_one_name, "two_categories_one_name", 2, False),
    (datasets.mixed_image_ids, "mixed_id_types", 32, True),
    (datasets.mixed_image_ids, "no_objects", 8, True),
    (swapped_sides, "other_image_sizes", 8, True),
    (changed("annotations", lambda i, _: {"iscrowd": int(i < 3)}), "crowds", 3, False),
    (changed("annotations", lambda i, _: {"iscrowd": 1}), "no_objects", 8, True),
    (changed("annotations", lambda i, row: {"area": -1 if i < 2 else row["area"]}), "wrong_area", 2, False),
    (changed("annotations", lambda i, row: {"area": 1e6 if i < 4 else row["area"]}), "wrong_area", 4, False),
    (changed("annotations", lambda i, row: {"area": (1e308, "9")[i]} if i < 2 else {}), "area_not_a_number", 2, False),
    (changed("annotations", lambda i, row: {"area": None}), None, 0, False),
    (changed("annotations", lambda i, row: {"bbox": [9, 9, 0, 5]} if i < 2 else {}), "box_without_area", 2, False),
    (changed("annotations", lambda i, row: {"bbox": [9, 9, -5, 5]} if i < 2 else {}), "box_without_area", 2, False),
    (changed("annotations", lambda i, row: {"bbox": [1e4, 9, 5, 5]} if i < 2 else {}), "box_outside_image", 2, False),
    (changed("annotations", lambda i, row: {"bbox": ["9", 9, 5, 5]} if i < 2 else {}), "box_without_numbers", 2, False),
    (changed("annotations", lambda i, row: {"bbox": [9, 9, 400, 5]} if i < 1 else {}), "box_beyond_image", 1, False),
    (changed("annotations", lambda i, row: {"image_id": 1}), "images_without_objects", 7, False),
    (changed("images", lambda i, row: {"file_name": f"gone{i}.png"} if i < 3 else {}), "missing_image", 3, False),
    (changed("annotations", lambda i, row: {"image_id": 99} if i < 5 else {}), "unknown_image_id", 5, False),
    (changed("annotations", lambda i, row: {"category_id": 77} if i < 5 else {}), "unknown_category_id", 5, False),
    (changed("annotations", lambda i, row: {"category_id": 1}), "classes_without_objects", 2, False),
    (changed("categories", lambda i, row: {"name": "scarlet"} if i == 0 else {}), "unknown_categories", 1, False),
    (changed("categories", lambda i, row: {"name": f"class of {i}"}), "no_common_names", 3, True),
    (changed("images", lambda i, row: {"width": None, "height": None}), None, 0, False),
]


@pytest.mark.parametrize(("change", "code", "count", "serious"), COUNTED)
def test_a_problem_has_its_number_examples_and_fix(
    change: Callable[[Coco], Coco], code: str | None, count: int, serious: bool, images: Path, tmp_path: Path
) -> None:
    result = health(images, tmp_path, change)
    if code is None:
        assert result.problems == ()
        return
    problem = problem_of(result, code)
    assert (problem.count, problem.serious) == (count, serious)
    assert problem.fix.endswith((".", ")"))
    assert len(problem.examples) <= 5
    assert problem.examples or code in ("no_objects", "no_common_names")
    assert result.serious == any(row.serious for row in result.problems)
    assert [row.serious for row in result.problems] == sorted((row.serious for row in result.problems), reverse=True)
    assert code in {row["code"] for row in result.to_json()["problems"]}


def test_the_factor_of_resized_images_is_named(images: Path, tmp_path: Path) -> None:
    problem = problem_of(health(images, tmp_path, datasets.before_resizing), "other_image_sizes")
    assert "multiply every box by 0.5" in problem.fix
    assert problem.examples[0] == "s00.png: 640 x 640 in the annotations, 320 x 320 in the file"


def test_boxes_without_declared_sizes_are_judged_by_the_files(images: Path, tmp_path: Path) -> None:
    without_sizes = changed("images", lambda _, row: {"width": None, "height": None})
    assert problem_of(health(images, tmp_path, datasets.corner_boxes, without_sizes), "box_order").count == 19


def test_equal_bytes_under_two_names(images: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    scenes.write_images(pictures)
    (pictures / "s07.png").write_bytes((pictures / "s00.png").read_bytes())
    problem = problem_of(health(pictures, tmp_path), "same_image_twice")
    assert (problem.count, problem.examples) == (1, ("s07.png is s00.png again",))


def test_dark_16_bit_images_are_named(tmp_path: Path) -> None:
    result = health(datasets.write_dark_16_bit(tmp_path / "dark"), tmp_path)
    problem = problem_of(result, "dark_16_bit")
    assert (problem.count, problem.serious) == (8, False)
    assert "no value is above 4095 of 65535" in problem.examples[0]
    bright = tmp_path / "bright"
    bright.mkdir()
    for name, pixels in zip(scenes.NAMES, scenes.images(), strict=True):
        cv2.imwrite(str(bright / name), pixels[..., ::-1].astype(np.uint16) * 257)
    assert health(bright, tmp_path).problems == ()


YOLO = [
    ({"corners": True}, "box_order", 17, True),
    ({"first_class": 1}, "classes_from_one", 32, True),
    ({"without_label_file": 2}, "images_without_labels", 2, False),
]


@pytest.mark.parametrize(("options", "code", "count", "serious"), YOLO)
def test_mistakes_in_yolo_labels(options: dict[str, Any], code: str, count: int, serious: bool, tmp_path: Path) -> None:
    problem = problem_of(qviz.dataset(datasets.write_yolo(tmp_path, **options), labels=LABELS), code)
    assert (problem.count, problem.serious) == (count, serious)
    assert problem.examples


def test_right_yolo_labels_are_healthy(tmp_path: Path) -> None:
    assert qviz.dataset(datasets.write_yolo(tmp_path), labels=LABELS).problems == ()


@pytest.mark.parametrize("factor", [100, 320])
def test_yolo_labels_in_another_unit(factor: float, tmp_path: Path) -> None:
    config = datasets.write_yolo(tmp_path)
    for path in (tmp_path / "labels" / "val").iterdir():
        rows = [line.split() for line in path.read_text().splitlines()]
        path.write_text("\n".join(" ".join([row[0], *(str(factor * float(v)) for v in row[1:])]) for row in rows))
    problem = problem_of(qviz.dataset(config), "box_unit")
    assert ("per cent" if factor == 100 else "pixels") in problem.message


def write_voc(folder: Path, box: Callable[[int, int], tuple[float, float, float, float]]) -> Path:
    """VOC files of the scenes; box: of (left, top) from 1, right and bottom included."""
    scenes.write_images(folder / "JPEGImages")
    for name, squares in zip(scenes.NAMES, scenes.SQUARES, strict=True):
        objects = "".join(voc_object(*box(left, top), LABELS[c]) for c, left, top, _ in squares)
        put(folder, f"Annotations/{Path(name).stem}.xml", voc_xml(objects, name, (scenes.SIZE, scenes.SIZE)))
    return folder


def test_mistakes_in_voc_files(tmp_path: Path) -> None:
    side = scenes.SIDE
    right = write_voc(tmp_path / "right", lambda x, y: (x + 1, y + 1, x + side, y + side))
    assert qviz.dataset(right, labels=LABELS).problems == ()
    sizes = write_voc(tmp_path / "sizes", lambda x, y: (x + 1, y + 1, side, side))
    assert problem_of(qviz.dataset(sizes), "box_order").serious
    shares = write_voc(tmp_path / "shares", lambda x, y: (x / 320, y / 320, (x + side) / 320, (y + side) / 320))
    assert problem_of(qviz.dataset(shares), "box_unit").serious
    (right / "JPEGImages" / "s00.png").unlink()
    missing = problem_of(qviz.dataset(right), "missing_image")
    assert missing.examples == ("s00.png is not in right",)


def test_mistakes_in_tfrecords(tmp_path: Path) -> None:
    path = tmp_path / "x.record"
    path.write_bytes(frame(annotated([(10.0, 5.0, 30.0, 15.0)] * 12)))
    assert problem_of(qviz.dataset(path), "box_unit").serious


def test_labels_of_tfrecords_that_begin_with_0(tmp_path: Path) -> None:
    path = tmp_path / "x.record"
    box = (0.25, 0.25, 0.75, 0.75)
    labels = {"object__class__text": None, "object__class__label": [0, 1, 2]}
    path.write_bytes(frame(annotated([box, box, box], **labels)))
    problem = problem_of(qviz.dataset(path), "labels_from_zero")
    assert (problem.count, problem.serious, problem.examples) == (3, True, ("labels 0 to 2",))


@pytest.mark.parametrize("size", [(40, 20), (20, 40)])
def test_an_image_that_exif_turns_may_have_either_size(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(40, 20, orientation=6))
    row = {"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 9, 9], "area": 81}
    document = {"images": [row], "annotations": [box], "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "x.json").write_text(json.dumps(document))
    assert qviz.dataset(tmp_path / "x.json").problems == ()


def test_sentences_put_advice_together() -> None:
    doubt = DatasetProblem("a", "2 boxes are wrong.", "Correct them.", 2, ("x.jpg", "y.jpg", "z.jpg"))
    facts = [DatasetProblem("b", f"{i} images are empty: so what.", "Nothing.", i, (), advice=True) for i in (2, 3)]
    assert sentences_of([facts[0], doubt, facts[1]]) == (
        "2 boxes are wrong (x.jpg; y.jpg). Correct them.",
        "2 images are empty; 3 images are empty. `qviz dataset` lists them.",
    )


def test_the_result_is_a_table_a_chart_and_a_file(images: Path, tmp_path: Path) -> None:
    result = health(images, tmp_path, datasets.corner_boxes)
    assert list(result.to_frame()["code"]) == ["box_order"]
    assert "box_order" in result._repr_html_()
    objects, shown = result.plot().data
    assert (list(objects.x), list(objects.y), list(shown.y)) == (["green", "blue", "red"], [14, 10, 8], [8, 7, 5])
    document = json.loads(result.save(tmp_path / "health.json").read_text())
    assert (document["annotations"], document["problems"][0]["count"]) == (32, 19)


def test_a_session_checks_its_dataset_against_its_reference(sample: Sample, engine: LocalEngine) -> None:
    options: dict[str, Any] = {"engine": engine, "cache": False}
    with qviz.open(sample.models["int8"], **options) as session:
        with pytest.raises(DatasetError, match="No dataset is given"):
            session.dataset_health()
        result = session.dataset_health(sample.annotations, sample.images)
    assert problem_of(result, "classes_without_objects").count == 56
    with qviz.open(sample.models["int8"], dataset=sample.folder / "scenes", **options) as session:
        assert [problem.count for problem in session.dataset_health().problems] == [52]
