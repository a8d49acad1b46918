"""The detections of a model by another route: LiteRT's own interpreter, with preparation and decoding written here.

The interpreter is a new one, and runs on noise before it runs on the image. A result that depends on memory that no
operator computes, or on the image before, therefore differs from qviz's.
"""

from __future__ import annotations

import io
import warnings
from typing import Any

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from PIL import Image as Pillow

from qviz.detector import Detector
from qviz.engine import Blob
from qviz.structures import Detections, EncodedImage, Settings
from qviz.tflite.inputs import Placement

SEED = 20261201
RESOLVERS = (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
ROWS = {"boxes": ":0", "classes": ":1", "scores": ":2", "count": ":3"}
"""Output of the sample's NMS operator -> how the name of its tensor ends."""

Rows = list[tuple[float, ...]]
"""Score, class, x1, y1, x2, y2 of each detection, the best first."""


def by_other_route(
    model: Blob, settings: Settings, image: EncodedImage, score: float
) -> tuple[Detections, Rows | None]:
    """Detections from the outputs of a new interpreter: decoded by qviz, and decoded by the code below.

    The second is None if the head is of another kind than those of the fuzzed files. Raises QvizError.
    """
    data = model.read()
    pixels = np.asarray(Pillow.open(io.BytesIO(image.data)).convert("RGB"))
    interpreter = _ready(data)
    (detail,) = interpreter.get_input_details()
    values, scale, offset = _prepared(pixels, settings, detail)
    noise = np.random.default_rng(SEED).integers(0, 100, values.shape).astype(values.dtype)
    for filling in (noise, values):
        interpreter.set_tensor(detail["index"], filling)
        interpreter.reset_all_variables()
        interpreter.invoke()
    details = interpreter.get_output_details()
    outputs = [interpreter.get_tensor(one["index"]) for one in details]
    detector, size = Detector(data, settings, candidates=False), (pixels.shape[1], pixels.shape[0])
    detections = detector.decode(outputs, Placement(scale, offset), size, score).detections
    real = [_real(array, one) for array, one in zip(outputs, details, strict=True)]
    tall, wide = values.shape[1:3]
    rows = _rows(settings, details, real, (wide, tall), score)
    if rows is None:
        return detections, None
    moved = (np.asarray(offset * 2, np.float32), np.asarray(scale * 2, np.float32))
    return detections, _best(rows, settings, score, *moved)


def _ready(data: bytes) -> Interpreter:
    for resolver in RESOLVERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                interpreter = Interpreter(model_content=data, num_threads=1, experimental_op_resolver_type=resolver)
            interpreter.allocate_tensors()
            return interpreter
        except (RuntimeError, ValueError):
            if resolver is RESOLVERS[-1]:
                raise
    raise AssertionError("unreachable")


def _prepared(
    pixels: np.ndarray, settings: Settings, detail: dict[str, Any]
) -> tuple[np.ndarray, tuple[float, float], tuple[float, float]]:
    """(input tensor [1, h, w, 3], scale (x, y), offset (x, y)) of an image: input = original * scale + offset."""
    batch, tall, wide, _ = (int(side) for side in detail["shape"])
    height, width = pixels.shape[:2]
    if settings.resize == "stretch":
        canvas, scale, offset = cv2.resize(pixels, (wide, tall)), (wide / width, tall / height), (0.0, 0.0)
    else:
        ratio = min(wide / width, tall / height)
        inner = max(1, round(width * ratio)), max(1, round(height * ratio))
        left, top = (wide - inner[0]) // 2, (tall - inner[1]) // 2
        canvas = np.full((tall, wide, 3), 114, np.uint8)
        canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(pixels, inner)
        scale, offset = (inner[0] / width, inner[1] / height), (float(left), float(top))
    assert settings.mean and settings.std
    std, mean = np.array(settings.std, np.float32), np.array(settings.mean, np.float32)
    values = canvas.astype(np.float32) / std - mean / std
    step, zero = detail["quantization"]
    if detail["dtype"] != np.float32:
        limits = np.iinfo(detail["dtype"])
        whole = np.rint(values / np.float32(step)) + zero if step else np.rint(values)
        values = np.clip(whole, limits.min, limits.max).astype(detail["dtype"])
    return np.repeat(values[None], batch, axis=0), scale, offset


def _real(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    step, zero = detail["quantization"]
    if step and values.dtype != np.float32:
        return (values.astype(np.float32) - np.float32(zero)) * np.float32(step)
    return np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=1e9, neginf=-1e9)


def _rows(
    settings: Settings, details: list[Any], real: list[np.ndarray], size: tuple[int, int], score: float
) -> np.ndarray | None:
    """(n, 6) score, class, x1, y1, x2, y2 in pixels of the input, which has this (width, height); None if unknown."""
    if settings.decoder == "end_to_end" and len(real) == 1 and real[0].shape[-1] == 6:
        flat = real[0].reshape(-1, 6)
        if not _shares(flat[:, 4]) and _shares(flat[:, 1]):
            flat = flat[:, [2, 3, 4, 5, 1, 0]]  # class, score, then the box
        boxes = flat[:, :4][flat[:, 4] >= np.float32(score)]
        unit = np.array(size * 2, np.float32) if boxes.max(initial=0) <= 2 else np.float32(1)
        return np.column_stack([flat[:, 4], flat[:, 5], flat[:, :4] * unit])
    if settings.decoder != "tflite_post_process":
        return None
    parts: dict[str, np.ndarray] = {}
    for detail, values in zip(details, real, strict=True):
        parts |= {name: values.reshape(-1) for name, tail in ROWS.items() if detail["name"].endswith(tail)}
    if set(parts) != set(ROWS):
        return None
    boxes = parts["boxes"].reshape(-1, 4)[:, [1, 0, 3, 2]] * np.array(size * 2, np.float32)
    count = round(float(parts["count"][0]))
    return np.column_stack([parts["scores"], parts["classes"], boxes])[:count]


def _shares(values: np.ndarray) -> bool:
    """Whether all values are in [0, 1]."""
    return bool(((values >= 0) & (values <= 1)).all())


def _best(rows: np.ndarray, settings: Settings, score: float, offset: np.ndarray, scale: np.ndarray) -> Rows:
    """The rows with at least this score, in pixels of the image: the best ones, at most `max_detections`."""
    classes = np.rint(rows[:, 1]) - (settings.class_offset or 0)
    rows = rows[(rows[:, 0] >= np.float32(score)) & (classes >= 0) & (classes < 2**31)]
    rows = rows[np.argsort(-rows[:, 0].clip(0, 1), kind="stable")][: settings.max_detections]
    boxes = (rows[:, 2:] - offset) / scale
    together = np.column_stack([rows[:, 0].clip(0, 1), np.rint(rows[:, 1]) - (settings.class_offset or 0), boxes])
    return [tuple(float(value) for value in row) for row in together[(np.abs(boxes) < 1e9).all(axis=1)]]


def differences(detections: Detections, decoded: Detections, rows: Rows | None) -> str:
    """How qviz's detections differ from the results of `by_other_route`; empty if they do not."""
    for name in ("boxes", "scores", "class_ids"):
        if not np.array_equal(getattr(detections, name), getattr(decoded, name)):
            return f"{name} are not those that qviz decodes from the outputs of a new interpreter"
    if rows is None:
        return ""
    others = np.array(rows).reshape(-1, 6)
    together = np.column_stack([detections.scores, detections.class_ids, detections.boxes])
    same = others.shape == together.shape and np.allclose(others, together, rtol=1e-5, atol=1e-3)
    if same:
        return ""
    pairs = zip(together.tolist(), others.tolist(), strict=False)
    unlike = next((pair for pair in pairs if not np.allclose(*pair)), None)
    return f"{len(together)} detections, {len(others)} by the other route; the first two that differ: {unlike}"
