"""Which decoder reads ambiguous outputs, and boxes without sense."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.detector import inspect
from qviz.engine import LocalEngine
from qviz.features.inspection.lint import lint_model
from qviz.features.settings.readings import Reading, best_reading, odd_boxes, rivals
from qviz.session import Session
from qviz.structures import Detections, Settings
from tests.conftest import Sample
from tests.decoders.heads import CELLS, HEIGHT, WIDTH
from tests.decoders.test_yolo_tasks import rows
from tests.tflite.files import code, operator, packed, tensor

SIZE = (200, 100)


def head_file(values: np.ndarray) -> bytes:
    """A .tflite file that answers every batch of images with these values."""
    image, constant = tensor("image", (len(values), HEIGHT, WIDTH, 3)), tensor("rows", values.shape, buffer=1)
    output = tensor("Identity", values.shape)
    return packed(
        [image, constant, output],
        [operator(0, [1], [2])],
        [code(fb.BuiltinOperator.RELU)],
        outputs=(2,),
        constants=[values.astype(np.float32)],
    )


@pytest.fixture
def loaded_models(tmp_path: Path, sample: Sample, engine: LocalEngine):  # type: ignore[no-untyped-def]
    """Load files of these outputs, the first one as the reference, as an analysis of one image does."""

    def load(*outputs: np.ndarray, **settings: object):  # type: ignore[no-untyped-def]
        paths = [tmp_path / f"{number}.tflite" for number in range(len(outputs))]
        for path, values in zip(paths, outputs, strict=True):
            path.write_bytes(head_file(values))
        image = sample.images / "hens.jpg"
        session = Session(*paths, images=image, engine=engine, cache=False, **settings)  # type: ignore[arg-type]
        return session.models_for(session.images_of())

    return load


def strong(corners: bool) -> np.ndarray:
    """(1, 7, 126) with an object in each of 20 cells."""
    values = rows(7, corners)
    values[100:120, 4] = np.linspace(0.5, 0.9, 20)
    return values.T[None]


def test_rows_of_corners_are_recognised_with_a_warning(loaded_models) -> None:  # type: ignore[no-untyped-def]
    (model,) = loaded_models(strong(corners=True))
    assert (model.inspection.decoder, model.inspection.sources["decoder"]) == ("yolov8_corners", "guess")
    (warning,) = [w for w in lint_model(model) if w.code == "assumed_settings"]
    assert "fit yolov8_corners" in warning.message
    assert "--decoder (yolov8, yolov8_pose and yolov8_rotated)" in warning.cure
    assert model.inspection.odd_boxes == ""


def test_each_model_is_read_as_its_own_values_say(loaded_models) -> None:  # type: ignore[no-untyped-def]
    reference, variant = loaded_models(strong(corners=False), strong(corners=True))
    assert [model.inspection.decoder for model in (reference, variant)] == ["yolov8", "yolov8_corners"]


def test_a_chosen_decoder_stays_and_a_warning_names_senseless_boxes(loaded_models) -> None:  # type: ignore[no-untyped-def]
    (model,) = loaded_models(strong(corners=False), decoder="yolov8_corners")
    assert model.inspection.decoder == "yolov8_corners"
    (warning,) = [w for w in lint_model(model) if w.code == "senseless_boxes"]
    assert "strongest boxes have their right side left of the left one" in warning.message
    assert "try another --decoder (yolov8, yolov8_pose and yolov8_rotated)" in warning.cure


def test_a_fixed_batch_gives_the_objects_of_its_first_image(loaded_models, sample: Sample, engine: LocalEngine) -> None:  # type: ignore[no-untyped-def]
    single = strong(corners=False)
    models = loaded_models(single, np.concatenate([single, np.zeros_like(single)]))
    image = sample.images / "hens.jpg"
    first, second = Session(*models, images=image, engine=engine, cache=False).detect().values()
    assert len(first["hens.jpg"]) > 10
    np.testing.assert_array_equal(first["hens.jpg"].boxes, second["hens.jpg"].boxes)


def test_names_decide_before_values() -> None:
    data = head_file(np.zeros((1, CELLS, 9)))
    every = ("yolox", "yolov8", "yolov8_corners", "yolov8_pose", "yolov8_rotated")
    assert rivals(inspect(data, Settings(), Settings())) == every
    five = inspect(data, Settings(labels=tuple("abcde")), Settings())
    assert rivals(five) == ("yolov8", "yolov8_corners")
    assert rivals(inspect(data, Settings(decoder="yolox"), Settings())) == ()


def test_another_reading_must_fit_clearly_better() -> None:
    usual = Reading("yolov8", 0.6, "")
    assert best_reading([usual, Reading("yolov8_corners", 0.7, "")]) == "yolov8"
    assert best_reading([usual, Reading("yolov8_corners", 0.9, "")]) == "yolov8_corners"
    assert best_reading([Reading("yolov8", None, "")]) is None
    assert best_reading([]) is None


def detections(boxes: np.ndarray, scores: np.ndarray | None = None) -> list[tuple[Detections, tuple[int, int]]]:
    values = np.linspace(0.3, 0.9, len(boxes)) if scores is None else scores
    half = len(boxes) // 2
    parts = (slice(0, half), slice(half, None))
    return [(Detections.of(boxes[part], values[part], np.zeros(len(boxes))[part]), SIZE) for part in parts]


def usual_boxes(count: int = 20) -> np.ndarray:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 60, (count, 2))
    return np.concatenate([corners, corners + rng.uniform(5, 40, (count, 2))], axis=1)


def test_usual_boxes_make_sense() -> None:
    assert odd_boxes(detections(usual_boxes())) == ""
    assert odd_boxes(detections(usual_boxes(4)[:, [2, 3, 0, 1]])) == ""  # too few to say


def test_boxes_without_sense() -> None:
    boxes = usual_boxes()
    same = usual_boxes(30)
    same[:, 2:] = same[:, :2] + 8
    cases = [
        (boxes[:, [2, 1, 0, 3]], "100% of its 20 strongest boxes have their right side left of the left one"),
        (boxes / 400, "are smaller than a pixel"),
        (boxes + 500, "lie outside the image"),
        (np.concatenate([boxes[:, :2] - 900, boxes[:, 2:] + 900], axis=1), "more than twice as large as the image"),
        (same, "its 30 strongest boxes have the same size"),
    ]
    for odd, words in cases:
        assert words in odd_boxes(detections(odd)), words
    assert odd_boxes(detections(same), check_sizes=False) == ""
    assert odd_boxes(detections(same[:28])) == ""  # a few equal objects have equal boxes
    assert odd_boxes(detections(boxes, np.full(20, 0.5))) == "its 20 strongest boxes have the same score, 0.50"
