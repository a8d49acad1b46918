"""TensorFlow itself as the reference: a detection SavedModel that TensorFlow Lite cannot express.

The Object Detection API's training export (exporter_lib_v2.py) takes an image [1, h, w, 3] of any size, uint8 or
float32 in 0..255, and prepares it itself. It returns detection_boxes (1, n, 4) as ymin, xmin, ymax, xmax normalised to
[0, 1]; detection_scores and detection_classes (1, n), classes counted from 1; num_detections (1,); and, from before
NMS, raw_detection_boxes (1, anchors, 4) and raw_detection_scores (1, anchors, classes), some with a background column.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from qviz.errors import ModelError
from qviz.structures import Detections, Graph, Image, Inference, Settings, Tensor
from qviz.structures.detections import CANDIDATE_FLOOR, class_ids_of
from qviz.tensorflow_models.convert import DETECTION, gives_detections
from qviz.tensorflow_models.runtime import first_line, tensorflow
from qviz.tensorflow_models.saved_model import Port, Signature, read_signature
from qviz.tensorflow_models.sources import unpack

TENSORFLOW = "tensorflow"
"""The name that is shown in place of a decoder's name."""
MAX_CANDIDATES = 5000
SAME_SCORE = 1e-6
"""Maximum difference between a detection's score and the raw score of its anchor."""


def signature_graph(data: bytes) -> Graph:
    """The inputs and outputs of a packed SavedModel, without operators."""
    with tempfile.TemporaryDirectory(prefix="qviz-") as folder, tensorflow() as tf:
        signature = read_signature(tf, unpack(data, Path(folder)))
    _check(signature)
    ports = (*signature.inputs, *signature.outputs)
    tensors = tuple(Tensor(i, port.name, port.shape or (), port.dtype, None, False) for i, port in enumerate(ports))
    names = {tensor.name: tensor.index for tensor in tensors}
    return Graph(tensors, (), inputs=(0,), outputs=tuple(range(1, len(ports))), signature=names)


def class_count(graph: Graph) -> int | None:
    """Number of columns of the raw scores, one of which may be the background; None if unknown."""
    index = graph.signature.get("raw_detection_scores")
    last = graph.tensors[index].shape[-1:] if index is not None else ()
    return last[0] if last and last[0] > 0 else None


def _check(signature: Signature) -> None:
    """Raise ModelError unless the signature reads an image and returns detections."""
    if not gives_detections(signature):
        names = ", ".join(port.name for port in signature.outputs)
        raise ModelError(f"has the outputs {names}; to be run by TensorFlow it needs {', '.join(sorted(DETECTION))}.")
    port = signature.inputs[0] if len(signature.inputs) == 1 else None
    shape = port.shape if port is not None else None
    if port is None or shape is None or len(shape) != 4 or shape[0] > 1 or shape[3] not in (3, -1):
        inputs = ", ".join(f"{p.name} {list(p.shape or ())} {p.dtype}" for p in signature.inputs)
        raise ModelError(f"reads {inputs}; an image [1, h, w, 3] is needed: export it with --input_type image_tensor.")


