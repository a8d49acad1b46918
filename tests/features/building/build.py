"""Small detectors made by Keras 3 in a worker process: with a dense head, in the style of YOLOv8, with HARD_SWISH."""

from __future__ import annotations

from typing import Any

import numpy as np

SIDE = 32


def dense_head(tf: Any) -> Any:
    """A model from [batch, 32, 32, 3] in [-1, 1] to 4 boxes and scores: convolutions, a RESHAPE, a FULLY_CONNECTED."""
    layers = tf.keras.layers
    image = tf.keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(image)
    x = layers.DepthwiseConv2D(3, activation="relu6", name="second")(x)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    x = layers.Dense(64, activation="relu", name="wide")(x)
    boxes = layers.Reshape((4, 4), name="boxes")(layers.Dense(16, name="box")(x))
    scores = layers.Reshape((4, 2), name="scores")(layers.Dense(8, activation="sigmoid", name="score")(x))
    return tf.keras.Model(image, [boxes, scores])


YOLO_SIDE, CLASSES = 64, 3


def yolo_style(tf: Any) -> Any:
    """A model from [batch, 64, 64, 3] in [0, 1] to [batch, 84, 4 + 3]: a decoded box per cell of strides 8, 16 and 32.

    It has the typical parts of YOLOv8: BatchNorm and SiLU after each convolution, a split and a concatenation in each
    block, consecutive max pools, an upsampling neck, and a head for each level.
    """
    layers = tf.keras.layers

    def conv(x: Any, width: int, side: int = 3, strides: int = 1) -> Any:
        x = layers.Conv2D(width, side, strides=strides, padding="same", use_bias=False)(x)
        return layers.Activation("silu")(layers.BatchNormalization()(x))

    def block(x: Any, width: int) -> Any:
        left, right = conv(x, width // 2, 1), conv(x, width // 2, 1)
        inner = layers.Add()([right, conv(conv(right, width // 2), width // 2)])
        return conv(layers.Concatenate()([left, right, inner]), width, 1)

    image = tf.keras.Input((YOLO_SIDE, YOLO_SIDE, 3), name="image")
    small = block(conv(conv(conv(image, 8, strides=2), 8, strides=2), 16, strides=2), 16)
    middle = block(conv(small, 24, strides=2), 24)
    deep = conv(middle, 32, strides=2)
    pooled = layers.MaxPooling2D(3, 1, "same")(deep)
    deep = conv(layers.Concatenate()([deep, pooled, layers.MaxPooling2D(3, 1, "same")(pooled)]), 32, 1)
    middle = block(layers.Concatenate()([layers.UpSampling2D(2)(deep), middle]), 24)
    small = block(layers.Concatenate()([layers.UpSampling2D(2)(middle), small]), 16)
    levels = [_level(layers, conv, x, stride) for x, stride in ((small, 8), (middle, 16), (deep, 32))]
    return tf.keras.Model(image, layers.Concatenate(axis=1, name="output")(levels))


def _level(layers: Any, conv: Any, x: Any, stride: int) -> Any:
    """(batch, cells, 4 + classes) outputs of one level: centre and size as fractions of the image, then scores."""
    side = YOLO_SIDE // stride
    rows = layers.Reshape((side * side, 4 + CLASSES))(layers.Conv2D(4 + CLASSES, 1)(conv(x, 16)))
    rows = layers.Activation("sigmoid")(rows)
    y, x_ = np.divmod(np.arange(side * side), side)
    shift = np.zeros((1, side * side, 4 + CLASSES), np.float32)
    shift[0, :, 0], shift[0, :, 1] = x_ / side, y / side
    gain = np.ones((1, 1, 4 + CLASSES), np.float32)
    gain[..., :2], gain[..., 2:4] = 1 / side, 4 / side
    return rows * gain + shift


def hard_swish(tf: Any) -> Any:
    """A model from [batch, 32, 32, 3] in [-1, 1] to 4 boxes and scores of 2 classes, with HARD_SWISH activations."""
    layers = tf.keras.layers
    x = image = tf.keras.Input((SIDE, SIDE, 3), name="image")
    for width in (8, 12, 16):
        x = layers.Conv2D(width, 3, strides=2, padding="same")(x)
        x = x * layers.ReLU(6.0)(x + 3.0) * (1 / 6)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    boxes = layers.Reshape((4, 4), name="boxes")(layers.Dense(16, name="box")(x))
    scores = layers.Reshape((4, 2), name="scores")(layers.Dense(8, activation="sigmoid", name="score")(x))
    return tf.keras.Model(image, [boxes, scores])


def keras_file(path: str, style: str = "dense") -> None:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    {"dense": dense_head, "yolo": yolo_style, "hard_swish": hard_swish}[style](tf).save(path)
