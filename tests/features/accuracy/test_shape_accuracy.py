"""AP of keypoints and masks equals that of pycocotools on the same detections written as COCO results."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from qviz.datasets.coco import parse_coco
from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import figures_of
from qviz.features.accuracy.gate import Measure, check_shapes
from qviz.features.accuracy.shapes import Kind, ShapeAccuracy, tables_of
from qviz.features.accuracy.shapes.match_images import ShapeImage, ShapeTask, match_job, runs
from qviz.features.accuracy.text import markdown, shape_caption, shape_sentences
from qviz.formatting import points
from qviz.result import decode, encode
from qviz.session import Session
from qviz.structures import Dataset, Detections
from qviz.structures.detections import MASK_SIDE
from tests.squares import Squares
from tests.squares.datasets import write_annotations

WIDTH, HEIGHT, IMAGES, POINTS = 320, 240, 12, 17


def outline(x: float, y: float, w: float, h: float) -> list[list[float]]:
    """A hexagon in a box, as COCO lists it."""
    shares = [(0.2, 0), (0.8, 0), (1, 0.5), (0.8, 1), (0.2, 1), (0, 0.5)]
    return [[value for a, b in shares for value in (x + a * w, y + b * h)]]


def annotations(rng: np.random.Generator, points: int) -> dict[str, Any]:
    """Two classes; crowds as run lengths, objects without labelled keypoints, and one in four images is empty."""
    rows: list[dict[str, Any]] = []
    for image in range(1, IMAGES + 1):
        for _ in range(0 if image % 4 == 0 else int(rng.integers(1, 6))):
            x, y = (float(value) for value in rng.uniform(0, 150, 2))
            w, h = (float(value) for value in rng.choice([20, 70, 160]) * rng.uniform(0.7, 1.2, 2))
            keypoints = np.column_stack([rng.uniform(x, x + w, points), rng.uniform(y, y + h, points)])
            visible = rng.integers(0, 3, (points, 1)) * (rng.random() > 0.2)
            crowd = bool(rng.random() < 0.15)
            polygons = outline(x, y, w, h)
            runs_of_crowd = coco_masks.frPyObjects(polygons, HEIGHT, WIDTH)[0]
            runs_of_crowd["counts"] = runs_of_crowd["counts"].decode()
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": image,
                    "category_id": int(rng.integers(1, 3)),
                    "bbox": [x, y, w, h],
                    "area": 0.6 * w * h,
                    "iscrowd": int(crowd),
                    "keypoints": np.hstack([keypoints, visible]).ravel().tolist(),
                    "num_keypoints": int((visible > 0).sum()),
                    "segmentation": runs_of_crowd if crowd else polygons,
                }
            )
    images = [
        {"id": number, "file_name": f"{number}.png", "width": WIDTH, "height": HEIGHT}
        for number in range(1, IMAGES + 1)
    ]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": rows, "categories": categories}


def detected(rng: np.random.Generator, document: dict[str, Any], points: int) -> dict[int, Detections]:
    """Image id -> objects near the annotated ones, and 30 others, with many equal scores."""
    detections = {}
    for image in range(1, IMAGES + 1):
        rows = [row for row in document["annotations"] if row["image_id"] == image]
        boxes, keypoints, classes = [], [], []
        for row in rows + [None] * 30:
            start = rng.uniform(0, 150, 2) if row is None else np.array(row["bbox"][:2]) + rng.normal(0, 2, 2)
            sides = rng.uniform(10, 90, 2) if row is None else np.array(row["bbox"][2:]) + rng.normal(0, 2, 2)
            boxes.append([*start, *(start + np.maximum(sides, 3))])
            truth = rng.uniform(0, 200, (points, 3)) if row is None else np.array(row["keypoints"]).reshape(-1, 3)
            keypoints.append(truth + rng.normal(0, 3, (points, 3)))
            classes.append(int(rng.integers(2)) if row is None else row["category_id"] - 1)
        cells = rng.random((len(boxes), MASK_SIDE, MASK_SIDE)) < rng.choice([0.5, 0.95, 1.0], (len(boxes), 1, 1))
        detections[image] = Detections.of(
            boxes,
            np.round(rng.random(len(boxes)) + (np.arange(len(boxes)) < len(rows)), 1) / 2,
            classes,
            keypoints=np.array(keypoints, np.float32),
            masks=np.packbits(cells, axis=2),
        )
    return detections


def plain_mask(box: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(HEIGHT, WIDTH) the mask drawn pixel by pixel."""
    cells, picture = np.unpackbits(mask, axis=1), np.zeros((HEIGHT, WIDTH), np.uint8)
    for y in range(HEIGHT):
        for x in range(WIDTH):
            column = int(np.floor((x + 0.5 - box[0]) / (box[2] - box[0]) * MASK_SIDE))
            row = int(np.floor((y + 0.5 - box[1]) / (box[3] - box[1]) * MASK_SIDE))
            if 0 <= column < MASK_SIDE and 0 <= row < MASK_SIDE:
                picture[y, x] = cells[row, column]
    return picture


