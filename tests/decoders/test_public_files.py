"""Public files of several exporters against a decoding written here, from their papers and exporters' code.

The files are not part of the project: the tests are skipped where they are not at hand. AP is that of pycocotools.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qviz.engine import LocalEngine
from qviz.session import Session
from tests.conftest import ROOT

SHARED = ROOT.parent / "shared"
MODELS, COCO = SHARED / "models", SHARED / "coco"
PERSON = 1
SCORE = 0.01

pytestmark = [pytest.mark.skipif(not MODELS.is_dir(), reason="public models are not at hand"), pytest.mark.slow]

Decode = Callable[[list[np.ndarray], int, int], np.ndarray]
"""Outputs by falling size, width and height of the photograph -> rows x1, y1, x2, y2, score in its pixels."""


class Plain:
    """A .tflite file run directly."""

    def __init__(self, name: str) -> None:
        self.interpreter = Interpreter(model_path=str(MODELS / name))
        self.input = self.interpreter.get_input_details()[0]
        self.height, self.width = self.input["shape"][1:3]
        self.interpreter.allocate_tensors()

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """Real outputs for real input values (h, w, c)."""
        scale, zero = self.input["quantization"]
        if scale:
            kind = np.iinfo(self.input["dtype"])
            values = np.clip(np.rint(values / scale) + zero, kind.min, kind.max)
        self.interpreter.set_tensor(self.input["index"], values[None].astype(self.input["dtype"]))
        self.interpreter.invoke()
        return [self._real(detail) for detail in self.interpreter.get_output_details()]

    def _real(self, detail: dict[str, Any]) -> np.ndarray:
        scale, zero = detail["quantization"]
        values = self.interpreter.get_tensor(detail["index"]).astype(np.float32)
        return np.asarray((values - zero) * scale if scale else values)


def overlap(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:4], others[:, 2:4])
    inner = np.prod(np.clip(high - low, 0, None), axis=1)
    areas = np.prod(others[:, 2:4] - others[:, :2], axis=1)
    return np.asarray(inner / (np.prod(box[2:4] - box[:2]) + areas - inner))


def suppressed(rows: np.ndarray, iou: float) -> np.ndarray:
    """Greedy NMS of one class, at most 100 rows."""
    rows = rows[np.argsort(-rows[:, 4], kind="stable")]
    chosen: list[np.ndarray] = []
    while len(rows) and len(chosen) < 100:
        best, rows = rows[0], rows[1:]
        chosen.append(best)
        rows = rows[overlap(best, rows) <= iou]
    return np.array(chosen).reshape(-1, 5)


def photograph(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path))[..., ::-1])


def stretched(pixels: np.ndarray, model: Plain) -> np.ndarray:
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels), (int(model.width), int(model.height)))).astype(
        np.float32
    )


def corners_of_yolov10(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """Letterboxed, divided by 255; rows x1, y1, x2, y2 in [0, 1], person, vehicle, animal."""
    canvas, ratio, bars = letterboxed(pixels, model)
    (rows,) = model.run(canvas / 255)
    boxes = (rows[0, :4].T * model.width - bars) / ratio
    return suppressed(_strong(boxes, rows[0, 4]), 0.7)


def letterboxed(pixels: np.ndarray, model: Plain, centred: bool = True) -> tuple[np.ndarray, float, np.ndarray]:
    """(the input (h, w, 3), its scale, the bars at the left and above as (left, above, left, above))."""
    tall, wide = pixels.shape[:2]
    ratio = min(model.width / wide, model.height / tall)
    inner = round(wide * ratio), round(tall * ratio)
    left = (int(model.width) - inner[0]) // 2 if centred else 0
    above = (int(model.height) - inner[1]) // 2 if centred else 0
    canvas = np.full((model.height, model.width, 3), 114, np.float32)
    canvas[above : above + inner[1], left : left + inner[0]] = cv2.resize(np.ascontiguousarray(pixels), inner)
    return canvas, ratio, np.array([left, above, left, above])


def centres_of_yolov8(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """Letterboxed, divided by 255; rows x, y, w, h in [0, 1] and 80 classes."""
    canvas, ratio, bars = letterboxed(pixels, model)
    (rows,) = model.run(canvas / 255)
    x, y, w, h = rows[0, :4] * model.width
    boxes = (np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1) - bars) / ratio
    return suppressed(_strong(boxes, rows[0, 4]), 0.7)


def finished_rows(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """YOLO26: letterboxed, divided by 255; rows x1, y1, x2, y2 in [0, 1], score, class, without NMS."""
    canvas, ratio, bars = letterboxed(pixels, model)
    (rows,) = model.run(canvas / 255)
    people = rows[0][np.rint(rows[0, :, 5]) == 0]
    strong = _strong((people[:, :4] * model.width - bars) / ratio, people[:, 4])
    return np.asarray(strong[np.argsort(-strong[:, 4], kind="stable")][:100])


def offsets_of_yolox(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """Blue first, letterboxed at the top left, 0 to 255; offsets from cells of strides 8, 16, 32, and an objectness."""
    canvas, ratio, _ = letterboxed(pixels[..., ::-1], model, centred=False)
    (rows,) = model.run(canvas)
    cells = np.concatenate([_cells(int(model.width), stride) for stride in (8, 16, 32)])
    x, y = (rows[0, :, :2] + cells[:, :2]).T * cells[:, 2]
    w, h = np.exp(rows[0, :, 2:4]).T * cells[:, 2]
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1) / ratio
    return suppressed(_strong(boxes, rows[0, :, 4] * rows[0, :, 5]), 0.65)


def distances_of_nanodet(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """Blue first, stretched, ImageNet's mean; four distances of 8 bins from the middle of each cell to the sides."""
    mean, std = np.array([103.53, 116.28, 123.675]), np.array([57.375, 57.12, 58.395])
    outputs = model.run((stretched(pixels[..., ::-1], model) - mean) / std)
    tall, wide = pixels.shape[:2]
    rows = []
    for stride in (8, 16, 32):
        count = (int(model.width) // stride) ** 2
        level = [values.reshape(count, -1) for values in outputs if values.size in (80 * count, 32 * count)]
        scores, bins = sorted(level, key=lambda values: -values.shape[1])
        weights = np.exp(bins.reshape(count, 4, 8))
        sides = (weights / weights.sum(axis=2, keepdims=True) * np.arange(8)).sum(axis=2) * stride
        middle = (_cells(int(model.width), stride)[:, :2] + 0.5) * stride
        boxes = np.concatenate([middle - sides[:, :2], middle + sides[:, 2:]], axis=1)
        scale = [wide / model.width, tall / model.height] * 2
        rows.append(_strong(boxes * scale, scores[:, 0]))
    return suppressed(np.concatenate(rows), 0.6)


def _cells(side: int, stride: int) -> np.ndarray:
    """(n, 3) column, row and stride of each cell."""
    row, column = np.mgrid[: side // stride, : side // stride]
    return np.stack([column.reshape(-1), row.reshape(-1), np.full(row.size, stride)], axis=1)


def ten_best(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """The well-known detect.tflite: stretched, uint8; top, left, bottom, right in [0, 1], class, score, count."""
    boxes, classes, scores, count = model.run((stretched(pixels, model) - 128) / 128)
    tall, wide = pixels.shape[:2]
    people = np.flatnonzero(classes[0, : int(count[0])] == 0)
    return _strong(boxes[0, people][:, [1, 0, 3, 2]] * [wide, tall, wide, tall], scores[0, people])


def corner_offsets(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """STM32: stretched, the pixels as they are; corners of anchors moved by shares of their sizes."""
    scale, zero = model.input["quantization"]
    outputs = model.run((stretched(pixels, model) - zero) * scale)
    scores = next(values[0] for values in outputs if values.shape[-1] == 2)
    encodings, anchors = (values[0] for values in outputs if values.shape[-1] == 4)
    sides = np.tile(anchors[:, 2:] - anchors[:, :2], 2)
    tall, wide = pixels.shape[:2]
    return suppressed(_strong((anchors + encodings * sides) * [wide, tall, wide, tall], scores[:, 1]), 0.5)


def _strong(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    rows = np.concatenate([boxes, scores[:, None]], axis=1)
    return np.asarray(rows[scores >= SCORE])


def ap_of_persons(boxes: dict[int, np.ndarray]) -> float:
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(COCO / "instances_val2017.json"))
        results = [
            {"image_id": number, "category_id": PERSON, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for number, rows in boxes.items()
            for x1, y1, x2, y2, score in rows.tolist()
        ]
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.params.catIds, evaluation.params.imgIds = [PERSON], list(boxes)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0])


def photographs(count: int) -> dict[int, Path]:
    """COCO's validation images by id."""
    import json

    images = json.loads((COCO / "instances_val2017.json").read_text())["images"][:count]
    return {image["id"]: COCO / "images" / image["file_name"] for image in images}


YOLOX, NANODET = ("yolox", offsets_of_yolox), ("nanodet", distances_of_nanodet)
FILES = {
    "yolov10n_320_xyxy_full_int.tflite": ("yolov8_corners", corners_of_yolov10, 16, 0.25),
    "ssd_mobilenet_v1_025_192_anchors_int8.tflite": ("ssd_anchors", corner_offsets, 24, 0.08),
    "ssd_mobilenet_v1_coco_quant.tflite": ("tflite_post_process", ten_best, 20, 0.2),
    "yolov8n_dynamic_range.tflite": ("yolov8", centres_of_yolov8, 10, 0.4),
    "yolov8n_full_integer.tflite": ("yolov8", centres_of_yolov8, 10, 0.3),
    "yolo26n_dynamic_range.tflite": ("end_to_end", finished_rows, 10, 0.4),
    "yolo26n_integer.tflite": ("end_to_end", finished_rows, 10, 0.0),
    "yolox_nano_float32.tflite": (*YOLOX, 6, 0.3),
    "yolox_nano_float16.tflite": (*YOLOX, 6, 0.3),
    "yolox_nano_dynamic_range_quant.tflite": (*YOLOX, 6, 0.3),
    "yolox_nano_integer_quant.tflite": (*YOLOX, 6, 0.0),  # broken by its quantization
    "yolox_nano_full_integer_quant.tflite": (*YOLOX, 6, 0.0),
    "yolox_nano_integer_quant_with_int16_act.tflite": (*YOLOX, 1, 0.0),  # 16-bit kernels take seconds per image
    "nanodet_m_320_float32.tflite": (*NANODET, 6, 0.2),
    "nanodet_m_320_float16.tflite": (*NANODET, 6, 0.2),
    "nanodet_m_320_int8_floatio.tflite": (*NANODET, 6, 0.2),
    "nanodet_m_320_int8_full.tflite": (*NANODET, 6, 0.2),
}
"""File -> its decoder, the decoding written here, the number of images, and the least AP of persons."""


def test_every_file_is_decoded_here() -> None:
    by_other_tests = {"ultraface_rfb_320.tflite", "yolo_fastest.tflite"}
    assert {path.name for path in MODELS.glob("*.tflite")} == set(FILES) | by_other_tests


@pytest.mark.parametrize("name", FILES)
def test_ap_is_that_of_an_independent_decoding(name: str, engine: LocalEngine) -> None:
    decoder, decode, images, at_least = FILES[name]
    paths, plain = photographs(images), Plain(name)
    expected = ap_of_persons({number: decode(plain, photograph(path)) for number, path in paths.items()})
    session = Session(MODELS / name, images=list(paths.values()), engine=engine, cache=False)
    assert session.models_for(session.images_of())[0].inspection.decoder == decoder
    (detected,) = session.detect(score=SCORE).values()
    rows = {
        number: np.concatenate([objects.boxes, objects.scores[:, None]], axis=1)[objects.class_ids == 0]
        for number, path in paths.items()
        for objects in [detected[path.name]]
    }
    assert ap_of_persons(rows) == pytest.approx(expected, abs=0.005)
    assert expected >= at_least


def faces(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """UltraFace: (x - 127) / 128, stretched; anchors by stride 8, 16, 32, 64, x before y."""
    encodings, scores = sorted(model.run((stretched(pixels, model) - 127) / 128), key=lambda values: -values.shape[-1])
    anchors = [
        ((column + 0.5) * stride / 320, (row + 0.5) * stride / 240, side / 320, side / 240)
        for stride, sides in ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))
        for row in range(-(-240 // stride))
        for column in range(-(-320 // stride))
        for side in sides
    ]
    x, y, w, h = np.clip(np.array(anchors), 0, 1).T
    tx, ty, tw, th = encodings[0].T
    cx, cy, width, height = tx * 0.1 * w + x, ty * 0.1 * h + y, np.exp(tw * 0.2) * w, np.exp(th * 0.2) * h
    boxes = np.stack([cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2], axis=1)
    tall, wide = pixels.shape[:2]
    return suppressed(_strong(boxes * [wide, tall, wide, tall], scores[0, :, 1]), 0.3)


def grid_of_yolov2(model: Plain, pixels: np.ndarray) -> np.ndarray:
    """Grey, divided by 255; five anchors per cell of stride 32, the most probable of three classes."""
    grey = stretched(pixels, model).mean(axis=-1, keepdims=True)
    (grid,) = model.run(grey / 255)
    anchors = np.array([[20.0, 20.0], [40, 40], [60, 60], [80, 80], [120, 120]])
    tall, wide = pixels.shape[:2]
    rows = []
    for row in range(5):
        for column in range(5):
            for (width, height), values in zip(anchors, grid[0, row, column].reshape(5, 8), strict=True):
                tx, ty, tw, th, objectness = values[:5]
                weights = np.exp(values[5:] - values[5:].max())
                centre = (1 / (1 + np.exp(-tx)) + column) * 32, (1 / (1 + np.exp(-ty)) + row) * 32
                half = np.exp(tw) * width / 2, np.exp(th) * height / 2
                box = [centre[0] - half[0], centre[1] - half[1], centre[0] + half[0], centre[1] + half[1]]
                score = (weights / weights.sum()).max() / (1 + np.exp(-objectness))
                rows.append([*(np.array(box) * [wide, tall, wide, tall] / 160), score])
    return np.array(rows)


def test_faces_are_those_of_an_independent_decoding(engine: LocalEngine) -> None:
    name = "ultraface_rfb_320.tflite"
    paths, plain = list(photographs(6).values()), Plain(name)
    session = Session(
        MODELS / name, images=paths, engine=engine, cache=False, mean=127, std=128, channels="rgb", resize="stretch"
    )
    (detected,) = session.detect(score=0.3).values()
    count = 0
    for path in paths:
        expected = faces(plain, photograph(path))
        expected = expected[expected[:, 4] >= 0.3]
        np.testing.assert_allclose(detected[path.name].boxes, expected[:, :4], atol=0.5)
        count += len(expected)
    assert count > 0
    assert session.models[0].inspection.labels == ("face",)


def test_a_grid_with_given_anchors_is_that_of_an_independent_decoding(tmp_path: Path, engine: LocalEngine) -> None:
    model = tmp_path / "yolo_fastest.tflite"
    model.write_bytes((MODELS / model.name).read_bytes())
    settings = '{"anchors": [20, 20, 40, 40, 60, 60, 80, 80, 120, 120], "resize": "stretch", "std": 255, "mean": 0}'
    (tmp_path / "yolo_fastest.tflite.qviz.json").write_text(settings)
    paths, plain = list(photographs(4).values()), Plain(model.name)
    (detected,) = Session(model, images=paths, engine=engine, cache=False).detect(score=1e-4).values()
    for path in paths:
        best = max(grid_of_yolov2(plain, photograph(path)), key=lambda row: row[4])
        objects = detected[path.name]
        np.testing.assert_allclose(objects.scores[:1], best[4:], rtol=0.02)
        np.testing.assert_allclose(objects.boxes[0], best[:4], atol=1.0)
