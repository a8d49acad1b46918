"""The detectors, each as the bytes of a .tflite file, converted once in a test session.

Every function takes the precision: "float32", "int8" (float32 input and output), "int8_io" (integer input and output),
"int8_per_tensor" (one scale for each weight) or "int16x8". Images are 320 x 320 in [0, 1] (mean 0, std 255), classes
red, green, blue and boxes fractions of the image, unless the function says otherwise. AP on the scenes, x 100, is given
for the precisions that the tests check.
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
"""Names the folder in which the processes of a test session keep what they have converted for one another."""


@cache
def converted(network: Network, precision: Precision) -> bytes:
    """The .tflite file of a network of your own."""
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
    """Nothing is wrong: one output [1, 7, 2100], boxes in fractions of the image. float32: 66.6; int8: 64.3."""
    return converted(Network(), precision)


def pixels_with_scores(precision: Precision = "float32") -> bytes:
    """Boxes in pixels and scores share one output. float32: 66.6; int8: 22.2, its scores are 0 or 1.24.

    The input of the case `rescue` as well: all weights of the score convolutions of strides 8 and 16 are zero, so that
    a bias on the scale of its weights becomes 0 and 2000 cells have a score of 0.5.
    """
    return converted(Network(pixels=True), precision)


@cache
def flooding(precision: Precision = "int8") -> bytes:
    """As `reference`, but the biases of the score convolutions of strides 8 and 16 overflowed from -9 to 0.

    2000 cells have a score of 0.5, below those of the squares: AP stays (int8: 64), hundreds of boxes are spurious.
    """
    return planted(reference(precision), zero_weights_given_a_tiny_scale(outputs=3))


def logits_with_boxes(precision: Precision = "int8") -> bytes:
    """Boxes in [0, 1] share one output with logits of [-9, 8]. int8: about 2."""
    return converted(Network(head="logits"), precision)


def end_to_end(precision: Precision = "float32") -> bytes:
    """[1, 20, 6]: corners, score and class of 80 (see `datasets.LABELS_80`). float32: 66.6; int8: 0, 39 is 35.8."""
    return converted(Network(head="end_to_end"), precision)


def uint8_input(precision: Precision = "float32") -> bytes:
    """A uint8 input without quantization parameters: raw pixels (mean 0, std 1). float32: 66.6; int8: 64.3."""
    return converted(Network(image_dtype="uint8"), precision)


def input_256(precision: Precision = "int8") -> bytes:
    """An input of 256 x 256: its cells are 40 pixels of the images wide. int8: about 6."""
    return converted(Network(size=256), precision)


def spread_weights(precision: Precision = "float32") -> bytes:
    """Two layers whose weights differ by 2000 among channels. float32: 66.6; int8_per_tensor: 22.6, blue is zero."""
    return converted(Network(spread=True), precision)


def bgr_inside(precision: Precision = "int8") -> bytes:
    """The stem swaps red and blue. int8: 21.0 on RGB images."""
    return converted(Network(channels="bgr"), precision)


def other_class_order(precision: Precision = "int8") -> bytes:
    """The classes are green, blue, red. int8: about 1 with the labels of the others."""
    return converted(Network(class_order=(1, 2, 0)), precision)


def other_checkpoint(precision: Precision = "int8") -> bytes:
    """The same graph, every weight and bias about 14 % off. Finds most squares."""
    return converted(Network(weight_noise=0.14), precision)


def four_classes(precision: Precision = "float32") -> bytes:
    """Two outputs [1, 2100, 4]: boxes, and the scores of red, green, blue, yellow behind LOGISTIC."""
    return converted(Network(head="boxes_first"), precision)


def four_classes_scores_first(precision: Precision = "float32") -> bytes:
    """As `four_classes`, the scores before the boxes."""
    return converted(Network(head="scores_first"), precision)


def dead_channel(precision: Precision = "float32") -> bytes:
    """A channel whose weights are all zero, with a bias of 1.0. float32: 66.6; int8 by TensorFlow: 64.4."""
    return converted(Network(extra_weight=0.0), precision)


def alive_channel(precision: Precision = "float32") -> bytes:
    """As `dead_channel`, with weights of 0.001. float32: 66.6; int8: 64.4."""
    return converted(Network(extra_weight=0.001), precision)


def background_class(precision: Precision = "float32") -> bytes:
    """Four classes, the first is the background (`datasets.BACKGROUND_LABELS`). float32: 66.6 with class_offset 1."""
    return converted(Network(head="background"), precision)


def rows_with_scores(precision: Precision = "float32") -> bytes:
    """[1, 2100, 7]: as `reference`, one row per box. Not an objectness and two classes. float32: 66.6."""
    return converted(Network(head="rows"), precision)


def pose(precision: Precision = "float32") -> bytes:
    """[1, 13, 2100]: as `reference`, with two keypoints; the notes say so. Without the notes, see `without_notes`."""
    return noted(converted(Network(head="pose"), precision), task="pose", kpt_shape=[2, 3])


def masks(precision: Precision = "float32") -> bytes:
    """[1, 39, 2100] and prototypes [1, 160, 160, 32]: as `reference`; masks show where the squares are."""
    return noted(converted(Network(head="masks"), precision), task="segment")


def rotated(precision: Precision = "float32") -> bytes:
    """[1, 8, 2100]: as `reference`, every box rotated by -.3 radians."""
    return noted(converted(Network(head="rotated"), precision), task="obb")


def pose_without_notes(precision: Precision = "float32") -> bytes:
    """As `pose`, but nothing in the file says that its last six columns are keypoints."""
    return converted(Network(head="pose"), precision)


def rotated_without_notes(precision: Precision = "float32") -> bytes:
    """As `rotated`, but nothing in the file says that its last column is an angle."""
    return converted(Network(head="rotated"), precision)


def noted(data: bytes, **notes: object) -> bytes:
    """The file with the notes of an exporter appended, as Ultralytics does."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        names = {0: "red", 1: "green", 2: "blue"}
        files.writestr("metadata.json", json.dumps({"names": names, "stride": 32, **notes}))
    return data + archive.getvalue()
