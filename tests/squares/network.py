"""A detector of coloured squares with chosen weights, and its conversion by TensorFlow's converter.

The layers are: stem (mean of 2 x 2 pixels), colour (a channel minus half of the two others, then ReLU), and average
pools to strides 8, 16 and 32. At each stride, one convolution computes class scores and one the distances to the four
sides. Only stride 32 detects squares, because its cells have their size. `convert` loads TensorFlow, so it is run in a
separate process; other tests then run without TensorFlow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tests.squares import scenes

STRIDES = (8, 16, 32)
SCORE_GAIN, SCORE_BIAS, NO_SCORE_BIAS, HALF_CELL = 16.0, -5.6, -9.0, 0.5
DEPTHWISE, POINTWISE = (1.0, 0.02, 40.0), (1.0, 50.0, 0.025)
"""Weights of two layers that cancel each other. With one scale per tensor, their small weights are rounded to zero."""
TOP, CLASS_STEP = 20, 39
"""Rows of the end-to-end head; its classes are 0, 39 and 78 of 80."""

TILT, PROTOTYPES = -0.3, 32
"""Angle in radians of every box of the head `rotated`; number of prototypes of the head `masks`."""

Plain = Literal["joined", "rows", "logits", "background", "end_to_end", "boxes_first", "scores_first"]
Head = Plain | Literal["pose", "masks", "rotated"]
Precision = Literal["float32", "int8", "int8_io", "int8_per_tensor", "int16x8"]
"""int8: float32 input and output; int8_io: integer input and output; int8_per_tensor: one scale per weight tensor."""


@dataclass(frozen=True)
class Network:
    """How a network differs from the plain one.

    Attributes:
        size: Side of the square input in pixels.
        image_dtype: "uint8": the input is pixels in 0..255, which the network scales; "float32": it is in 0..1.
        channels: Order in which the network expects the image's channels.
        class_order: Colour channel of each class.
        extra_weight: Weight of a fourth colour channel. It has a bias of 1.0 and replaces the heads' biases. None for
            three channels.
        spread: Whether there are two more layers whose weights differ by a factor of 2000 between channels.
        weight_noise: Relative standard deviation of all weights from the plain ones, as in another checkpoint.
        pixels: Whether boxes are in pixels; otherwise they are fractions of the image.
        head: joined: [1, 4 + 3, n] boxes (centre, size) and scores; rows: the same as [1, n, 4 + 3];
            logits: joined without LOGISTIC; background: joined, with the background as the first class;
            end_to_end: [1, 20, 6] corners, score, class of 80; boxes_first and scores_first: boxes [1, n, 4] and
            scores of four classes [1, n, 4] as two outputs, in this order in the file; pose: joined with two keypoints
            a quarter of the box from its centre; masks: joined with 32 coefficients, and prototypes that show where a
            colour is; rotated: joined with an angle.
    """

    size: int = scenes.SIZE
    image_dtype: Literal["float32", "uint8"] = "float32"
    channels: Literal["rgb", "bgr"] = "rgb"
    class_order: tuple[int, int, int] = (0, 1, 2)
    extra_weight: float | None = None
    spread: bool = False
    weight_noise: float = 0.0
    pixels: bool = False
    head: Head = "joined"


class Weights:
    """The float32 weights of a network, in TensorFlow's layout (height, width, in, out)."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._random = np.random.default_rng(2)

    def _noisy(self, values: np.ndarray) -> np.ndarray:
        noise = self._random.normal(1, self.network.weight_noise, values.shape)
        return (values * noise).astype(np.float32)

    def stem(self) -> np.ndarray:
        """(2, 2, 3, 3): the mean of 2 x 2 pixels of each channel."""
        scale = 255 if self.network.image_dtype == "uint8" else 1
        order = np.eye(3)[::-1] if self.network.channels == "bgr" else np.eye(3)
        return self._noisy(np.broadcast_to(order / (4 * scale), (2, 2, 3, 3)))

    def colour(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(weights (1, 1, 3, 3 or 4), bias or None): each channel minus half of the others; then the extra channel."""
        values = 1.5 * np.eye(3) - 0.5
        if self.network.extra_weight is None:
            return self._noisy(values[None, None]), None
        values = np.concatenate([values, np.full((3, 1), self.network.extra_weight)], 1)
        return self._noisy(values[None, None]), np.array([0, 0, 0, 1], np.float32)

    def scores(self, stride: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(weights (1, 1, 3 or 4, 3), bias or None)."""
        answers = stride == STRIDES[-1]
        bias = SCORE_BIAS if answers else NO_SCORE_BIAS
        without_bias = 0.01 if self.network.extra_weight is not None else 0.0
        gain = SCORE_GAIN if answers else without_bias
        return self._with_bias(gain * np.eye(3)[:, self.network.class_order], bias)

    def sides(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(weights (1, 1, 3 or 4, 4), bias or None): the result is half a cell to each side, for every image."""
        return self._with_bias(np.zeros((3, 4)), HALF_CELL)

    def _with_bias(self, values: np.ndarray, bias: float) -> tuple[np.ndarray, np.ndarray | None]:
        outputs = np.full(values.shape[1], bias)
        if self.network.extra_weight is None:
            return self._noisy(values[None, None]), self._noisy(outputs)
        return self._noisy(np.concatenate([values, outputs[None]])[None, None]), None


def convert(network: Network, precision: Precision) -> bytes:
    """The .tflite file of the network. Unless it is float32, it is calibrated on the eight images."""
    import tensorflow as tf

    shape = [1, network.size, network.size, 3]
    signature = [tf.TensorSpec(shape, network.image_dtype, name="images")]
    module = tf.Module(name="squares")
    module.detect = tf.function(lambda images: _outputs(tf, network, images), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.detect.get_concrete_function()], module)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([image] for image in _inputs(network))
        converter.target_spec.supported_ops = [_kernels(tf, precision)]
        converter._experimental_disable_per_channel = precision == "int8_per_tensor"
    if precision == "int8_io":
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def _kernels(tf: Any, precision: Precision) -> Any:
    if precision == "int16x8":
        return tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    return tf.lite.OpsSet.TFLITE_BUILTINS_INT8


def _inputs(network: Network) -> list[np.ndarray]:
    """The eight images as inputs of the network, each [1, size, size, 3]."""
    import cv2

    resized = [cv2.resize(image, (network.size, network.size))[None] for image in scenes.images()]
    return resized if network.image_dtype == "uint8" else [image.astype(np.float32) / 255 for image in resized]


def _outputs(tf: Any, network: Network, images: Any) -> Any:
    weights = Weights(network)
    x = tf.cast(images, tf.float32)
    x = tf.nn.conv2d(x, weights.stem(), 2, "VALID", name="stem")
    x = colours = tf.nn.relu(_convolution(tf, x, weights.colour(), "colour"))
    if network.spread:
        centre = np.zeros((3, 3, 3, 1), np.float32)
        centre[1, 1, :, 0] = DEPTHWISE
        x = tf.nn.depthwise_conv2d(x, centre, [1, 1, 1, 1], "SAME", name="depthwise")
        x = tf.nn.conv2d(x, np.diag(POINTWISE).astype(np.float32)[None, None], 1, "VALID", name="pointwise")
    boxes, logits = [], []
    step = 2
    for stride in STRIDES:
        x = tf.nn.avg_pool2d(x, stride // step, stride // step, "VALID", name=f"pool_{stride}")
        step = stride
        cells = network.size // stride
        scores = _convolution(tf, x, weights.scores(stride), f"scores_{stride}")
        logits.append(tf.reshape(scores, [1, cells * cells, 3]))
        sides = tf.nn.relu(_convolution(tf, x, weights.sides(), f"sides_{stride}"))
        boxes.append(_boxes(tf, network, stride, tf.reshape(sides, [1, cells * cells, 4])))
    if network.head in ("pose", "masks", "rotated"):
        return _task(tf, network.head, tf.concat(boxes, 1), tf.sigmoid(tf.concat(logits, 1)), colours)
    return _head(tf, network.head, tf.concat(boxes, 1), tf.concat(logits, 1))


def _task(tf: Any, head: str, boxes: Any, scores: Any, colours: Any) -> Any:
    """[1, 4 + 3 + extras, n] boxes, scores and then the keypoints, mask coefficients or angle."""
    quarter, sure = boxes[..., 2:] * 0.25, tf.ones_like(boxes[..., :1])
    if head == "pose":
        extras = [boxes[..., :2] - quarter, sure * 0.9, boxes[..., :2] + quarter, sure * 0.9]
    elif head == "masks":
        extras = [scores, tf.zeros_like(tf.tile(sure, [1, 1, PROTOTYPES - 3]))]
    else:
        extras = [sure * TILT]
    joined = tf.transpose(tf.concat([boxes, scores, *extras], 2), [0, 2, 1])
    if head != "masks":
        return joined
    return joined, tf.pad(colours - 0.3, [[0, 0], [0, 0], [0, 0], [0, PROTOTYPES - 3]])


def _convolution(tf: Any, x: Any, weights_and_bias: tuple[np.ndarray, np.ndarray | None], name: str) -> Any:
    weights, bias = weights_and_bias
    x = tf.nn.conv2d(x, weights, 1, "VALID", name=name)
    return x if bias is None else tf.nn.bias_add(x, bias, name=f"{name}_bias")


def _boxes(tf: Any, network: Network, stride: int, sides: Any) -> Any:
    """Convert distances to the sides, in cells, [1, n, 4], to centre and size in pixels or fractions of the image."""
    cells = network.size // stride
    rows, columns = np.mgrid[:cells, :cells]
    centres = np.stack([columns, rows], -1).reshape(1, -1, 2).astype(np.float32) + np.float32(0.5)
    unit = stride if network.pixels else stride / network.size
    first, last = centres - sides[..., :2], centres + sides[..., 2:]
    middle = (first + last) * np.full(2, unit / 2, np.float32)
    return tf.concat([middle, (last - first) * np.full(2, unit, np.float32)], 2)


def _head(tf: Any, head: Head, boxes: Any, logits: Any) -> Any:
    scores = logits if head == "logits" else tf.sigmoid(logits, name="scores")
    if head in ("boxes_first", "scores_first"):
        fourth = scores[..., :1] * 0.5 * scores[..., 1:2]
        outputs = tf.concat([scores, fourth], 2), boxes  # the converter turns the order round
        return outputs if head == "boxes_first" else outputs[::-1]
    if head == "end_to_end":
        return _end_to_end(tf, boxes[0], scores[0])
    if head == "background":
        scores = tf.concat([1 - tf.reduce_max(scores, -1, keepdims=True), scores], 2)
    joined = tf.concat([boxes, scores], 2)
    return joined if head == "rows" else tf.transpose(joined, [0, 2, 1])


def _end_to_end(tf: Any, boxes: Any, scores: Any) -> Any:
    best = tf.reduce_max(scores, -1)
    _, rows = tf.math.top_k(best, TOP)
    class_ids = tf.gather(tf.cast(tf.argmax(scores, -1, output_type=tf.int32), tf.float32), rows)
    boxes = tf.gather(boxes, rows)
    middle, half = boxes[:, :2], boxes[:, 2:] * 0.5
    joined = tf.concat([middle - half, middle + half, tf.gather(best, rows)[:, None], class_ids[:, None]], 1)[None]
    return tf.concat([joined[..., :5], joined[..., 5:] * float(CLASS_STEP)], 2)
