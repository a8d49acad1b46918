"""Calibration: the range of every float activation on every image, and one range per tensor for the quantizer.

Images are prepared exactly as for inference. They are divided among the workers, a few per job, and the results are
joined in the order of the images. One calibration serves every recipe of its model.

Each image yields two numbers per tensor, the ends of its range. They are kept for every image (1 MB for 500 images), so
that the method that combines them can be chosen afterwards without running the network again:

mean            from the mean of the images' smallest values to the mean of their largest values. The order of the
                images does not matter. For the network's inputs and for tensors of fewer than `FEW` values, minmax is
                used instead, because the mean would clip pixels, or too large a share of few values
minmax          smallest and largest value over all images: one unusual image makes the steps coarse for all others
moving_average  low <- 0.95 low + 0.05 low of the next image, as litert-quantizer does; the order of the images matters
percentile      like mean, but of each image's quantiles instead of its smallest and largest value, so that single
                outliers do not matter

Values that are not finite are left out, as are values beyond 3e38 (paddings with "minus infinity").
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from qviz.context import Context
from qviz.corruptions import corrupted
from qviz.datasets.images import read_image
from qviz.engine import Blob
from qviz.errors import ImageError, QuantizeError
from qviz.features.building.source import Source, with_unique_tensor_names
from qviz.structures import EncodedImage, Graph, Settings, Tensor, digest_of, digest_of_json
from qviz.tflite.inputs import InputSpec, fill
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

METHODS = {
    "mean": "mean of the images' smallest and largest values",
    "minmax": "smallest and largest value",
    "moving_average": "moving average over the images",
    "percentile": "99.99% of the values",
}
"""Methods that combine the ranges of the images -> a short description."""
DEFAULT_METHOD = "mean"
"""Chosen by measurement: `docs/cures.md`, `python -m benchmarks range_methods`."""
SMOOTHING = 0.95
PERCENTILE = 99.99
"""Percentage of a tensor's values below the upper end of its range; as many are above the lower end."""
MAX_PERCENTILE_VALUES = 1 << 17
"""Maximum number of values of one tensor, spread evenly over it, from which a percentile is computed."""
BLOCK = 64
FEW = 4096
LARGEST = 3e38


@dataclass(frozen=True, slots=True, eq=False)
class ImageRanges:
    """Ranges of every activation on every image.

    Attributes:
        names: (tensors,) names of the activations.
        lows, highs: (images, tensors) float32, NaN where a tensor had no finite value on an image.
        skipped: A sentence for each image that could not be read.
        digests: Digests of the images that were read, in the order of the rows.
        whole: Names of tensors for which the method `mean` takes the smallest and largest value over all images.
    """

    names: tuple[str, ...]
    lows: np.ndarray
    highs: np.ndarray
    skipped: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    whole: frozenset[str] = frozenset()

    @property
    def images(self) -> int:
        return len(self.lows)

    def of(self, rows: Sequence[int]) -> ImageRanges:
        """The ranges of some of the images, in this order."""
        chosen = list(rows)
        digests = tuple(self.digests[row] for row in chosen) if self.digests else ()
        return ImageRanges(self.names, self.lows[chosen], self.highs[chosen], (), digests, self.whole)


def joined(parts: Sequence[ImageRanges]) -> ImageRanges:
    """The ranges that several workers measured on one model, joined in the order of `parts`."""
    if not parts:
        return ImageRanges((), np.zeros((0, 0), np.float32), np.zeros((0, 0), np.float32))
    if any(part.names != parts[0].names for part in parts):
        raise ValueError("ranges of different models cannot be joined")
    return ImageRanges(
        parts[0].names,
        np.concatenate([part.lows for part in parts]),
        np.concatenate([part.highs for part in parts]),
        tuple(sentence for part in parts for sentence in part.skipped),
        tuple(digest for part in parts for digest in part.digests),
        parts[0].whole,
    )


