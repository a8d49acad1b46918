"""Jobs of workers if the network runs elsewhere: they prepare its input and decode its outputs.

Both steps are the same as in `qviz.detector.detect_job`; between them, something else runs the network.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.detector import Detector, decoded
from qviz.engine import Blob
from qviz.errors import ModelError
from qviz.features.backends.inner import indices_of, read_inner
from qviz.features.backends.recording import TensorFacts, read_array, tensor_facts
from qviz.structures import EncodedImage, Inference, Settings
from qviz.tflite.inputs import Placement
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

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
    """The input of a model for one image; runs in a worker. Raises ImageError, ModelError."""
    pixels = decoded(image)
    values, placement = _detector(model, settings).prepare(pixels)
    return Prepared(values, placement, pixels.size)


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """The outputs of a network for one image. inner: the inner tensors as an .npz file; None if there are none."""

    outputs: list[np.ndarray]
    milliseconds: float
    delegate: str
    inner: bytes | None = None


def run_job(model: Blob, values: np.ndarray, threads: int, inner: Sequence[TensorFacts] = ()) -> Ran:
    """Run a model on one prepared input, in a worker. Raises ModelError, RecordingError."""
    key = model.digest, threads, bool(inner)
    runner: Runner = _RUNNERS.get(key, lambda: Runner(model.read(), threads, keep_all=bool(inner)))
    outputs = runner.run([values])
    delegate = "" if runner.reference_kernels else "XNNPACK"
    if not inner:
        return Ran(outputs, runner.milliseconds, delegate)
    indices = indices_of(read_graph(model.read()), inner)
    stream = io.BytesIO()
    arrays: dict[str, Any] = {str(position): runner.tensor(index) for position, index in enumerate(indices)}
    np.savez(stream, **arrays)
    return Ran(outputs, runner.milliseconds, delegate, stream.getvalue())


def describe_job(model: Blob, settings: Settings, values: np.ndarray) -> tuple[TensorFacts, tuple[TensorFacts, ...]]:
    """(facts of a model's input, facts of its outputs), with the shapes of a run on this input; runs in a worker.

    Raises ModelError if the outputs alone do not determine the detections.
    """
    detector = _detector(model, settings)
    if not detector.reads_outputs_only:
        raise ModelError(
            "has anchors that its decoder reads inside the network, and a device returns only outputs; export it with"
            " the anchors as an output."
        )
    outputs = run_job(model, values, 1).outputs
    tensors = detector.graph.output_tensors()
    facts = tuple(tensor_facts(tensor, array.shape) for tensor, array in zip(tensors, outputs, strict=True))
    return tensor_facts(detector.graph.input_tensors()[0], values.shape), facts


def decode_job(
    model: Blob,
    settings: Settings,
    outputs: Sequence[np.ndarray],
    placement: Placement,
    size: tuple[int, int],
    score: float,
) -> Inference:
    """Decode outputs that any runtime computed; runs in a worker. Raises ModelError."""
    return _detector(model, settings).decode(list(outputs), placement, size, score)


def read_job(
    model: Blob,
    settings: Settings,
    files: Sequence[tuple[str, bytes, TensorFacts]],
    placement: Placement,
    size: tuple[int, int],
    score: float,
) -> Inference:
    """Decode recorded outputs; runs in a worker. files: (name, .npy bytes, facts) of each. Raises RecordingError."""
    outputs = [read_array(data, facts, name) for name, data, facts in files]
    return decode_job(model, settings, outputs, placement, size, score)


def run_input_job(
    model: Blob, data: bytes, facts: TensorFacts, name: str, threads: int, inner: Sequence[TensorFacts] = ()
) -> Ran:
    """`run_job` on a packed input, the bytes of an .npy file. Raises RecordingError, ModelError."""
    return run_job(model, read_array(data, facts, name), threads, inner)


def tensors_job(
    model: Blob, files: Sequence[tuple[str, bytes, TensorFacts]], inner: bytes | None, facts: Sequence[TensorFacts]
) -> dict[int, np.ndarray]:
    """Index of each recorded tensor, output or inner tensor -> its values on one image; runs in a worker.

    Args:
        files: (name, .npy bytes, facts) of each output.
        inner: The recorded inner tensors as an .npz file; None if there are none.
        facts: The inner tensors that the device was asked to record.

    Raises:
        RecordingError: An array is damaged, or does not fit the model.
    """
    graph = read_graph(model.read())
    arrays = {} if inner is None else read_inner(inner, facts, "The file of inner tensors")
    indices = indices_of(graph, facts)
    recorded = {indices[position]: values for position, values in arrays.items()}
    outputs = (read_array(data, row, name) for name, data, row in files)
    return recorded | dict(zip(graph.outputs, outputs, strict=True))
