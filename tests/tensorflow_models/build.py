"""Models in the forms in which users export them, made by TensorFlow. These functions run in worker processes."""

from __future__ import annotations

from typing import Any

GRID, SIDE = 4, 64
CLASSES = 2
"""Number of classes: red and green. A cell's score of a class is the amount of that colour in it."""


def keras_model(tf: Any, *behind: Any) -> Any:
    """A model from [batch, 64, 64, 3] in [0, 1] to boxes and scores of 16 cells, with a variable to be restored."""
    image = tf.keras.Input((SIDE, SIDE, 3), name="image")
    cells = tf.keras.layers.AveragePooling2D(SIDE // GRID)(image)
    for layer in behind:
        cells = layer(cells)
    scores = tf.keras.layers.Conv2D(CLASSES, 1, name="colour")(cells)
    return tf.keras.Model(image, tf.keras.layers.Reshape((GRID * GRID, CLASSES), name="scores")(scores))


def keras_files(folder: str) -> None:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(0)
    model = keras_model(tf)
    model.save(f"{folder}/model.keras")
    model.save(f"{folder}/model.h5")
    model.save_weights(f"{folder}/only.weights.h5")
    model.export(f"{folder}/exported", verbose=False)
    with_code = keras_model(tf, tf.keras.layers.Lambda(lambda x: x * 2))
    with_code.save(f"{folder}/lambda.keras")
    with_code.save(f"{folder}/lambda.h5")
    tf.keras.Sequential([tf.keras.Input((None, None, 3)), tf.keras.layers.Conv2D(2, 1)]).save(f"{folder}/open.keras")


def training_export(folder: str) -> None:
    """Write a model like those of exporter_main_v2.py: any image size, resized in a loop, with NMS, classes from 1."""
    import tensorflow as tf

    class Export(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = tf.Variable(tf.ones([3]))
            edges = tf.range(GRID, dtype=tf.float32) / GRID
            top, left = tf.meshgrid(edges, edges, indexing="ij")
            corners = tf.stack([top, left, top + 1 / GRID, left + 1 / GRID], -1)  # [4, 4, 4]
            self.boxes = tf.Variable(tf.reshape(corners, [-1, 4]))

        @tf.function(input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8, "input_tensor")])
        def detect(self, image: Any) -> dict[str, Any]:
            resized = tf.map_fn(
                lambda one: tf.image.resize(one, [SIDE, SIDE]),
                tf.cast(image, tf.float32),
                fn_output_signature=tf.float32,
            )
            cells = tf.nn.avg_pool2d(resized / 255 * self.gain, SIDE // GRID, SIDE // GRID, "VALID")
            scores = tf.reshape(cells, [-1, 3])[:, :CLASSES]  # [16, 2]
            selected = tf.image.non_max_suppression(self.boxes, tf.reduce_max(scores, 1), 10, 0.5, 0.3)
            best = tf.gather(scores, selected)
            padding = [[0, 10 - tf.shape(selected)[0]]]
            return {
                "detection_boxes": tf.pad(tf.gather(self.boxes, selected), [*padding, [0, 0]])[None],
                "detection_scores": tf.pad(tf.reduce_max(best, 1), padding)[None],
                "detection_classes": tf.pad(tf.cast(tf.argmax(best, 1) + 1, tf.float32), padding)[None],
                "num_detections": tf.cast(tf.shape(selected), tf.float32),
                "raw_detection_boxes": self.boxes[None],
                "raw_detection_scores": tf.concat([tf.zeros_like(scores[:, :1]), scores], 1)[None],
            }

    export = Export()
    tf.saved_model.save(export, folder, signatures=export.detect)


def unsafe_exports(folder: str) -> None:
    """Write graphs that write files when they run, and one that changes its own variable."""
    import tensorflow as tf

    count = tf.Variable(0.0)
    written = f"{folder}/written"
    effects = {
        "writes": lambda: tf.io.write_file(written, "x"),
        "saves": lambda: tf.raw_ops.SaveV2(
            prefix=written, tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros(1)]
        ),
        "counts": lambda: count.assign_add(1.0),
    }
    for name, effect in effects.items():
        module = tf.Module()
        module.count, module.run = count, _running(tf, effect, count)
        tf.saved_model.save(module, f"{folder}/{name}", signatures=module.run)


def _running(tf: Any, effect: Any, count: Any) -> Any:
    @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32, "image")])
    def run(image: Any) -> dict[str, Any]:
        effect()
        return {"same": image + count}

    return run
