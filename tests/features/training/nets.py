"""Small networks for training, made by Keras 3 and run in a worker process."""

from __future__ import annotations

from typing import Any

import numpy as np

from qviz.features.training import trainer
from qviz.features.training.keras_graph import functional, outputs
from qviz.features.training.plan import trained_ends
from qviz.features.training.trainer import Job, Trainer
from qviz.tensorflow_models.runtime import tensorflow
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

SIDE = 32


def many_operators() -> bytes:
    """A float32 .tflite file with the operators of detectors' backbones, necks and heads."""
    with tensorflow() as tf:
        tf.keras.utils.set_random_seed(0)
        return bytes(tf.lite.TFLiteConverter.from_keras_model(_many(tf)).convert())


def _many(tf: Any) -> Any:
    layers, keras = tf.keras.layers, tf.keras
    image = keras.Input((SIDE, SIDE, 3), batch_size=1, name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(image)  # [1, 16, 16, 8]
    wide = layers.DepthwiseConv2D(3, padding="same", dilation_rate=2, depth_multiplier=2)(x)
    y = layers.Conv2D(8, 1)(layers.Activation("silu")(wide))
    x = layers.Add()([x, y])
    pooled = layers.MaxPooling2D(2)(layers.ZeroPadding2D(((1, 1), (0, 2)))(x))  # [1, 9, 9, 8]
    low = layers.AveragePooling2D(3)(pooled)  # [1, 3, 3, 8]
    up = layers.UpSampling2D(3, interpolation="bilinear")(layers.LeakyReLU(0.1)(low))
    near = layers.UpSampling2D(3, interpolation="nearest")(layers.Activation("hard_swish")(low))
    x = layers.Concatenate()([up, near, pooled])  # [1, 9, 9, 24]
    x = keras.ops.subtract(*keras.ops.split(x, 2, axis=-1)) * 0.5
    x = layers.Conv2DTranspose(6, 3, strides=2, padding="same", activation="relu")(x)[:, 1:17, ::2, :]
    x = keras.ops.transpose(x, (0, 2, 1, 3))  # [1, 9, 16, 6]
    gate = layers.Dense(6, activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
    x = layers.Multiply()([x, layers.Reshape((1, 1, 6))(gate)])
    boxes = keras.ops.maximum(layers.Conv2D(4, 1)(x), -2.0)
    scores = layers.Softmax()(layers.Dense(5)(layers.Reshape((144, 6))(x)))
    return keras.Model(image, [layers.Reshape((144, 4))(boxes), scores])


def rebuilt_error(data: bytes, pictures: np.ndarray) -> float:
    """Largest difference between the outputs of the rebuilt network, run on all pictures at once, and of the file."""
    graph = read_graph(data)
    ends, runner = trained_ends(graph), Runner(data)
    with tensorflow() as tf:
        rebuilt = [values.numpy() for values in outputs(functional(tf, data, graph, ends), pictures)]
    worst = 0.0
    for number in range(len(pictures)):
        runner.run([pictures[number : number + 1]])
        expected = [runner.tensor(index)[0] for index in ends]
        worst = max(worst, *(float(np.abs(a[number] - b).max()) for a, b in zip(rebuilt, expected, strict=True)))
    return worst


def kinds(data: bytes) -> set[str]:
    return {op.kind for op in read_graph(data).ops}


def steps_with_and_without_a_break(job: Job, count: int) -> tuple[list[float], list[float], bool]:
    """(losses of one run, losses of a run resumed from a checkpoint, whether the final weights are equal)."""
    with tensorflow() as tf:
        whole, first = Trainer(tf, job), Trainer(tf, job)
        for _ in range(count):
            whole.step()
        for _ in range(count // 2):
            first.step()
        first.save(job, always=True)
        second = Trainer(tf, job)
        checkpoint = trainer.load(job.checkpoint, job.digest)
        assert checkpoint is not None
        second.restore(checkpoint)
        while len(second.losses) < count:
            second.step()
        ends = whole.parts.constants(), second.parts.constants()
        return whole.losses, second.losses, all(np.array_equal(ends[0][i], ends[1][i]) for i in ends[0])


def off_the_grid(trained: bytes, built: bytes, weights: dict[str, int]) -> float:
    """Largest difference between trained float weights and those of the built file, in steps of the built scale.

    weights: name of a tensor -> its channel axis.
    """
    from qviz.tflite.constants import stored_constant

    before = {tensor.name: tensor for tensor in read_graph(trained).tensors}
    worst = 0.0
    for tensor in read_graph(built).tensors:
        if tensor.name in weights and tensor.quantization is not None:
            real = tensor.quantization.dequantize(stored_constant(built, tensor))
            trained_values = stored_constant(trained, before[tensor.name])
            shape = [-1 if axis == weights[tensor.name] else 1 for axis in range(trained_values.ndim)]
            worst = max(worst, float((np.abs(real - trained_values) / tensor.quantization.scales.reshape(shape)).max()))
    return worst


def yolo_h5(path: str) -> None:
    """Write a tf_keras model to an .h5 file: [batch, 64, 64, 3] to [batch, 4 + 3, 84], as in YOLOv8."""
    import tf_keras

    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = tf_keras.Input((64, 64, 3), name="image")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    levels = []
    for stride in (4, 2, 2):
        x = layers.Conv2D(8, 3, strides=stride, padding="same")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        boxes = layers.Conv2D(4, 1, bias_initializer=tf_keras.initializers.Constant(20.0))(x)
        scores = layers.Conv2D(3, 1, activation="sigmoid")(x)
        levels.append(layers.Reshape((-1, 7))(layers.Concatenate()([boxes, scores])))
    joined = layers.Permute((2, 1))(layers.Concatenate(axis=1)(levels))
    tf_keras.Model(image, joined).save(path)


def grouped(groups: int) -> bytes:
    """A float32 .tflite file with a grouped convolution, which is depthwise if `groups` is the number of channels."""
    with tensorflow() as tf:
        tf.keras.utils.set_random_seed(groups)
        image = tf.keras.Input((SIDE, SIDE, 3), batch_size=1, name="image")
        x = tf.keras.layers.Conv2D(8, 3, activation="relu")(image)
        x = tf.keras.layers.Conv2D(16, 3, groups=groups, activation="relu6", name="grouped")(x)
        return bytes(tf.lite.TFLiteConverter.from_keras_model(tf.keras.Model(image, x)).convert())
