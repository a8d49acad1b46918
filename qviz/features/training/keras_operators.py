"""The operators that training supports: name in TensorFlow Lite's schema -> a function that computes it.

    compute(tf, step, inputs) -> the outputs, for any number of images

inputs    in the operator's order: activations as tensors [batch, ...]; float constants in the layout of the file
          (CONV_2D [out, h, w, in], DEPTHWISE_CONV_2D [1, h, w, out], FULLY_CONNECTED [out, in]); integer constants as
          numpy arrays; None for an absent input
batch     files are written for one image, but training uses several. An operator that would move the batch axis or mix
          it with another axis raises `Refused` with the reason

The operators are implemented according to tensorflow/lite/kernels and the converter's legalisation patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np


class Refused(Exception):
    """An operator cannot be trained in this form; the message is the reason."""

    _keras_call_info_injected = True  # else Keras adds a page about layers to the message


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator of the network.

    Attributes:
        options: Its options, under the names of TensorFlow Lite's schema.
        shapes: Shape of each output, for one image.
        batched: For each input, whether it was computed from the image. The first axis of such an input is the batch.
    """

    kind: str
    options: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    batched: tuple[bool, ...]

    def option(self, name: str, default: Any = None) -> Any:
        return self.options.get(name, default)


Compute = Callable[[Any, Step, Sequence[Any]], Any]


def activated(tf: Any, step: Step, values: Any) -> Any:
    """Apply the activation function that is fused into the operator, if there is one."""
    name = step.option("fusedActivationFunction", "NONE")
    if name == "NONE":
        return values
    if name not in ("RELU", "RELU6", "RELU_N1_TO_1", "TANH"):
        raise Refused(f"its fused activation {name} is not supported")
    return OPERATORS[name](tf, step, [values])


