"""Calibration through our own runner: every float activation of every image, prepared exactly as for inference.

The images are split over the workers, a few a job; what they saw is joined in the images' order. One calibration serves
every recipe of its model.

What a range would clip: the share of each activation's values that lie outside of it, image by image.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import lru_cache
from itertools import islice

import numpy as np

from qviz.corruptions import corrupted
from qviz.datasets.images import read_image
from qviz.engine import Blob, Engine
from qviz.errors import ImageError, QuantizeError
from qviz.features.building.names import named_apart
from qviz.features.building.ranges import Calibration, ImageRanges, calibration_of, check_method, joined, range_of
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage, Graph, Settings, Tensor
from qviz.tflite.inputs import InputSpec, fill
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

PER_JOB = 4
"""Images a job: few enough to share the work evenly, enough to pay for the way there."""


def calibrate(
    engine: Engine,
    model: Blob,
    settings: Settings,
    images: Iterable[EncodedImage],
    method: str = "minmax",
    on_progress: OnProgress = silent,
    total: int = 0,
) -> tuple[Calibration, tuple[str, ...]]:
    """The ranges, and why images were skipped. Raises QuantizeError, ModelError, WorkerError.

    model: a float32 .tflite file. total: how many images there are, where it is known.
    """
    seen = see_ranges(engine, model, settings, images, method, on_progress, total)
    return calibration_of(seen, model.digest, method), seen.skipped


def see_ranges(
    engine: Engine,
    model: Blob,
    settings: Settings,
    images: Iterable[EncodedImage],
    method: str = "minmax",
    on_progress: OnProgress = silent,
    total: int = 0,
) -> ImageRanges:
    """What each image showed; `calibration_of` sums it up, for all images or for some. Raises QuantizeError."""
    check_method(method)
    waiting: deque[tuple[int, Future[ImageRanges]]] = deque()
    parts: list[ImageRanges] = []
    done = sent = 0
    chunks = _chunks(images)
    while True:
        for chunk in islice(chunks, 2 * engine.workers - len(waiting)):  # a stream: not all images in memory
            waiting.append((len(chunk), engine.submit(calibrate_job, model, settings, chunk, method)))
            sent += len(chunk)
        if not waiting:
            return joined(parts)
        count, job = waiting.popleft()
        parts.append(job.result())
        done += count
        on_progress(done, max(total, sent))


def _chunks(images: Iterable[EncodedImage]) -> Iterator[tuple[EncodedImage, ...]]:
    left = iter(images)
    while chunk := tuple(islice(left, PER_JOB)):
        yield chunk


def calibrate_job(
    model: Blob, settings: Settings, images: Sequence[EncodedImage], method: str = "minmax"
) -> ImageRanges:
    """In a worker: the range of every float activation on each image."""
    graph, runner = watched(model)
    rows, skipped, digests = [], [], []
    for image in images:
        try:
            runner.run([network_input(image, settings, graph.input_tensors()[0])])
        except ImageError as error:
            skipped.append(str(error))
            continue
        rows.append(ranges_now(graph, runner, method))
        digests.append(image.digest)
    return ranges_of(graph, rows, skipped, digests)


def ranges_now(graph: Graph, runner: Runner, method: str) -> list[tuple[float, float]]:
    """Of every activation, as the last run left it."""
    return [range_of(runner.tensor(tensor.index), method == "percentile") for tensor in activations(graph)]


def ranges_of(
    graph: Graph,
    rows: Sequence[list[tuple[float, float]]],
    skipped: Sequence[str] = (),
    digests: Sequence[str] = (),
) -> ImageRanges:
    """rows: `ranges_now` of each image."""
    names = tuple(tensor.name for tensor in activations(graph))
    ends = np.array(rows, np.float32).reshape(len(rows), len(names), 2)
    return ImageRanges(names, ends[..., 0], ends[..., 1], tuple(skipped), tuple(digests))


@lru_cache(maxsize=2)
def watched(model: Blob) -> tuple[Graph, Runner]:
    """Kept warm between jobs."""
    data = model.read()
    return named_apart(read_graph(data)), Runner(data, keep_all=True)


def activations(graph: Graph) -> list[Tensor]:
    """Inputs and what operators write, as far as it is float32."""
    indices = dict.fromkeys([*graph.inputs, *(index for op in graph.ops for index in op.outputs)])
    tensors = (graph.tensors[index] for index in indices)
    return [tensor for tensor in tensors if tensor.dtype == "float32" and not tensor.constant]


def network_input(image: EncodedImage, settings: Settings, tensor: Tensor) -> np.ndarray:
    """What the network is fed when it runs on the image under its shift. Raises ImageError, QuantizeError."""
    if not (settings.mean and settings.std and settings.channels and settings.resize):
        raise QuantizeError("The model's preprocessing is not known; say mean, std, channels and resize.")
    spec = InputSpec(settings.mean, settings.std, settings.channels, settings.resize)
    return fill(corrupted(read_image(image), image), spec, tensor)[0]


def hessians(data: bytes, settings: Settings, images: Sequence[EncodedImage]) -> dict[str, np.ndarray]:
    """Tensor name -> 2 X^T X / rows, mean over the images, of what FULLY_CONNECTED reads (features, features).

    Source: GPTQ, arXiv 2210.17323; litert-quantizer's `gptq.calibrate`.
    """
    graph, runner = named_apart(read_graph(data)), Runner(data, keep_all=True)
    dense = {op.inputs[0] for op in graph.ops if op.kind == "FULLY_CONNECTED"}
    read = [graph.tensors[index] for index in dense if index is not None and not graph.tensors[index].constant]
    sums: dict[str, np.ndarray] = {}
    seen = 0
    for image in images:
        try:
            runner.run([network_input(image, settings, graph.input_tensors()[0])])
        except ImageError:
            continue  # named when the ranges were measured
        seen += 1
        for tensor in read:
            rows = runner.tensor(tensor.index)
            rows = rows.reshape(-1, rows.shape[-1])
            sums[tensor.name] = sums.get(tensor.name, np.float32(0)) + (2 / len(rows)) * rows.T.dot(rows)
    return {name: (total / seen).astype(np.float32) for name, total in sums.items()}


def clipped_job(
    model: Blob, settings: Settings, images: Sequence[EncodedImage], lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """In a worker: (images, tensors) shares in [0, 1]. lows, highs: (images, tensors), as `ImageRanges` has them.

    A range whose end is NaN clips nothing. Raises ImageError where an image cannot be read.
    """
    graph, runner = watched(model)
    shares = np.zeros(lows.shape)
    for row, image in enumerate(images):
        runner.run([network_input(image, settings, graph.input_tensors()[0])])
        for column, tensor in enumerate(activations(graph)):
            values = runner.tensor(tensor.index)
            outside = (values < lows[row, column]) | (values > highs[row, column])
            shares[row, column] = outside.mean() if values.size else 0.0
    return shares