def range_of(values: np.ndarray, use_quantiles: bool) -> tuple[float, float]:
    """(lowest, highest) finite value of one tensor, or two quantiles instead; (NaN, NaN) if no value is finite."""
    if use_quantiles:
        flat = values.reshape(-1)
        flat = flat[:: -(-flat.size // MAX_PERCENTILE_VALUES) or 1]
        flat = flat[np.abs(flat) < LARGEST]
        if not flat.size:
            return math.nan, math.nan
        return _low_quantile(flat), -_low_quantile(-flat)
    low, high = (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)
    if abs(low) < LARGEST and abs(high) < LARGEST:  # false for NaN
        return low, high
    finite = values[np.abs(values) < LARGEST]
    return (float(finite.min()), float(finite.max())) if finite.size else (math.nan, math.nan)


def _low_quantile(values: np.ndarray) -> float:
    """The value above which `PERCENTILE` per cent of the values lie, as `numpy.quantile` interpolates it.

    This is ten times as fast as `numpy.quantile`, because it only sorts values that can be among the k smallest. The
    values are divided into blocks; the k smallest values do not exceed the k-th smallest of the blocks' minima.
    """
    position = (1 - PERCENTILE / 100) * (values.size - 1)
    before = int(position)
    needed, blocks = before + 2, values.size // BLOCK
    if blocks > needed:
        minima = values[: blocks * BLOCK].reshape(BLOCK, blocks).min(axis=0)
        bound = np.partition(minima, needed - 1)[needed - 1]
        values = np.append(values[values < bound], np.full(needed, bound))
    smallest = np.sort(values)[:needed].astype(np.float64)
    after = min(before + 1, len(smallest) - 1)
    return float(smallest[before] + (smallest[after] - smallest[before]) * (position - before))


@dataclass(frozen=True, slots=True)
class Calibration:
    """One range per tensor, for the quantizer.

    Attributes:
        ranges: Tensor name -> (low, high).
        images: Number of images on which the ranges were measured.
        method: Method that combined the images' ranges, a name in `METHODS`.
        model: Digest of the float32 .tflite file on which they were measured.
        extremes: Tensor name -> (smallest, largest) value on any image. 16-bit activations use these ranges, because
            their steps are fine enough. Empty if read from a file that an earlier version of qviz wrote.
        skipped: A sentence for each image that could not be read.
        seconds: Duration of the measurement; None if the ranges were read from a file.
    """

    ranges: dict[str, tuple[float, float]]
    images: int
    method: str
    model: str
    extremes: dict[str, tuple[float, float]] = field(default_factory=dict)
    skipped: tuple[str, ...] = field(default=(), compare=False)
    seconds: float | None = field(default=None, compare=False)

    @property
    def digest(self) -> str:
        """SHA-256 of the document that `to_json` returns."""
        return digest_of_json(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The JSON document that `qviz quantize --save-ranges` writes."""
        ranges, extremes = ({name: list(ends) for name, ends in rows.items()} for rows in (self.ranges, self.extremes))
        facts = {"model": self.model, "method": self.method, "images": self.images}
        return {**facts, "ranges": ranges, "extremes": extremes}

    @classmethod
    def from_json(cls, document: Any, where: str) -> Calibration:
        """The ranges in a document that `to_json` returned. Raises QuantizeError for any other document."""
        try:
            ranges, extremes = (
                {str(name): (float(low), float(high)) for name, (low, high) in rows.items()}
                for rows in (document["ranges"], document.get("extremes", {}))
            )
            facts = int(document["images"]), str(document["method"]), str(document["model"])
            calibration = cls(ranges, *facts, extremes)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QuantizeError(f"{where} is not a file written by qviz quantize --save-ranges.") from error
        ends = [*ranges.values(), *extremes.values()]
        if not all(math.isfinite(low) and math.isfinite(high) and low <= high for low, high in ends):
            raise QuantizeError(f"{where} has a range that is not finite, or whose minimum is above its maximum.")
        return calibration


def check_method(method: str) -> None:
    """Raise QuantizeError if the method is not in `METHODS`."""
    if method not in METHODS:
        raise QuantizeError(f"{method!r} is not a method for ranges; choose one of {', '.join(METHODS)}.")


def calibration_of(measured: ImageRanges, model: str, method: str = "minmax") -> Calibration:
    """One range per tensor, computed from the ranges of the images. Tensors of the same name share one range.

    Args:
        model: Digest of the float32 .tflite file.

    Raises:
        QuantizeError: No image could be read, or the method is unknown.
    """
    check_method(method)
    if not measured.images:
        raise QuantizeError(f"No calibration image could be read. {' '.join(measured.skipped[:3])}".strip())
    ranges: dict[str, tuple[float, float]] = {}
    extremes: dict[str, tuple[float, float]] = {}
    for name, lows, highs in zip(measured.names, measured.lows.T, measured.highs.T, strict=True):
        finite = np.isfinite(lows) & np.isfinite(highs)
        if finite.any():
            chosen = "minmax" if method == "mean" and name in measured.whole else method
            for rows, how in ((ranges, chosen), (extremes, "minmax")):
                low, high = _summed_up(lows[finite], highs[finite], how)
                first = rows.get(name, (low, high))
                rows[name] = (min(low, first[0]), max(high, first[1]))
    return Calibration(ranges, measured.images, method, model, extremes, measured.skipped)


def _summed_up(lows: np.ndarray, highs: np.ndarray, method: str) -> tuple[float, float]:
    """(low, high) of one tensor, from its ranges on all images. lows, highs: (images,)."""
    if method == "minmax":
        return float(lows.min()), float(highs.max())
    if method in ("mean", "percentile"):
        return float(lows.mean(dtype=np.float64)), float(highs.mean(dtype=np.float64))
    return _moving_average(lows), _moving_average(highs)


def _moving_average(values: np.ndarray) -> float:
    mean = float(values[0])
    for value in values[1:]:
        mean = SMOOTHING * mean + (1 - SMOOTHING) * float(value)
    return mean


IMAGES_PER_JOB = 4
"""Images per job: few, so that all workers get equal work, but enough to outweigh sending a job to a worker."""


def calibrate(
    context: Context, source: Source, images: Collection[EncodedImage], method: str = DEFAULT_METHOD
) -> Calibration:
    """Measure the ranges of a source's activations. Raises Cancelled, QuantizeError, ModelError, WorkerError."""
    start = time.perf_counter()
    model = context.engine.share(source.float_data, source.float_digest)
    measured = measure_ranges(context, model, source.settings, images, method)
    return replace(calibration_of(measured, model.digest, method), seconds=time.perf_counter() - start)


def measure_ranges(
    context: Context, model: Blob, settings: Settings, images: Collection[EncodedImage], method: str = "minmax"
) -> ImageRanges:
    """Measure the ranges of all activations on each image; `calibration_of` combines them.

    model: a float32 .tflite file. Raises Cancelled, QuantizeError.
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
    """The range of every float activation on each image; runs in a worker."""
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


def ranges_on(data: bytes, inputs: Iterable[np.ndarray], method: str = DEFAULT_METHOD) -> Calibration:
    """Measure the ranges of a float32 file's activations on inputs of the network. Raises ModelError."""
    graph, runner = with_unique_tensor_names(read_graph(data)), Runner(data)
    rows = []
    for values in inputs:
        runner.run([values])
        rows.append(ranges_of_last_run(graph, runner, method))
    return calibration_of(image_ranges(graph, rows), digest_of(data), method)


def ranges_of_last_run(graph: Graph, runner: Runner, method: str) -> list[tuple[float, float]]:
    """(low, high) of every activation in the last run of the runner."""
    return [range_of(runner.tensor(tensor.index), method == "percentile") for tensor in activations(graph)]


def image_ranges(
    graph: Graph,
    rows: Sequence[list[tuple[float, float]]],
    skipped: Sequence[str] = (),
    digests: Sequence[str] = (),
) -> ImageRanges:
    """The ranges of several images in one object. rows: for each image, the result of `ranges_of_last_run`."""
    names = tuple(tensor.name for tensor in activations(graph))
    ends = np.array(rows, np.float32).reshape(len(rows), len(names), 2)
    small = (tensor.name for tensor in activations(graph) if math.prod(tensor.shape) < FEW)
    whole = frozenset([*(tensor.name for tensor in graph.input_tensors()), *small])
    return ImageRanges(names, ends[..., 0], ends[..., 1], tuple(skipped), tuple(digests), whole)


@lru_cache(maxsize=2)
def warm_runner(model: Blob) -> tuple[Graph, Runner]:
    """(graph, runner that preserves all tensors) of a model; cached for the next job of this worker."""
    data = model.read()
    return with_unique_tensor_names(read_graph(data)), Runner(data, keep_all=True)


def activations(graph: Graph) -> list[Tensor]:
    """The float32 tensors that operators read or write, without constants."""
    indices = dict.fromkeys([*graph.inputs, *(index for op in graph.ops for index in op.outputs)])
    tensors = (graph.tensors[index] for index in indices)
    return [tensor for tensor in tensors if tensor.dtype == "float32" and not tensor.constant]


def network_input(image: EncodedImage, settings: Settings, tensor: Tensor) -> np.ndarray:
    """The values of the input tensor for an image, with its corruption applied. Raises ImageError, QuantizeError."""
    if not (settings.mean and settings.std and settings.channels and settings.resize):
        raise QuantizeError("The model's preprocessing is unknown; give mean, std, channels and resize.")
    spec = InputSpec(settings.mean, settings.std, settings.channels, settings.resize)
    return fill(corrupted(read_image(image), image), spec, tensor)[0]


def hessians(data: bytes, settings: Settings, images: Sequence[EncodedImage]) -> dict[str, np.ndarray]:
    """Name of a FULLY_CONNECTED's input X -> 2 XᵀX / rows, (features, features), mean over the images.

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
            continue  # already reported when the ranges were measured
        count += 1
        for tensor in inputs:
            rows = runner.tensor(tensor.index)
            rows = rows.reshape(-1, rows.shape[-1])
            sums[tensor.name] = sums.get(tensor.name, np.float32(0)) + (2 / len(rows)) * rows.T.dot(rows)
    return {name: (total / count).astype(np.float32) for name, total in sums.items()}


def clipped_job(
    model: Blob, settings: Settings, images: Sequence[EncodedImage], lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """The share of each activation's values outside its range, (images, tensors) in [0, 1]; runs in a worker.

    lows, highs: (images, tensors), as in `ImageRanges`. A range with a NaN end clips nothing. Raises ImageError if an
    image cannot be read.
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
