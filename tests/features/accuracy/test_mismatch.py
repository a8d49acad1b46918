"""Why a reference finds nothing of the truth: each mistake is named from the detections alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.errors import DatasetError
from qviz.features.accuracy.ap import AveragePrecision
from qviz.features.accuracy.evaluator import Evaluator
from qviz.features.accuracy.mismatch import finds_nothing, mismatch
from qviz.session import Session
from qviz.structures import Category, Dataset, DatasetImage, Detections
from tests.squares import Squares, datasets

WIDTH, HEIGHT = 400, 300
NAMES = ("cat", "dog", "hen")
COUNT = 12


def scenes() -> tuple[Dataset, dict[int, Detections]]:
    """12 images of 400 x 300 with four objects each; the detections are nearly right."""
    rng = np.random.default_rng(3)
    images, detections = [], {}
    for number in range(1, COUNT + 1):
        first = rng.uniform(0, 0.6, (4, 2)) * [WIDTH, HEIGHT]
        boxes = np.concatenate([first, first + rng.uniform(0.12, 0.3, (4, 2)) * [WIDTH, HEIGHT]], axis=1)
        classes = rng.integers(0, 3, 4)
        image = DatasetImage(number, f"{number}.jpg", b"", boxes, classes + 1, np.zeros(4, bool), np.ones(4))
        images.append(replace(image, size=(WIDTH, HEIGHT)))
        detections[number] = Detections.of(boxes + rng.normal(0, 1, (4, 4)), [0.9] * 4, classes)
    categories = tuple(Category(number, name) for number, name in enumerate(NAMES, start=1))
    return Dataset("d", tuple(images), categories), detections


def sentence(change: Callable[[DatasetImage], DatasetImage], sizes: tuple[int, int] = (WIDTH, HEIGHT)) -> str:
    dataset, detections = scenes()
    dataset = replace(dataset, images=tuple(change(image) for image in dataset.images))
    return mismatch(dataset, detections, lambda class_id: NAMES[class_id], dict.fromkeys(detections, sizes))


def boxes(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[DatasetImage], DatasetImage]:
    return lambda image: replace(image, boxes=change(image.boxes))


def corners_as_sizes(b: np.ndarray) -> np.ndarray:
    return np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1)


def centres_as_corners(b: np.ndarray) -> np.ndarray:
    return np.concatenate([(b[:, :2] + b[:, 2:]) / 2, (b[:, :2] + b[:, 2:]) / 2 + b[:, 2:] - b[:, :2]], axis=1)


def shares(b: np.ndarray) -> np.ndarray:
    return b / [WIDTH, HEIGHT, WIDTH, HEIGHT]


def mirrored(b: np.ndarray) -> np.ndarray:
    return np.stack([WIDTH - b[:, 2], b[:, 1], WIDTH - b[:, 0], b[:, 3]], axis=1)


def upside_down(b: np.ndarray) -> np.ndarray:
    return np.stack([b[:, 0], HEIGHT - b[:, 3], b[:, 2], HEIGHT - b[:, 1]], axis=1)


def turned(b: np.ndarray) -> np.ndarray:
    """Drawn on the image before it was turned clockwise: x' = W - y, y' = x."""
    return np.stack([b[:, 1], WIDTH - b[:, 2], b[:, 3], WIDTH - b[:, 0]], axis=1)


MISTAKES = [
    (boxes(corners_as_sizes), "corners x1, y1, x2, y2 in pixels, not x, y, width, height in pixels"),
    (boxes(centres_as_corners), "centre x, centre y, width, height in pixels, not x, y, width, height in pixels"),
    (boxes(shares), "in normalised shares of the image (0 to 1), not x, y, width, height in pixels"),
    (boxes(mirrored), "mirrored (left and right are swapped)"),
    (boxes(upside_down), "count from the bottom"),
    (boxes(turned), "before the images were turned by 90 degrees"),
    (
        lambda image: replace(image, boxes=2 * image.boxes, size=(2 * WIDTH, 2 * HEIGHT)),
        "scale them to the files' size",
    ),
    (lambda image: replace(image, category_ids=image.category_ids % 3 + 1), "The boxes fit, but the classes differ"),
    (lambda image: replace(image, is_crowd=~image.is_crowd), "No object is annotated (or only crowds)"),
    (boxes(lambda b: b * 0 + [900, 900, 910, 910]), "hardly overlap the 48 objects"),
]


@pytest.mark.parametrize(("change", "words"), MISTAKES)
def test_the_mistake_is_named(change: Callable[[DatasetImage], DatasetImage], words: str) -> None:
    assert words in sentence(change)


@pytest.mark.parametrize(("step", "words"), [(1, "the next image"), (-1, "the image before")])
def test_annotations_of_the_neighbouring_image(step: int, words: str) -> None:
    dataset, detections = scenes()
    rolled = [dataset.images[(i + step) % COUNT] for i in range(COUNT)]
    images = tuple(
        replace(other, id=image.id, name=image.name) for image, other in zip(dataset.images, rolled, strict=True)
    )
    text = mismatch(
        replace(dataset, images=images),
        detections,
        lambda class_id: NAMES[class_id],
        dict.fromkeys(detections, (WIDTH, HEIGHT)),
    )
    assert words in text


def test_a_reference_that_detects_nothing() -> None:
    dataset, detections = scenes()
    weak = {number: Detections.of(one.boxes, [0.01] * 4, one.class_ids) for number, one in detections.items()}
    text = mismatch(dataset, weak, str, dict.fromkeys(weak, (WIDTH, HEIGHT)))
    assert text.startswith("It detects nothing: its highest confidence is 0.01. Check how images are prepared")


@pytest.mark.parametrize(
    ("ap", "words", "serious"), [(None, "AP is unknown", True), (0.0, "AP 0.0", True), (0.03, "AP 3.0", False)]
)
def test_it_is_serious_below_two_points(ap: float | None, words: str, serious: bool) -> None:
    figures = AveragePrecision("ref.tflite", ap, ap, ap, None, None, None, ap, ())
    problem = finds_nothing(figures, "The reason.", 7)
    assert (problem.code, problem.count, problem.serious) == ("reference_finds_nothing", 7, serious)
    assert words in problem.message
    assert problem.message.endswith("The reason.")


def test_an_evaluator_refuses_a_truth_of_which_the_reference_finds_nothing(
    engine: LocalEngine, squares: Squares, tmp_path: Path
) -> None:
    path = datasets.write_annotations(tmp_path / "x.json", datasets.normalised_boxes)
    settings: dict[str, Any] = {"mean": 0, "std": 255, "labels": squares.labels}
    with Session(squares.model("reference"), engine=engine, cache=False, **settings) as session:
        models = session.models
        wrong = Evaluator(session.context, models, read_coco(path, squares.images))
        right = Evaluator(session.context, models, read_coco(squares.annotations, squares.images))
        measured = [session.context.wait(one.measure(session.context, models[0])).ap for one in (wrong, right)]
    assert measured == [0.0, pytest.approx(0.666, abs=0.01)]
    right.check_truth(measured[1])
    with pytest.raises(DatasetError, match=r"none of the annotated objects\. Boxes seem .* in normalised shares"):
        wrong.check_truth(measured[0])
