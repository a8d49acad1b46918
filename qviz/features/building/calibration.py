"""Calibration: the range of every float activation on every image, prepared exactly as for inference.

The images are divided among the workers, a few per job, and the results are joined in the order of the images. One
calibration serves every recipe of its model.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import lru_cache
from itertools import islice

import numpy as np

from qviz.context import Context
from qviz.corruptions import corrupted
from qviz.datasets.images import read_image
from qviz.engine import Blob
from qviz.errors import ImageError, QuantizeError
from qviz.features.building.ranges import Calibration, ImageRanges, calibration_of, check_method, joined, range_of
from qviz.features.building.source import Source, with_unique_tensor_names
from qviz.structures import EncodedImage, Graph, Settings, Tensor
from qviz.tflite.inputs import InputSpec, fill
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

IMAGES_PER_JOB = 4
"""Few enough to divide the work evenly, enough to outweigh the round trip to a worker."""


def calibrate(
    context: Context, source: Source, images: Collection[EncodedImage], method: str = "minmax"
) -> Calibration:
    """The ranges of a source's activations. Raises Cancelled, QuantizeError, ModelError, WorkerError."""
    start = time.perf_counter()
    model = context.engine.share(source.float_data, source.float_digest)
    measured = measure_ranges(context, model, source.settings, images, method)
    return replace(calibration_of(measured, model.digest, method), seconds=time.perf_counter() - start)


def measure_ranges(
    context: Context, model: Blob, settings: Settings, images: Collection[EncodedImage], method: str = "minmax"
) -> ImageRanges:
    """The ranges on each image; `calibration_of` sums up all or some of them. Raises Cancelled, QuantizeError.

    model: a float32 .tflite file.
    """
    check_method(method)
    waiting: deque[tuple[int, Future[ImageRanges]]] = deque()
    parts: list[ImageRanges] = []
    done = 0
    chunks = _chunks(images)
    while True:
        for chunk in islice(chunks, 2 * context.engine.workers - len(waiting)):  # not all images in memory at once
            waiting.append((len(chunk), context.engine.submit(ranges_job, model, settings, chunk, method)))
        if not waiting:
            return joined(parts)
        count, job = waiting.popleft()
        parts.append(context.wait(job))
        done += count
        context.progress.advance(done, max(len(images), done))


def _chunks(images: Iterable[EncodedImage]) -> Iterator[tuple[EncodedImage, ...]]:
    rest = iter(images)
    while chunk := tuple(islice(rest, IMAGES_PER_JOB)):
        yield chunk


def ranges_job(model: Blob, settings: Settings, images: Sequence[EncodedImage], method: str = "minmax") -> ImageRanges:
    """In a worker: the range of every float activation on each image."""
    graph, runner = warm_runner(model)
    rows, skipped, digests = [], [], []
    for image in images:
        try:
            runner.run([network_input(image, settings, graph.input_tensors()[0])])
        except ImageError as error:
            skipped.append(str(error))
            continue
        rows.append(ranges_of_last_run(graph, runner, method))
        digests.append(image.digest)
    return image_ranges(graph, rows, skipped, digests)


def ranges_of_last_run(graph: Graph, runner: Runner, method: str) -> list[tuple[float, float]]:
    """(low, high) of every activation."""
    return [range_of(runner.tensor(tensor.index), method == "percentile") for tensor in activations(graph)]


def image_ranges(
    graph: Graph,
    rows: Sequence[list[tuple[float, float]]],
    skipped: Sequence[str] = (),
    digests: Sequence[str] = (),
) -> ImageRanges:
    """rows: `ranges_of_last_run` of each image."""
    names = tuple(tensor.name for tensor in activations(graph))
    ends = np.array(rows, np.float32).reshape(len(rows), len(names), 2)
    return ImageRanges(names, ends[..., 0], ends[..., 1], tuple(skipped), tuple(digests))


@lru_cache(maxsize=2)
def warm_runner(model: Blob) -> tuple[Graph, Runner]:
    """The graph and a runner that keeps all tensors; reused by the next job on this model."""
    data = model.read()
    return with_unique_tensor_names(read_graph(data)), Runner(data, keep_all=True)


def activations(graph: Graph) -> list[Tensor]:
    """Inputs and outputs of operators that are float32."""
    indices = dict.fromkeys([*graph.inputs, *(index for op in graph.ops for index in op.outputs)])
    tensors = (graph.tensors[index] for index in indices)
    return [tensor for tensor in tensors if tensor.dtype == "float32" and not tensor.constant]


def network_input(image: EncodedImage, settings: Settings, tensor: Tensor) -> np.ndarray:
    """The image as the network reads it, with its corruption applied. Raises ImageError, QuantizeError."""
    if not (settings.mean and settings.std and settings.channels and settings.resize):
        raise QuantizeError("The model's preprocessing is unknown; give mean, std, channels and resize.")
    spec = InputSpec(settings.mean, settings.std, settings.channels, settings.resize)
    return fill(corrupted(read_image(image), image), spec, tensor)[0]


def hessians(data: bytes, settings: Settings, images: Sequence[EncodedImage]) -> dict[str, np.ndarray]:
    """Tensor name -> 2 XᵀX / rows of each input of a FULLY_CONNECTED, mean over the images; (features, features).

    Source: GPTQ, arXiv 2210.17323; litert-quantizer's `gptq.calibrate`.
    """
    graph, runner = with_unique_tensor_names(read_graph(data)), Runner(data, keep_all=True)
    dense = {op.inputs[0] for op in graph.ops if op.kind == "FULLY_CONNECTED"}
    inputs = [graph.tensors[index] for index in dense if index is not None and not graph.tensors[index].constant]
    sums: dict[str, np.ndarray] = {}
    count = 0
    for image in images:
        try:
            runner.run([network_input(image, settings, graph.input_tensors()[0])])
        except ImageError:
            continue  # reported when the ranges were measured
        count += 1
        for tensor in inputs:
            rows = runner.tensor(tensor.index)
            rows = rows.reshape(-1, rows.shape[-1])
            sums[tensor.name] = sums.get(tensor.name, np.float32(0)) + (2 / len(rows)) * rows.T.dot(rows)
    return {name: (total / count).astype(np.float32) for name, total in sums.items()}


def clipped_job(
    model: Blob, settings: Settings, images: Sequence[EncodedImage], lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """In a worker: the share of each activation's values outside its range, (images, tensors) in [0, 1].

    lows, highs: (images, tensors), as in `ImageRanges`. A range whose end is NaN clips nothing. Raises ImageError where
    an image cannot be read.
    """
    graph, runner = warm_runner(model)
    shares = np.zeros(lows.shape)
    for row, image in enumerate(images):
        runner.run([network_input(image, settings, graph.input_tensors()[0])])
        for column, tensor in enumerate(activations(graph)):
            values = runner.tensor(tensor.index)
            outside = (values < lows[row, column]) | (values > highs[row, column])
            shares[row, column] = outside.mean() if values.size else 0.0
    return shares