class SavedModelDetector:
    """Runs a SavedModel in a worker process, with the same method `detect` as `qviz.detector.Detector`."""

    def __init__(self, data: bytes, settings: Settings, threads: int = 1) -> None:
        self.settings = settings
        with tempfile.TemporaryDirectory(prefix="qviz-") as folder, tensorflow(threads) as tf:
            root = unpack(data, Path(folder))
            self._signature = read_signature(tf, root)
            _check(self._signature)
            try:
                self._model = tf.saved_model.load(str(root))  # kept because it owns the variables
                self._function = self._model.signatures[self._signature.key]
            except Exception as error:  # the loader may raise any exception
                raise ModelError(f"cannot be loaded by TensorFlow: {first_line(error)}") from error

    def detect(self, image: Image, score: float) -> Inference:
        """Detections with at least `score`, in pixels of the image, and the candidates of the run."""
        outputs, milliseconds = self._run(image)
        size = np.array([image.width, image.height] * 2, np.float32)
        offset = self.settings.class_offset if self.settings.class_offset is not None else 1
        rows = _detections(outputs, size, offset)
        candidates = _candidates(outputs, size, offset)
        detections = rows.above(max(score, 1e-9)).by_score()[: self.settings.max_detections]  # unused rows score 0
        return Inference(detections, candidates, image.width, image.height, milliseconds)

    def _run(self, image: Image) -> tuple[dict[str, np.ndarray], float]:
        (port,) = self._signature.inputs
        with tensorflow() as tf:
            try:
                values = _filled(tf, image.pixels, port)
                start = time.perf_counter()
                outputs = {name: value.numpy() for name, value in self._function(**{port.name: values}).items()}
            except Exception as error:  # kernels may raise any exception
                raise ModelError(f"failed while TensorFlow ran it: {first_line(error)}") from error
            return outputs, (time.perf_counter() - start) * 1e3


def _filled(tf: Any, pixels: np.ndarray, port: Port) -> Any:
    """The image (1, h, w, 3) in the type of the input, stretched to the input's size if that is fixed."""
    _, height, width, _ = port.shape or (1, -1, -1, 3)
    sides = (height if height > 0 else pixels.shape[0], width if width > 0 else pixels.shape[1])
    values = tf.constant(pixels[None])
    if sides != pixels.shape[:2]:
        values = tf.round(tf.image.resize(values, sides))
    return tf.cast(values, port.dtype)


def _detections(outputs: dict[str, np.ndarray], size: np.ndarray, offset: int) -> Detections:
    """All valid rows, boxes as xyxy in pixels and class ids counted from zero."""
    count = round(float(outputs["num_detections"].reshape(-1)[0])) if "num_detections" in outputs else None
    boxes = outputs["detection_boxes"].reshape(-1, 4)[:count][:, [1, 0, 3, 2]] * size
    classes = class_ids_of(outputs["detection_classes"].reshape(-1)[:count], offset)
    rows = Detections.of(boxes, np.clip(outputs["detection_scores"].reshape(-1)[:count], 0, 1), classes)
    return rows[(rows.class_ids >= 0) & np.isfinite(rows.boxes).all(axis=1) & np.isfinite(rows.scores)]


def _candidates(outputs: dict[str, np.ndarray], size: np.ndarray, offset: int) -> Detections | None:
    """The boxes before NMS; None if the raw scores do not belong to the detections."""
    boxes, scores = (outputs.get(name) for name in ("raw_detection_boxes", "raw_detection_scores"))
    if boxes is None or scores is None or boxes.ndim != 3 or boxes.shape[:2] != scores.shape[:2]:
        return None
    shift = _first_column(_detections(outputs, size, offset), scores[0])
    if shift is None:
        return None
    anchor, class_id = np.nonzero(scores[0][:, shift:] >= CANDIDATE_FLOOR)
    values = scores[0][anchor, class_id + shift]
    best = np.argsort(-values, kind="stable")[:MAX_CANDIDATES]
    return Detections.of(boxes[0][anchor[best]][:, [1, 0, 3, 2]] * size, values[best], class_id[best])


def _first_column(detections: Detections, scores: np.ndarray) -> int | None:
    """The column of class 0 in the raw scores: 0, or 1 if column 0 is the background.

    It is the one in which the scores of the best detections occur. None if they occur in neither column, because the
    raw scores are logits or belong to another head.
    """
    best = detections.by_score()[:5]
    for shift in (0, 1):
        columns = best.class_ids + shift
        if len(best) and columns.max() < scores.shape[1]:
            nearest = np.abs(scores[:, columns] - best.scores).min(axis=0)
            if nearest.max() < SAME_SCORE:
                return shift
    return None
