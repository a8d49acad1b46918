"""Operators that move, cut, join or resize tensors. See `keras_step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from qviz.quantize.keras_step import Compute, Refused, Step, activated, axis_of, batch_first


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


def _mirror_pad(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.pad(inputs[0], inputs[1], mode="SYMMETRIC" if step.option("mode") else "REFLECT")


def _transpose(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    order = [int(axis) for axis in inputs[1]]
    if order[0] != 0:
        raise Refused("it moves the batch")
    return tf.transpose(inputs[0], order)


def _strided_slice(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    if step.option("ellipsisMask") or step.option("newAxisMask") or step.option("shrinkAxisMask", 0) & 1:
        raise Refused("it adds axes or takes the batch's away")
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


def _nearest(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    aligned, half = step.option("alignCorners"), step.option("halfPixelCenters")
    function = tf.raw_ops.ResizeNearestNeighbor
    return function(images=inputs[0], size=inputs[1], align_corners=aligned, half_pixel_centers=half)


def _bilinear(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    aligned, half = step.option("alignCorners"), step.option("halfPixelCenters")
    return tf.raw_ops.ResizeBilinear(images=inputs[0], size=inputs[1], align_corners=aligned, half_pixel_centers=half)


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
    "MIRROR_PAD": _mirror_pad,
    "TRANSPOSE": _transpose,
    "STRIDED_SLICE": _strided_slice,
    "SLICE": _slice,
    "GATHER": _gather,
    "TILE": _tile,
    "MEAN": _reduce("reduce_mean"),
    "SUM": _reduce("reduce_sum"),
    "REDUCE_MAX": _reduce("reduce_max"),
    "RESIZE_NEAREST_NEIGHBOR": _nearest,
    "RESIZE_BILINEAR": _bilinear,
}
