"""Run a file on the kernels of TensorFlow Lite Micro (the package tflite_micro), made for microcontrollers.

Micro's interpreter does not report the shapes of a post-processing operator's outputs. A file that contains NMS is
therefore cut before this operator: Micro runs the network, and LiteRT's reference kernel runs the operator.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.detector import Detector, decoded
from qviz.engine import Blob
from qviz.errors import ModelError
from qviz.structures import EncodedImage, Inference, Settings
from qviz.tflite.cutter import Cutter
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

ARENA_BYTES = 256 << 20
"""Memory for the interpreter's tensors, in bytes; enough for any model, because this machine has plenty."""
_NETWORKS = LRUCache[Any](2)


class MicroNetwork:
    """Runs one file on Micro's kernels. Raises ModelError if they refuse it."""

    def __init__(self, data: bytes) -> None:
        graph = read_graph(data)
        self._outputs = graph.outputs
        self._after: Runner | None = None
        self._between: tuple[int, ...] = graph.outputs
        last = graph.ops[-1] if graph.ops else None
        if last is not None and last.kind == POST_PROCESS:
            cutter = Cutter(data, graph)
            constants = {tensor.index for tensor in graph.tensors if tensor.constant}
            self._between = tuple(index for index in last.inputs if index is not None and index not in constants)
            after = cutter.cut((last.order,), self._between, last.outputs, {})
            data = cutter.cut(tuple(range(last.order)), graph.inputs, self._between, {})
            self._after, self._written = Runner(after, keep_all=False, kernels="reference"), last.outputs
        self._interpreter = _interpreter(data)
        self.milliseconds = 0.0

    def run(self, values: np.ndarray) -> list[np.ndarray]:
        """The outputs, in the file's order. Sets `milliseconds` to the duration of the part that Micro runs."""
        start = time.perf_counter()
        try:
            self._interpreter.set_input(values, 0)
            self._interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"fails on TensorFlow Lite Micro: {_first_line(error)}") from error
        self.milliseconds = (time.perf_counter() - start) * 1e3
        tensors = {index: self._interpreter.get_output(n).copy() for n, index in enumerate(self._between)}
        if self._after is not None:
            outputs = self._after.run([tensors[index] for index in self._between])
            tensors |= dict(zip(self._written, outputs, strict=True))
        return [tensors[index] for index in self._outputs]


def _interpreter(data: bytes) -> Any:
    from tflite_micro.python.tflite_micro import runtime

    try:
        return runtime.Interpreter.from_bytes(bytes(data), arena_size=ARENA_BYTES)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"is refused by TensorFlow Lite Micro: {_first_line(error)}") from error


def micro_job(model: Blob, settings: Settings, image: EncodedImage, score: float) -> Inference:
    """The detections of a model on one image with Micro's kernels; runs in a worker. Raises ImageError, ModelError."""
    key = model.digest, settings

    def build() -> tuple[Detector, MicroNetwork]:
        data = model.read()
        return Detector(data, settings, candidates=False), MicroNetwork(data)

    detector, network = _NETWORKS.get(key, build)
    pixels = decoded(image)
    values, placement = detector.prepare(pixels)
    inference = detector.decode(network.run(values), placement, pixels.size, score)
    return replace(inference, milliseconds=network.milliseconds)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]
