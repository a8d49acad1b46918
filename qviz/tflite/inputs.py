"""Prepare an image as a model's input tensor, and convert its boxes back to pixels of the image.

resize     stretch            to the model's width and height, aspect ratio not preserved (bilinear)
           letterbox          aspect ratio preserved, image centred between bars of grey 114
           letterbox-top-left aspect ratio preserved, image at the top left, a bar of grey 114 at the right or below
normalise  (x - mean) / std on pixel values 0..255, in the model's channel order
quantize   by rounding to nearest with the input's own scale and zero point (truncation costs accuracy)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from qviz.errors import ModelError
from qviz.structures import Detections, Image, Settings, Tensor

PAD = 114
"""Grey of the letterbox's bars, as YOLO's preprocessing fills them."""

MAX_SIDE = 8192
"""Maximum pixels per side of a model's input."""
MAX_BATCH = 64
"""Maximum number of images in a fixed batch."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """How pixels become the input tensor: the fields of `Settings` that describe it, all of them set."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str
    resize: str


@dataclass(frozen=True, slots=True)
class Placement:
    """Position of the image in the model's input: input = original * scale + offset, separately for x and y."""

    scale: tuple[float, float]
    offset: tuple[float, float]

    def to_original(self, boxes: np.ndarray) -> np.ndarray:
        """(n, 4) boxes in pixels of the original image, from boxes in pixels of the input."""
        offset = np.array(self.offset * 2, np.float32)
        return (boxes - offset) / np.array(self.scale * 2, np.float32)

    def detections_to_original(self, detections: Detections) -> Detections:
        """The detections in pixels of the original image, from detections in pixels of the input."""
        offset, scale = np.array(self.offset, np.float32), np.array(self.scale, np.float32)
        points, corners = detections.keypoints, detections.corners
        if points is not None:
            points = np.concatenate([(points[..., :2] - offset) / scale, points[..., 2:]], axis=2)
        if corners is not None:
            corners = (corners - offset) / scale
        return replace(detections, boxes=self.to_original(detections.boxes), keypoints=points, corners=corners)


def channels_last(tensor: Tensor) -> bool:
    """Whether the tensor's layout is NHWC rather than NCHW."""
    return tensor.shape[-1] in (1, 3)


def input_size(tensor: Tensor) -> tuple[int, int]:
    """(width, height) of an image input in pixels. Raises ModelError if the input is not images of a fixed size."""
    sides = {tensor.shape[1], tensor.shape[-1]} if len(tensor.shape) == 4 else set()
    if 4 in sides and not sides & {1, 3}:
        raise ModelError(
            f"reads {tensor.name!r} of shape {list(tensor.shape)}, four channels, and the file does not say what the"
            " fourth is; images have three. Export it with three channels, or give recorded results."
        )
    if not sides & {1, 3} or not 0 < tensor.shape[0] <= MAX_BATCH:
        raise ModelError(
            f"reads {tensor.name!r} of shape {list(tensor.shape)}; one image is expected, as [1, height, width, 3]"
            " or [1, 3, height, width]. Export the model with a fixed size and batch 1."
        )
    height, width = tensor.shape[1:3] if channels_last(tensor) else tensor.shape[2:4]
    if not (0 < height <= MAX_SIDE and 0 < width <= MAX_SIDE):
        raise ModelError(f"reads an image of {width} x {height}; export it with a fixed size up to {MAX_SIDE} a side.")
    return width, height


def fill(image: Image, spec: InputSpec, tensor: Tensor) -> tuple[np.ndarray, Placement]:
    """(values of the input tensor in its type, position of the image in it). Raises ModelError.

    The shape is (batch, h, w, c) or (batch, c, h, w); in a fixed batch of several images, all are this image.
    """
    pixels, placement = _resize(image.pixels, spec.resize, *input_size(tensor))
    values = _normalise(pixels[..., ::-1] if spec.channels == "bgr" else pixels, spec)
    last = channels_last(tensor)
    if tensor.shape[-1 if last else 1] == 1:
        values = values.mean(axis=-1, keepdims=True)
    typed = _typed((values if last else values.transpose(2, 0, 1))[None], tensor)
    batch = tensor.shape[0]
    return typed if batch <= 1 else np.repeat(typed, batch, axis=0), placement


def _resize(pixels: np.ndarray, resize: str, width: int, height: int) -> tuple[np.ndarray, Placement]:
    tall, wide = pixels.shape[:2]
    if resize == "stretch":
        stretched = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
        return stretched, Placement((width / wide, height / tall), (0.0, 0.0))
    ratio = min(width / wide, height / tall)
    inner = max(1, round(wide * ratio)), max(1, round(tall * ratio))
    left = 0 if resize == "letterbox-top-left" else (width - inner[0]) // 2
    top = 0 if resize == "letterbox-top-left" else (height - inner[1]) // 2
    canvas = np.full((height, width, 3), PAD, np.uint8)
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(pixels, inner, interpolation=cv2.INTER_LINEAR)
    return canvas, Placement((inner[0] / wide, inner[1] / tall), (float(left), float(top)))


def _normalise(pixels: np.ndarray, spec: InputSpec) -> np.ndarray:
    """(x - mean) / std, computed as x / std - mean / std.

    The last bit depends on the order of operations, and it matters: with a quantization step of 2/255, every pixel lies
    half-way between two integers. This order gives the same bits as the usual code, x / 127.5 - 1 and x / 255.
    """
    std = np.array(spec.std, np.float32)
    every = np.arange(256, dtype=np.float32)[:, None]
    table = every / std - np.array(spec.mean, np.float32) / std  # [256, 3]; a look-up takes a fifth of the time
    return cv2.LUT(np.ascontiguousarray(pixels), table[None])


def _typed(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values in the tensor's type: quantized if it has a scale, else rounded and clipped if it is an integer."""
    values = np.ascontiguousarray(values)
    if tensor.dtype in ("float32", "float16"):
        return values.astype(tensor.dtype, copy=False)
    if tensor.quantization is not None:
        return tensor.quantization.quantize(values, tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return np.clip(np.rint(values), limits.min, limits.max).astype(tensor.dtype)


def input_spec(settings: Settings) -> InputSpec:
    """The preparation of the input that complete settings contain."""
    assert settings.mean and settings.std and settings.channels and settings.resize, "settings are complete"
    return InputSpec(settings.mean, settings.std, settings.channels, settings.resize)