def batch_first(shape: Sequence[int]) -> list[int]:
    """The shape with -1 as its first size, for any number of images. Raises Refused if the first size is not 1."""
    if not shape or shape[0] != 1:
        raise Refused(f"its output {list(shape)} does not begin with the batch")
    return [-1, *shape[1:]]


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the front, for a tensor with `rank` axes. Raises Refused if it is the batch axis."""
    axis = axis + rank if axis < 0 else axis
    if axis == 0:
        raise Refused("it works along the batch")
    return axis


def _reshape(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.reshape(inputs[0], batch_first(step.shapes[0]))


def _concatenation(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    axis = axis_of(step.option("axis"), len(step.shapes[0]))
    return activated(tf, step, tf.concat(list(inputs), axis))


def _split(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.split(inputs[1], step.option("numSplits"), axis_of(int(inputs[0]), len(step.shapes[0])))


def _split_sizes(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.split(inputs[0], [int(size) for size in inputs[1]], axis_of(int(inputs[2]), len(step.shapes[0])))


def _unpack(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.unstack(inputs[0], axis=axis_of(step.option("axis"), len(step.shapes[0]) + 1))


def _pad(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    if np.any(inputs[1][0]):
        raise Refused("it pads the batch")
    value = float(np.asarray(inputs[2])) if len(inputs) > 2 and inputs[2] is not None else 0.0
    return tf.pad(inputs[0], inputs[1], constant_values=value)


def _transpose(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    order = [int(axis) for axis in inputs[1]]
    if order[0] != 0:
        raise Refused("it moves the batch")
    return tf.transpose(inputs[0], order)


def _strided_slice(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    if step.option("ellipsisMask") or step.option("newAxisMask") or step.option("shrinkAxisMask", 0) & 1:
        raise Refused("it adds axes or removes the batch")
    masks = {"begin_mask": step.option("beginMask") | 1, "end_mask": step.option("endMask") | 1}
    shrink = step.option("shrinkAxisMask")
    return tf.strided_slice(*inputs[:4], **masks, shrink_axis_mask=shrink)


def _slice(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.slice(inputs[0], inputs[1], [-1, *(int(size) for size in inputs[2][1:])])


def _gather(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    if step.option("batchDims"):
        raise Refused("it gathers by batch")
    return tf.gather(inputs[0], inputs[1], axis=axis_of(step.option("axis"), len(inputs[0].shape)))


def _tile(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    if inputs[1][0] != 1:
        raise Refused("it repeats the batch")
    return tf.tile(inputs[0], inputs[1])


def _reduce(name: str) -> Compute:
    def compute(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
        axes = [axis_of(int(axis), len(inputs[0].shape)) for axis in np.atleast_1d(inputs[1])]
        return getattr(tf, name)(inputs[0], axes, keepdims=bool(step.option("keepDims")))

    return compute


def _resize(name: str) -> Compute:
    def compute(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
        how = {"align_corners": step.option("alignCorners"), "half_pixel_centers": step.option("halfPixelCenters")}
        return getattr(tf.raw_ops, name)(images=inputs[0], size=inputs[1], **how)

    return compute


SHAPES: dict[str, Compute] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "CONCATENATION": _concatenation,
    "SPLIT": _split,
    "SPLIT_V": _split_sizes,
    "UNPACK": _unpack,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": lambda tf, step, inputs: tf.pad(*inputs[:2], mode="SYMMETRIC" if step.option("mode") else "REFLECT"),
    "TRANSPOSE": _transpose,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "GATHER": _gather,
    "TILE": _tile,
    "MEAN": _reduce("reduce_mean"),
    "SUM": _reduce("reduce_sum"),
    "REDUCE_MAX": _reduce("reduce_max"),
    "RESIZE_NEAREST_NEIGHBOR": _resize("ResizeNearestNeighbor"),
    "RESIZE_BILINEAR": _resize("ResizeBilinear"),
}


def _convolution(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    image, filters = inputs[:2]
    groups = image.shape[3] // filters.shape[3]
    if groups > 1:
        return _grouped(tf, step, inputs, groups)
    kernel = tf.transpose(filters, [1, 2, 3, 0])  # [h, w, in, out]
    strides = step.option("strideH"), step.option("strideW")
    dilations = step.option("dilationHFactor"), step.option("dilationWFactor")
    return _biased(tf, step, tf.nn.conv2d(image, kernel, strides, step.option("padding"), dilations=dilations), inputs)


def _grouped(tf: Any, step: Step, inputs: Sequence[Any], groups: int) -> Any:
    """A grouped convolution, computed group by group because TensorFlow has no gradient for it.

    With one channel per group, it is computed as a depthwise convolution.
    """
    image, filters = inputs[:2]
    if filters.shape[3] == 1:
        return _depthwise(tf, step, [image, tf.transpose(filters, [3, 1, 2, 0]), *inputs[2:]])
    parts = zip(tf.split(image, groups, axis=3), tf.split(filters, groups, axis=0), strict=True)
    plain = replace(step, options={**step.options, "fusedActivationFunction": "NONE"})
    return _biased(tf, step, tf.concat([_convolution(tf, plain, pair) for pair in parts], axis=3), inputs)


def _depthwise(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    image, filters = inputs[:2]
    height, width, out = filters.shape[1:]
    kernel = tf.reshape(filters, [height, width, image.shape[3], out // image.shape[3]])
    across, down = step.option("strideW"), step.option("strideH")
    if across != down:
        raise Refused("its strides differ in x and y, which TensorFlow does not train")
    dilations = [step.option("dilationHFactor"), step.option("dilationWFactor")]
    strides = [1, down, across, 1]
    values = tf.nn.depthwise_conv2d(image, kernel, strides, step.option("padding"), dilations=dilations)
    return _biased(tf, step, values, inputs)


def _transpose_convolution(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    _, filters, image = inputs[:3]
    kernel = tf.transpose(filters, [1, 2, 0, 3])  # [h, w, out, in]
    shape = tf.stack([tf.shape(image)[0], *step.shapes[0][1:]])
    strides = step.option("strideH"), step.option("strideW")
    values = tf.nn.conv2d_transpose(image, kernel, shape, strides, step.option("padding"))
    return _biased(tf, step, values, inputs, 3)


def _dense(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    rows = tf.reshape(inputs[0], [-1, inputs[1].shape[1]])
    if int(np.prod(step.shapes[0][:-1])) != 1 and step.shapes[0][0] != 1:
        raise Refused("it mixes the batch with another axis")
    values = tf.reshape(tf.matmul(rows, inputs[1], transpose_b=True), batch_first(step.shapes[0]))
    return _biased(tf, step, values, inputs)


def _biased(tf: Any, step: Step, values: Any, inputs: Sequence[Any], at: int = 2) -> Any:
    bias = inputs[at] if len(inputs) > at else None
    return activated(tf, step, values if bias is None else values + bias)


def _pool(name: str) -> Compute:
    def compute(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
        window = [step.option("filterHeight"), step.option("filterWidth")]
        strides = [step.option("strideH"), step.option("strideW")]
        return activated(tf, step, getattr(tf.nn, name)(inputs[0], window, strides, step.option("padding")))

    return compute


LAYERS: dict[str, Compute] = {
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "TRANSPOSE_CONV": _transpose_convolution,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _pool("max_pool2d"),
    "AVERAGE_POOL_2D": _pool("avg_pool2d"),
}


def _binary(name: str) -> Compute:
    def compute(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
        return activated(tf, step, getattr(tf, name)(*_aligned(tf, step, inputs)))

    return compute


def _aligned(tf: Any, step: Step, inputs: Sequence[Any]) -> list[Any]:
    """The inputs with equal rank, by inserting axes of size 1 after the batch: other axes are paired from the end."""
    rank = max(len(values.shape) for values in inputs)
    aligned = []
    for values, batched in zip(inputs, step.batched, strict=True):
        missing = rank - len(values.shape)
        if batched and missing:
            values = tf.reshape(values, [-1, *[1] * missing, *values.shape[1:]])
        aligned.append(values)
    return aligned


OPERATORS: dict[str, Compute] = {
    **LAYERS,
    **SHAPES,
    "ADD": _binary("add"),
    "SUB": _binary("subtract"),
    "MUL": _binary("multiply"),
    "DIV": _binary("divide"),
    "MAXIMUM": _binary("maximum"),
    "MINIMUM": _binary("minimum"),
    "ADD_N": lambda tf, step, inputs: activated(tf, step, tf.add_n(list(inputs))),
    "SOFTMAX": lambda tf, step, inputs: tf.nn.softmax(inputs[0] * step.option("beta", 1.0)),
    "LOGISTIC": lambda tf, step, inputs: tf.sigmoid(inputs[0]),
    "RELU": lambda tf, step, inputs: tf.nn.relu(inputs[0]),
    "RELU6": lambda tf, step, inputs: tf.nn.relu6(inputs[0]),
    "RELU_N1_TO_1": lambda tf, step, inputs: tf.clip_by_value(inputs[0], -1.0, 1.0),
    "LEAKY_RELU": lambda tf, step, inputs: tf.nn.leaky_relu(inputs[0], step.option("alpha")),
    "PRELU": lambda tf, step, inputs: tf.nn.relu(inputs[0]) + inputs[1] * tf.minimum(inputs[0], 0.0),
    "HARD_SWISH": lambda tf, step, inputs: inputs[0] * tf.nn.relu6(inputs[0] + 3.0) / 6.0,
    "TANH": lambda tf, step, inputs: tf.tanh(inputs[0]),
    "EXP": lambda tf, step, inputs: tf.exp(inputs[0]),
    "LOG": lambda tf, step, inputs: tf.math.log(inputs[0]),
    "SQRT": lambda tf, step, inputs: tf.sqrt(inputs[0]),
    "RSQRT": lambda tf, step, inputs: tf.math.rsqrt(inputs[0]),
    "SQUARE": lambda tf, step, inputs: tf.square(inputs[0]),
    "NEG": lambda tf, step, inputs: -inputs[0],
    "ABS": lambda tf, step, inputs: tf.abs(inputs[0]),
}
