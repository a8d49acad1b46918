"""The detectors, each as the bytes of a .tflite file, converted once in a test session.

Every function takes the precision: "float32", "int8" (float32 input and output), "int8_io" (integer input and output),
"int8_per_tensor" (one scale per weight tensor) or "int16x8". Unless the function says otherwise, the input is 320 x 320
in [0, 1] (mean 0, std 255), classes are red, green, blue, and boxes are fractions of the image. A docstring gives AP on
the scenes, x 100, for the precisions that the tests check.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing import get_context
from pathlib import Path

from tests.faults import planted, zero_weights_given_a_tiny_scale
from tests.squares.network import Network, Precision, convert


@cache
def _worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, get_context("spawn"), initializer=_quiet)


def _quiet() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


SHARED = "QVIZ_TEST_SHARED"
"""Environment variable with the folder of converted files, which all processes of a test session share."""


@cache
def converted(network: Network, precision: Precision) -> bytes:
    """The .tflite file of any network, converted once."""
    if SHARED not in os.environ:
        return _worker().submit(convert, network, precision).result()
    digest = hashlib.sha256(repr((network, precision)).encode()).hexdigest()
    path = Path(os.environ[SHARED]) / f"{digest}.tflite"
    if not path.exists():
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(_worker().submit(convert, network, precision).result())
        part.replace(path)
    return path.read_bytes()


def reference(precision: Precision = "float32") -> bytes:
    """A correct detector with one output [1, 7, 2100]. float32: 66.6; int8: 64.3."""
    return converted(Network(), precision)


def pixels_with_scores(precision: Precision = "float32") -> bytes:
    """Boxes in pixels and scores share one output. float32: 66.6; int8: 22.2, because its scores are 0 or 1.24.

    It is also used to test rescues: all weights of the score convolutions of strides 8 and 16 are zero. If a bias is
    stored on a scale that is derived from these weights, it becomes 0, and 2000 cells have a score of 0.5.
    """
    return converted(Network(pixels=True), precision)


@cache
def flooding(precision: Precision = "int8") -> bytes:
    """As `reference`, but the biases of the score convolutions of strides 8 and 16 are 0 instead of -9.

    2000 cells have a score of 0.5, less than the squares. AP is therefore unchanged (int8: 64), although hundreds of
    boxes are spurious.
    """
    return planted(reference(precision), zero_weights_given_a_tiny_scale(outputs=3))


def logits_with_boxes(precision: Precision = "int8") -> bytes:
    """Boxes in [0, 1] share one output with logits of [-9, 8]. int8: about 2."""
    return converted(Network(head="logits"), precision)


def end_to_end(precision: Precision = "float32") -> bytes:
    """One output [1, 20, 6]: corners, score and class id of 80 (see `datasets.LABELS_80`). float32: 66.6.

    In int8, class id 39 becomes 35.8, and AP is 0.
    """
    return converted(Network(head="end_to_end"), precision)


def uint8_input(precision: Precision = "float32") -> bytes:
    """The input is uint8 without quantization parameters, for raw pixels (mean 0, std 1). float32: 66.6; int8: 64.3."""
    return converted(Network(image_dtype="uint8"), precision)


def input_256(precision: Precision = "int8") -> bytes:
    """The input is 256 x 256, so that a cell of stride 32 is 40 pixels wide in the images. int8: about 6."""
    return converted(Network(size=256), precision)


def spread_weights(precision: Precision = "float32") -> bytes:
    """Weights of two layers differ by a factor of 2000 between channels. float32: 66.6; int8_per_tensor: 22.6.

    With one scale per tensor, the weights for blue become zero.
    """
    return converted(Network(spread=True), precision)


def bgr_inside(precision: Precision = "int8") -> bytes:
    """The network expects BGR images. int8: 21.0 on RGB images."""
    return converted(Network(channels="bgr"), precision)


def other_class_order(precision: Precision = "int8") -> bytes:
    """The classes are green, blue, red. int8: about 1 with the labels of the other detectors."""
    return converted(Network(class_order=(1, 2, 0)), precision)


def other_checkpoint(precision: Precision = "int8") -> bytes:
    """The graph of `reference`, with weights and biases that differ by about 14 %. It finds most squares."""
    return converted(Network(weight_noise=0.14), precision)


def four_classes(precision: Precision = "float32") -> bytes:
    """Two outputs [1, 2100, 4]: boxes, and scores of red, green, blue and yellow, computed by LOGISTIC."""
    return converted(Network(head="boxes_first"), precision)


def four_classes_scores_first(precision: Precision = "float32") -> bytes:
    """As `four_classes`, with the scores before the boxes."""
    return converted(Network(head="scores_first"), precision)


def dead_channel(precision: Precision = "float32") -> bytes:
    """One channel has weights of zero and a bias of 1.0. float32: 66.6; int8 by TensorFlow: 64.4."""
    return converted(Network(extra_weight=0.0), precision)


def alive_channel(precision: Precision = "float32") -> bytes:
    """As `dead_channel`, with weights of 0.001. float32: 66.6; int8: 64.4."""
    return converted(Network(extra_weight=0.001), precision)


def background_class(precision: Precision = "float32") -> bytes:
    """Four classes; the first is the background (`datasets.BACKGROUND_LABELS`). float32 with class_offset 1: 66.6."""
    return converted(Network(head="background"), precision)


def rows_with_scores(precision: Precision = "float32") -> bytes:
    """One output [1, 2100, 7], that of `reference` transposed; it could be taken for objectness and two classes.

    float32: 66.6.
    """
    return converted(Network(head="rows"), precision)


def pose(precision: Precision = "float32") -> bytes:
    """One output [1, 13, 2100]: as `reference`, with two keypoints per object. The file's notes declare them."""
    return noted(converted(Network(head="pose"), precision), task="pose", kpt_shape=[2, 3])


def masks(precision: Precision = "float32") -> bytes:
    """Outputs [1, 39, 2100] and [1, 160, 160, 32] (prototypes): as `reference`, with masks of the squares."""
    return noted(converted(Network(head="masks"), precision), task="segment")


def rotated(precision: Precision = "float32") -> bytes:
    """One output [1, 8, 2100]: as `reference`, with each box rotated by -.3 radians."""
    return noted(converted(Network(head="rotated"), precision), task="obb")


def pose_without_notes(precision: Precision = "float32") -> bytes:
    """As `pose`, but the file does not declare that its last six columns are keypoints."""
    return converted(Network(head="pose"), precision)


def rotated_without_notes(precision: Precision = "float32") -> bytes:
    """As `rotated`, but the file does not declare that its last column is an angle."""
    return converted(Network(head="rotated"), precision)


def noted(data: bytes, **notes: object) -> bytes:
    """The file with the notes of an exporter appended, as Ultralytics does."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        names = {0: "red", 1: "green", 2: "blue"}
        files.writestr("metadata.json", json.dumps({"names": names, "stride": 32, **notes}))
    return data + archive.getvalue()
