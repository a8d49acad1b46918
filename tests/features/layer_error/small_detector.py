"""A detector of eleven operators with random weights, made with the flatbuffer object API; one layer fails in int8.

In the planted layer, the weights of an input channel that is always zero are set to `HUGE`. They change nothing in
float, but they determine the scale of the weights, so that all other weights of the layer become zero in int8.

With an outlier, one channel between two layers is `OUTLIER_SIZE` times as large, and the second layer multiplies it by
zero. With 8-bit activations, the other channels then become zero; with 16 bits they do not.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as fb

from qviz.structures import Settings
from tests.tflite.files import code, operator, packed, tensor

SIDE, CELLS, CLASSES = 64, 84, 3
"""Side of the input in pixels, number of cells of strides 8, 16 and 32, and number of classes."""
PLANTED = 3
"""The order of the operator that int8 ruins."""
OUTLIER = 1
"""The order of the operator that writes the outlier; the next one reads it."""
OUTLIER_SIZE = 3000.0
HUGE = 400.0
SETTINGS = Settings((127.5,) * 3, (127.5,) * 3, "rgb", "stretch", nms_iou=0.6, max_detections=50)
CHANNELS = (3, 16, 24, 24, 24, 32)
SHAPES = ((3, 4), (1, 1), (3, 2), (1, 1), (3, 2))
"""Side of the kernel and stride of the five convolutions."""


class _Network:
    """Collects tensors, constants and operators."""

    def __init__(self) -> None:
        self.tensors, self.constants, self.operators = [], [], []  # type: ignore[var-annotated]
        self.codes: dict[int, int] = {}

    def add(self, name: str, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
        kind = fb.TensorType.INT32 if values is not None and values.dtype == np.int32 else fb.TensorType.FLOAT32
        if values is not None:
            self.constants.append(values)
        self.tensors.append(tensor(name, shape, kind, 0 if values is None else len(self.constants)))
        return len(self.tensors) - 1

    def op(self, kind: int, inputs: list[int], output: int, options: object, option_type: int) -> int:
        operation = operator(self.codes.setdefault(kind, len(self.codes)), inputs, [output])
        operation.builtinOptions, operation.builtinOptionsType = options, option_type
        self.operators.append(operation)
        return output


def small_detector(planted: bool = True, outlier: bool = False) -> bytes:
    """A float32 file with boxes [1, 84, 4] in [0, 1] and scores [1, 84, 3]. planted, outlier: see the module."""
    random, network = np.random.default_rng(7), _Network()
    x, side = network.add("image", (1, SIDE, SIDE, 3)), SIDE
    for number, (kernel, stride) in enumerate(SHAPES):
        channels, outputs = CHANNELS[number], CHANNELS[number + 1]
        side //= stride
        weights = _random(random, (outputs, kernel, kernel, channels))
        bias = np.zeros(outputs, np.float32)
        if planted and number == PLANTED - 1:
            weights[0] = 0  # its first channel is zero
        if planted and number == PLANTED:
            weights[..., 0] = HUGE
        if outlier and number == OUTLIER:
            weights[0] *= OUTLIER_SIZE
        if outlier and number == OUTLIER + 1:
            weights[..., 0] = 0
        x = _convolution(network, x, (weights, bias), f"layer{number}", side, stride)
    flat = _reshaped(network, x, (1, side * side * CHANNELS[-1]), "flat")
    boxes = _head(network, flat, random, "boxes", 4, _grid(), 0.02)
    logits = _head(network, flat, random, "logits", CLASSES, np.full((CELLS, CLASSES), -2.0), 2.0)
    scores = network.add("scores", (1, CELLS, CLASSES))
    network.op(fb.BuiltinOperator.LOGISTIC, [logits], scores, None, 0)
    codes = [code(kind) for kind in network.codes]
    return packed(network.tensors, network.operators, codes, (0,), (boxes, scores), network.constants)


def write_small_detector(path: Path, planted: bool = True) -> Path:
    """Write the detector and the settings beside it, as the command line reads them. Returns the path."""
    path.write_bytes(small_detector(planted))
    settings = {"mean": [127.5] * 3, "std": [127.5] * 3, "channels": "rgb", "resize": "stretch", "nms_iou": 0.6}
    path.with_name(f"{path.name}.qviz.json").write_text(json.dumps(settings))
    return path


def _random(random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return (random.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)


def _convolution(
    network: _Network, x: int, values: tuple[np.ndarray, np.ndarray], name: str, side: int, stride: int
) -> int:
    options = fb.Conv2DOptionsT()
    options.padding, options.strideH, options.strideW = fb.Padding.SAME, stride, stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = fb.ActivationFunctionType.RELU
    weights, bias = (
        network.add(f"{name}/{part}", value.shape, value) for part, value in zip(("w", "b"), values, strict=True)
    )
    out = network.add(name, (1, side, side, len(values[1])))
    return network.op(fb.BuiltinOperator.CONV_2D, [x, weights, bias], out, options, fb.BuiltinOptions.Conv2DOptions)


def _head(
    network: _Network, x: int, random: np.random.Generator, name: str, columns: int, bias: np.ndarray, size: float
) -> int:
    features = network.tensors[x].shape[1]
    weights = _random(random, (CELLS * columns, features)) * np.float32(size)
    inputs = [x, network.add(f"{name}/w", weights.shape, weights)]
    inputs.append(network.add(f"{name}/b", (CELLS * columns,), bias.astype(np.float32).reshape(-1)))
    flat = network.add(f"{name}/flat", (1, CELLS * columns))
    options = fb.FullyConnectedOptionsT()
    network.op(fb.BuiltinOperator.FULLY_CONNECTED, inputs, flat, options, fb.BuiltinOptions.FullyConnectedOptions)
    return _reshaped(network, flat, (1, CELLS, columns), name)


def _reshaped(network: _Network, x: int, shape: tuple[int, ...], name: str) -> int:
    options = fb.ReshapeOptionsT()
    options.newShape = list(shape)
    new_shape = network.add(f"{name}/shape", (len(shape),), np.array(shape, np.int32))
    out = network.add(name, shape)
    return network.op(fb.BuiltinOperator.RESHAPE, [x, new_shape], out, options, fb.BuiltinOptions.ReshapeOptions)


def _grid() -> np.ndarray:
    """(84, 4) xyxy in [0, 1]: one box per cell, slightly larger than the cell."""
    rows = []
    for stride in (8, 16, 32):
        count = SIDE // stride
        centres = (np.stack(np.meshgrid(np.arange(count), np.arange(count)), -1).reshape(-1, 2) + 0.5) / count
        rows.append(np.concatenate([centres - 0.6 / count, centres + 0.6 / count], axis=1))
    return np.concatenate(rows).clip(0, 1)
