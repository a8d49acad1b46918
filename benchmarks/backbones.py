"""How much quantization error accumulates in a heavier backbone: ResNet50 against MobileNetV2, built in Keras, as int8.

Both have the same small head. Their weights are drawn at random with a seed. Each BatchNormalization is set to the
statistics of its input on the calibration images, as training would do. The comparison therefore shows the effect of
depth and kinds of operators, not of training. The calibration images are the sample's views; the images for the
comparison are its photographs.
"""

import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import qviz
from qviz.context import Context
from qviz.datasets.files import find_images, load_images
from qviz.detector import decoded
from qviz.engine import LocalEngine, importing
from qviz.features.layer_error import LayerErrors, layers
from qviz.session import Session
from qviz.structures import Settings

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
SIDE, CLASSES, IMAGES = 224, 80, 8
SETTINGS = Settings(mean=(127.5,) * 3, std=(127.5,) * 3, channels="rgb", resize="stretch")
BACKBONES = ("MobileNetV2", "ResNet50")


def inputs() -> np.ndarray:
    """(images, side, side, 3) inputs in [-1, 1], on which the batch normalisations are set."""
    from PIL import Image

    images = [decoded(image).pixels for image in load_images(find_images([SAMPLE / "calibration"])[:IMAGES])]
    squares = [np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for pixels in images]
    return np.stack(squares).astype(np.float32) / 127.5 - 1


def network(name: str, values: np.ndarray) -> Any:
    """A Keras model whose outputs are a box and scores for each cell of strides 8, 16 and 32."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input((SIDE, SIDE, 3), batch_size=None)
    body = getattr(tf.keras.applications, name)(include_top=False, weights=None, input_tensor=image)
    for layer in body.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            before = tf.keras.Model(image, layer.input)(values, training=False)
            mean, variance = tf.nn.moments(before, (0, 1, 2))
            gamma, beta = layer.get_weights()[:2]
            layer.set_weights([gamma, beta, mean.numpy(), variance.numpy()])
    levels = [tf.keras.layers.UpSampling2D(times)(body.output) for times in (4, 2, 1)]
    rows = [_head(tf, levels, 4, "relu"), _head(tf, levels, CLASSES, "sigmoid")]
    return tf.keras.Model(image, rows)


def _head(tf: Any, levels: Any, width: int, activation: str) -> Any:
    outputs = [tf.keras.layers.Conv2D(width, 1, activation=activation)(level) for level in levels]
    return tf.keras.layers.Concatenate(1)([tf.keras.layers.Reshape((-1, width))(level) for level in outputs])


def floats(name: str, values: np.ndarray, path: Path) -> None:
    """Write the network to `path` as a float32 .tflite file."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(network(name, values))
    path.write_bytes(converter.convert())


def show(name: str, result: LayerErrors, shares: tuple[int, int]) -> None:
    local = [row.local_sqnr_db for row in result.layers if row.local_sqnr_db is not None]
    ends = [row.cumulative_sqnr_db for row in result.layers if row.cumulative_sqnr_db is not None]
    print(
        f"{name:<12} {shares[0] / 1e6:6.1f} -> {shares[1] / 1e6:5.1f} MB, {len(result.layers):>3} layers;"
        f" SQNR alone: median {median(local):.1f} dB, worst {min(local):.1f} dB; gathered: a quarter of the way"
        f" {ends[len(ends) // 4]:.1f} dB, half {ends[len(ends) // 2]:.1f} dB, last {ends[-1]:.1f} dB"
    )


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    values = inputs()
    views, photographs = ([SAMPLE / folder] for folder in ("calibration", "images"))
    with tempfile.TemporaryDirectory() as folder, LocalEngine(warm_up=importing("qviz.detector")) as engine:
        for name in BACKBONES:
            first, second = (Path(folder) / f"{name}_{kind}.tflite" for kind in ("float32", "int8"))
            floats(name, values, first)
            qviz.quantize(first, recipe="int8", calibration=views, engine=engine, **SETTINGS.given()).save(second)
            models = Session(first, second, engine=engine, cache=False, **SETTINGS.given()).models
            images = list(load_images(find_images(photographs)))[:IMAGES]
            show(name, layers(Context(engine), models[0], models[1], images), (models[0].bytes, models[1].bytes))


if __name__ == "__main__":
    main()
