"""What workers do if a network runs elsewhere: prepare its input and decode its outputs.

The two steps do the same as `qviz.detector.detect_job`, except that something else runs the network between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.detector import Detector, decoded
from qviz.engine import Blob
from qviz.errors import ModelError
from qviz.features.backends.recording import TensorFacts, read_array
from qviz.structures import EncodedImage, Inference, Settings, Tensor
from qviz.tflite.inputs import Placement
from qviz.tflite.runner import Runner

_DETECTORS, _RUNNERS = LRUCache[Any](4), LRUCache[Any](2)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The input tensor of one image, where the image lies in it, and the image's (width, height)."""

    values: np.ndarray
    placement: Placement
    size: tuple[int, int]


def _detector(model: Blob, settings: Settings) -> Detector:
    key = model.digest, settings
    detector: Detector = _DETECTORS.get(key, lambda: Detector(model.read(), settings, candidates=False))
    return detector


def prepare_job(model: Blob, settings: Settings, image: EncodedImage) -> Prepared:
    """In a worker: the input of a model for one image. Raises ImageError, ModelError."""
    pixels = decoded(image)
    values, placement = _detector(model, settings).prepare(pixels)
    return Prepared(values, placement, pixels.size)


def run_job(model: Blob, values: np.ndarray, threads: int) -> tuple[list[np.ndarray], float, str]:
    """In a worker: (outputs of a model, milliseconds, delegate). Raises ModelError."""
    key = model.digest, threads
    runner: Runner = _RUNNERS.get(key, lambda: Runner(model.read(), threads, keep_all=False))
    outputs = runner.run([values])
    return outputs, runner.milliseconds, "" if runner.reference_kernels else "XNNPACK"


def describe_job(model: Blob, settings: Settings, values: np.ndarray) -> tuple[TensorFacts, tuple[TensorFacts, ...]]:
    """In a worker: input and outputs of a model, with the shapes that its outputs have on this input.

    Raises ModelError if the outputs alone do not determine the detections.
    """
    detector = _detector(model, settings)
    if not detector.reads_outputs_only:
        raise ModelError(
            "has anchors that its decoder reads inside the network, and a device returns only outputs; export it with"
            " the anchors as an output."
        )
    outputs, _, _ = run_job(model, values, 1)
    tensors = detector.graph.output_tensors()
    facts = tuple(_facts(tensor, array.shape) for tensor, array in zip(tensors, outputs, strict=True))
    return _facts(detector.graph.input_tensors()[0], values.shape), facts


def _facts(tensor: Tensor, shape: tuple[int, ...]) -> TensorFacts:
    """The tensor with the shape that it had in a run; sides that the file leaves open stay open."""
    is_open = len(tensor.shape) == len(shape) and -1 in tensor.shape
    sides = tuple(-1 if is_open and tensor.shape[axis] == -1 else side for axis, side in enumerate(shape))
    quantization = tensor.per_tensor
    scale = None if quantization is None else float(quantization.scales[0])
    zero_point = None if quantization is None else int(quantization.zero_points[0])
    return TensorFacts(tensor.name, sides, tensor.dtype, scale, zero_point)


def decode_job(
    model: Blob,
    settings: Settings,
    outputs: Sequence[np.ndarray],
    placement: Placement,
    size: tuple[int, int],
    score: float,
) -> Inference:
    """In a worker: the detections in outputs that any runtime has computed. Raises ModelError."""
    return _detector(model, settings).decode(list(outputs), placement, size, score)


def read_job(
    model: Blob,
    settings: Settings,
    files: Sequence[tuple[str, bytes, TensorFacts]],
    placement: Placement,
    size: tuple[int, int],
    score: float,
) -> Inference:
    """In a worker: the detections in recorded outputs, (name, .npy bytes, facts) each. Raises RecordingError."""
    outputs = [read_array(data, facts, name) for name, data, facts in files]
    return decode_job(model, settings, outputs, placement, size, score)


def run_input_job(
    model: Blob, data: bytes, facts: TensorFacts, name: str, threads: int
) -> tuple[list[np.ndarray], float, str]:
    """In a worker: `run_job` on a packed input. Raises RecordingError, ModelError."""
    return run_job(model, read_array(data, facts, name), threads)
