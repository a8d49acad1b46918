"""Operators with weights or windows: convolutions, dense layers, pools. See `keras_step`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qviz.quantize.keras_step import Compute, Refused, Step, activated, batch_first


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
    """Part by part, as TensorFlow does not train it as a whole; one input channel a group is a depthwise one."""
    image, filters = inputs[:2]
    if filters.shape[3] == 1:
        return _depthwise(tf, step, [image, tf.transpose(filters, [3, 1, 2, 0]), *inputs[2:]])
    parts = zip(tf.split(image, groups, axis=3), tf.split(filters, groups, axis=0), strict=True)
    plain = replace(step, options={**step.options, "fusedActivationFunction": "NONE"})
    return _biased(tf, step, tf.concat([_convolution(tf, plain, pair) for pair in parts], axis=3), inputs)


def _depthwise(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    image, filters = inputs[:2]
    high, wide, out = filters.shape[1:]
    kernel = tf.reshape(filters, [high, wide, image.shape[3], out // image.shape[3]])
    across, down = step.option("strideW"), step.option("strideH")
    if across != down:
        raise Refused("its strides differ in x and y, which TensorFlow does not train")
    dilations = [step.option("dilationHFactor"), step.option("dilationWFactor")]
    strides = [1, down, across, 1]
    found = tf.nn.depthwise_conv2d(image, kernel, strides, step.option("padding"), dilations=dilations)
    return _biased(tf, step, found, inputs)


def _transpose_convolution(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    _, filters, image = inputs[:3]
    kernel = tf.transpose(filters, [1, 2, 0, 3])  # [h, w, out, in]
    shape = tf.stack([tf.shape(image)[0], *step.shapes[0][1:]])
    strides = step.option("strideH"), step.option("strideW")
    found = tf.nn.conv2d_transpose(image, kernel, shape, strides, step.option("padding"))
    return _biased(tf, step, found, inputs, 3)


def _dense(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    rows = tf.reshape(inputs[0], [-1, inputs[1].shape[1]])
    if int(np.prod(step.shapes[0][:-1])) != 1 and step.shapes[0][0] != 1:
        raise Refused("it mixes the batch with another axis")
    found = tf.reshape(tf.matmul(rows, inputs[1], transpose_b=True), batch_first(step.shapes[0]))
    return _biased(tf, step, found, inputs)


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
