"""A small detector with a dense head, made by Keras 3 in a worker process."""

from __future__ import annotations

from typing import Any

SIDE = 32


def dense_head(tf: Any) -> Any:
    """[batch, 32, 32, 3] in -1..1 to 4 boxes and their scores: convolutions, then FULLY_CONNECTED behind a RESHAPE."""
    layers = tf.keras.layers
    image = tf.keras.Input((SIDE, SIDE, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="first")(image)
    x = layers.DepthwiseConv2D(3, activation="relu6", name="second")(x)
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    x = layers.Dense(64, activation="relu", name="wide")(x)
    boxes = layers.Reshape((4, 4), name="boxes")(layers.Dense(16, name="box")(x))
    scores = layers.Reshape((4, 2), name="scores")(layers.Dense(8, activation="sigmoid", name="score")(x))
    return tf.keras.Model(image, [boxes, scores])


def keras_file(path: str) -> None:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    dense_head(tf).save(path)