def results_json(detections: dict[int, Detections], kind: Kind) -> list[dict[str, Any]]:
    """COCO results as the COCO server takes them: keypoints or segmentation, without boxes."""
    rows = []
    for image, objects in detections.items():
        for index in range(len(objects)):
            row = {"image_id": image, "category_id": int(objects.class_ids[index]) + 1}
            row["score"] = float(objects.scores[index])
            if kind == "keypoints":
                assert objects.keypoints is not None
                row["keypoints"] = objects.keypoints[index].astype(float).ravel().tolist()
            else:
                assert objects.masks is not None
                row["segmentation"] = runs(objects.boxes[index], objects.masks[index], (WIDTH, HEIGHT))
                row["segmentation"]["counts"] = row["segmentation"]["counts"].decode()
            rows.append(row)
    return rows


def by_pycocotools(document: dict[str, Any], results: list[dict[str, Any]], kind: Kind, points: int) -> np.ndarray:
    truth = COCO()
    truth.dataset = json.loads(json.dumps(document))
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), {"masks": "segm"}.get(kind, kind))
    if kind == "keypoints" and points != 17:
        evaluation.params.kpt_oks_sigmas = np.full(points, 1 / points)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return np.array(evaluation.stats)


def read(document: dict[str, Any]) -> Dataset:
    return parse_coco(json.dumps(document).encode(), "a.json", {row["file_name"]: b"" for row in document["images"]})


