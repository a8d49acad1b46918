"""Ranges measured on random numbers instead of images, as tutorials do: to see what that costs.

numpy.random.rand(...)   uniform in [0, 1), whatever the network reads
the whole range          uniform between what black and white pixels become, channel by channel
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.engine import Blob, Engine
from qviz.errors import QuantizeError
from qviz.quantize.calibration import PER_JOB, ranges_now, ranges_of, watched
from qviz.quantize.ranges import ImageRanges, check_method, joined
from qviz.structures import Settings
from qviz.tflite.inputs import channels_last

Triple = tuple[float, float, float]
UNIT: tuple[Triple, Triple] = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def input_range(settings: Settings) -> tuple[Triple, Triple]:
    """(lowest, highest) that pixels of 0 and 255 become, a channel each. Raises QuantizeError."""
    if not (settings.mean and settings.std):
        raise QuantizeError("The model's normalisation is not known; say mean and std.")
    pairs = list(zip(settings.mean, settings.std, strict=True))
    black, white = ([(pixel - mean) / std for mean, std in pairs] for pixel in (0.0, 255.0))
    lows, highs = ([choose(pair) for pair in zip(black, white, strict=True)] for choose in (min, max))
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def noise_ranges(
    engine: Engine, model: Blob, ends: tuple[Triple, Triple], count: int, method: str = "minmax", seed: int = 0
) -> ImageRanges:
    """What `count` inputs of uniform noise between `ends` show. Raises QuantizeError, WorkerError."""
    check_method(method)
    seeds = [(seed, number) for number in range(count)]
    parts = [seeds[i : i + PER_JOB] for i in range(0, count, PER_JOB)]
    return joined([job.result() for job in [engine.submit(noise_job, model, ends, part, method) for part in parts]])


def noise_job(
    model: Blob, ends: tuple[Triple, Triple], seeds: Sequence[tuple[int, int]], method: str = "minmax"
) -> ImageRanges:
    """In a worker: the ranges of every float activation on one input a seed."""
    graph, runner = watched(model)
    tensor = graph.input_tensors()[0]
    last = channels_last(tensor)
    channels = tensor.shape[-1 if last else 1]
    shape = (channels,) if last else (channels, 1, 1)
    low, high = (np.array(end, np.float32)[:channels].reshape(shape) for end in ends)
    rows = []
    for seed in seeds:
        values = np.random.default_rng(seed).random(tensor.shape, np.float32) * (high - low) + low
        runner.run([values.astype(tensor.dtype)])
        rows.append(ranges_now(graph, runner, method))
    return ranges_of(graph, rows)