@pytest.mark.parametrize(("kind", "points"), [("keypoints", 17), ("keypoints", 5), ("masks", 0)])
def test_figures_are_those_of_pycocotools(kind: Kind, points: int, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(7)
    document = annotations(rng, points or POINTS)
    detections = detected(rng, document, points or POINTS)
    dataset = read(document)
    task = ShapeTask(kind, (1, 2), {0: 1, 1: 2}, points)
    groups = match_job(task, [ShapeImage(image, detections[image.id]) for image in dataset.images])
    model, _ = figures_of("a", dataset.categories, tables_of(groups, task, [image.id for image in dataset.images]))
    stats = by_pycocotools(document, results_json(detections, kind), kind, points)
    figures = [model.ap, model.ap50, model.ap75, model.ap_small, model.ap_medium, model.ap_large]
    figures += [model.ar_1, model.ar_10, model.ar, model.ar_small, model.ar_medium, model.ar_large]
    if kind == "keypoints":  # pycocotools has neither a size `small` nor another number of detections
        assert model.ap_small is None
        figures = [*figures[:3], *figures[4:6], figures[8]]
        stats = stats[:6]
    assert all(value is not None and 0.05 < value <= 1 for value in figures)
    np.testing.assert_allclose(np.array(figures, float), stats, atol=1e-12)


@pytest.mark.parametrize("box", [[20.3, 30.7, 90.2, 77.1], [-40, -9, 400, 300], [0, 0, 320, 240], [5, 5, 6.4, 5.2]])
def test_run_lengths_are_those_of_the_mask_drawn_pixel_by_pixel(box: list[float]) -> None:
    cells = np.random.default_rng(1).random((MASK_SIDE, MASK_SIDE)) < 0.6
    cells[:, :30] = True  # runs that continue in the next column
    mask = np.packbits(cells, axis=1)
    picture = plain_mask(np.array(box), mask)
    drawn = coco_masks.encode(np.asfortranarray(picture))
    counts = runs(np.array(box), mask, (WIDTH, HEIGHT))
    assert counts["counts"] == drawn["counts"]
    assert coco_masks.area(counts) == picture.sum()


def test_outside_of_the_image_a_mask_is_empty() -> None:
    mask = np.full((MASK_SIDE, MASK_SIDE // 8), 255, np.uint8)
    assert coco_masks.area(runs(np.array([400, 300, 500, 400]), mask, (WIDTH, HEIGHT))) == 0


def with_shapes(document: dict[str, Any]) -> dict[str, Any]:
    """The annotations of the squares with their two keypoints and their outlines; one square has neither."""
    for row in document["annotations"][1:]:
        x, y, w, h = row["bbox"]
        points = [x + w / 4, y + h / 4, 2, x + 3 * w / 4, y + 3 * h / 4, 1]
        row |= {"keypoints": points, "num_keypoints": 2, "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]]}
    return document


def evaluated(engine: LocalEngine, squares: Squares, name: str, dataset: Path) -> tuple[Evaluation, dict[str, Any]]:
    models = [squares.model(name, precision) for precision in ("float32", "int8")]
    options: dict[str, Any] = {"mean": 0, "std": 255, "resize": "stretch", "cache": False, "engine": engine}
    with Session(*models, dataset=dataset, dataset_images=squares.images, **options) as session:
        result = session.evaluate()
    return result, json.loads(json.dumps(result.to_json(), allow_nan=False))


@pytest.mark.parametrize(("name", "kind"), [("pose", "keypoints"), ("masks", "masks")])
def test_toy_networks(engine: LocalEngine, squares: Squares, tmp_path: Path, name: str, kind: Kind) -> None:
    dataset = write_annotations(tmp_path / "a.json", with_shapes)
    result, document = evaluated(engine, squares, name, dataset)
    (shapes,) = result.shapes
    assert (shapes.kind, shapes.objects, shapes.remark) == (kind, result.annotations - 1, "")
    reference, int8 = shapes.models
    assert reference is not None and int8 is not None
    assert reference.ap50 == pytest.approx(1, abs=0.02)  # shapes fit where boxes do
    first, second = document["models"]
    loss = document["losses"][0][kind]
    assert loss["value"] == pytest.approx(first[kind]["ap"] - second[kind]["ap"])
    assert loss["low"] <= loss["value"] <= loss["high"]
    assert document["shapes"][0]["sigmas"] == ([0.5, 0.5] if kind == "keypoints" else None)
    assert first["ap"] == pytest.approx(result.models[0].ap)  # AP of boxes stays
    measure: Measure = "keypoint_ap" if kind == "keypoints" else "mask_ap"
    assert check_shapes(result, measure, loss["value"]).status == 0
    assert check_shapes(result, measure, loss["value"] - 1e-6).failed == (result.losses[0].variant,)
    saved = decode(Evaluation, json.loads(json.dumps(encode(result))), "evaluation")
    assert saved.shapes == result.shapes


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("pose", "The annotations have no keypoints, so AP of keypoints is not measured."),
        ("masks", "The annotations have no masks, so AP of masks is not measured."),
    ],
)
def test_annotations_without_shapes(engine: LocalEngine, squares: Squares, name: str, remark: str) -> None:
    result, document = evaluated(engine, squares, name, squares.annotations)
    assert [row.remark for row in result.shapes] == [remark]
    assert "keypoints" not in document["models"][0] and "masks" not in document["losses"][0]


def test_another_number_of_keypoints_is_not_compared(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    def three_points(document: dict[str, Any]) -> dict[str, Any]:
        for row in document["annotations"]:
            row["keypoints"] = [1, 1, 2, 2, 2, 2, 3, 3, 2]
        return document

    result, _ = evaluated(engine, squares, "pose", write_annotations(tmp_path / "a.json", three_points))
    expected = "The annotations have 3 keypoints per object and the model has 2, so AP of keypoints is not measured."
    assert [row.remark for row in result.shapes] == [expected]


def test_tables_and_sentences(engine: LocalEngine, squares: Squares, tmp_path: Path) -> None:
    """Markdown and terminal show both kinds beside AP of boxes; the verdict has the loss."""
    result, _ = evaluated(engine, squares, "pose", write_annotations(tmp_path / "a.json", with_shapes))
    (shapes,) = result.shapes
    caption = "AP of keypoints, matched by the similarity of keypoints (OKS, deviations of 1 / 2); 31 objects"
    assert shape_caption(shapes) == caption
    names = ["pose_float32.tflite", "pose_int8.tflite"]
    (sentence,) = shape_sentences(result, names)
    assert sentence.startswith("Keypoints: pose_float32.tflite reaches ") and sentence in str(result)
    lines = markdown(result).splitlines()
    header = "| model | AP | AP50 | AP75 | medium | large | AR | loss | 95% interval | significant |"
    assert lines[lines.index(f"{caption}.") + 2] == header
    one = replace(shapes, models=shapes.models[:1], losses=())
    single = markdown(replace(result, models=result.models[:1], losses=(), details=(), shapes=(one,)))
    assert "| model | AP | AP50 | AP75 | medium | large | AR |" in single.splitlines()
    alone = replace(result, shapes=(replace(shapes, losses=(None,)),))
    assert shape_sentences(alone, names) == [f"Keypoints: pose_float32.tflite reaches {points(ap_of(shapes))} AP."]
    assert shape_sentences(replace(result, shapes=(ShapeAccuracy("masks", 0, (), (), 0, "None."),)), names) == []


def ap_of(shapes: ShapeAccuracy) -> float | None:
    return None if shapes.models[0] is None else shapes.models[0].ap
