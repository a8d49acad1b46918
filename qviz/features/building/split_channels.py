"""Compute quiet and loud channels in two parts, so that quiet channels get a scale of their own.

An activation of an int8 file has one scale. If some channels are much larger than others, few of the 256 steps are left
for the small ones. Equalization cannot help where SiLU, HARD_SWISH or ReLU6 follows a convolution; a split can, because
the operators stay the same. `channel_regions` says where channels can be split, `channel_parts` how the file changes.

`channel_division` chooses the quiet channels of a region and predicts the gain. If the prediction is high enough, the
region is built twice as an int8 file of its own, whole and in two parts, with ranges from two thirds of the images. The
split is used if the SQNR of the region's outputs on the other images grows by at least `MIN_GAIN_DB`. The files run on
the real integer kernels, so the rounding of the two partial sums is in this figure, too.

A split costs operators: the region's operators run twice, and an ADD follows each convolution at its end. The number
of multiplications stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from qviz.errors import QuantizeError
from qviz.features.building.build import int8_file
from qviz.features.building.calibration import ranges_on
from qviz.features.building.channel_division import divided
from qviz.features.building.channel_parts import in_parts
from qviz.features.building.channel_regions import Region, find_regions
from qviz.features.building.equalize import CONVOLUTIONS, TOLERANCE
from qviz.features.building.error_measures import end_tensors, largest_difference, mean_sqnr_db, tensor_values
from qviz.features.building.rounding import MAX_BYTES, MIN_GAIN_DB, in_groups
from qviz.features.building.source import with_associated_files
from qviz.formatting import plural
from qviz.structures import Graph, Tensor
from qviz.tflite.constants import operator_options
from qviz.tflite.cutter import Cutter
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph


@dataclass(frozen=True, slots=True)
class ChannelSplit:
    """A region whose channels were split.

    Attributes:
        convolutions: Orders of the convolutions whose outputs were split: the first one, and depthwise ones after it.
        ends: Orders of the convolutions that add the two parts.
        quiet, channels: Number of quiet channels, and of all channels, of the first convolution.
        gain_db: Growth of the SQNR of the ends' outputs on held-out images, as the mean over their channels.
        operators, additions, bytes: What the split adds: operators, additions per image, and bytes of an int8 file.
    """

    convolutions: tuple[int, ...]
    ends: tuple[int, ...]
    quiet: int
    channels: int
    gain_db: float
    operators: int
    additions: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SplitChannels:
    """The result of `split_channels`.

    Attributes:
        data: The changed float32 file; the given bytes if nothing was changed.
        origins: For each operator of the changed file, the order in the given file of the operator that it is a part
            of; empty if nothing was changed.
        splits: The regions that were split.
        even: Orders of convolutions for which no gain of `MIN_GAIN_DB` is predicted.
        declined: Orders of convolutions whose split was tried and gained less -> the gain in dB on held-out images.
        refused: Orders of convolutions that cannot be split -> the reason.
        difference: Largest difference of the outputs before and after, relative to the largest output.
    """

    data: bytes = field(repr=False)
    origins: tuple[int, ...] = field(default=(), repr=False)
    splits: tuple[ChannelSplit, ...] = ()
    even: tuple[int, ...] = ()
    declined: Mapping[int, float] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    difference: float = 0.0

    def __str__(self) -> str:
        changed = sum(len(split.convolutions) for split in self.splits)
        total = changed + len(self.even) + len(self.declined) + len(self.refused)
        sentence = (
            f"Quiet and loud channels of {changed} of {plural(total, 'convolution')} were split (no gain expected:"
            f" {len(self.even)}; tried without gain: {len(self.declined)}; not possible: {len(self.refused)})."
        )
        if not self.splits:
            return sentence
        gain = np.median([split.gain_db for split in self.splits])
        operators, additions, size = (
            sum(getattr(split, name) for split in self.splits) for name in ("operators", "additions", "bytes")
        )
        return (
            f"{sentence} The SQNR after them rose by {gain:.1f} dB (median). They cost {plural(operators, 'operator')},"
            f" {additions:,} additions per image and about {size:,} bytes; multiplications stay as many."
        )


def split_channels(data: bytes, inputs: Sequence[np.ndarray]) -> SplitChannels:
    """Split the quiet and loud channels of a float32 .tflite file that int8 will be built from.

    It needs litert-quantizer, which builds each region to measure it.

    Args:
        inputs: The network's input for at least two images, each in the shape and type of the input tensor; every third
            image is held out.

    Raises:
        ModelError: The file cannot be read or run.
        ValueError: There are fewer than two inputs.

    Example:
        >>> result = split_channels(float32, inputs)
        >>> [(split.quiet, split.channels) for split in result.splits]
        [(13, 16)]
    """
    if len(inputs) < 2:
        raise ValueError("splitting channels needs the inputs of at least two images: some are held out")
    graph = read_graph(data)
    regions, refused = find_regions(graph, operator_options(data))
    cutter = Cutter(data, graph)
    chosen: list[tuple[Region, np.ndarray]] = []
    splits: list[ChannelSplit] = []
    even: list[int] = []
    declined: dict[int, float] = {}

    def bytes_of_inputs(region: Region) -> int:
        return 4 * len(inputs) * _count(graph.tensors[_entry(region)])

    for group in in_groups(regions, bytes_of_inputs, MAX_BYTES):
        values = _tensors(data, {_entry(region) for region in group}, inputs)
        for region in group:
            trial = _Trial(cutter, graph, region, values[_entry(region)])
            if trial.predicted_db < MIN_GAIN_DB:
                even += trial.convolutions
                continue
            try:
                split = trial.measured()
            except QuantizeError as error:
                refused |= dict.fromkeys(trial.convolutions, str(error))
                continue
            if not split.gain_db >= MIN_GAIN_DB:
                declined |= dict.fromkeys(trial.convolutions, split.gain_db)
                continue
            splits.append(split)
            chosen.append((region, trial.quiet))
    if not chosen:
        return SplitChannels(data, (), (), tuple(even), declined, refused)
    changed, origins = in_parts(data, graph, chosen)
    difference = _difference(data, graph, changed, inputs)
    if difference is None:
        refused |= {order: "the outputs would change" for split in splits for order in split.convolutions}
        return SplitChannels(data, (), (), tuple(even), declined, refused)
    result = with_associated_files(changed, data)
    return SplitChannels(result, origins, tuple(splits), tuple(even), declined, refused, difference)


def _difference(data: bytes, graph: Graph, changed: bytes, inputs: Sequence[np.ndarray]) -> float | None:
    """Largest relative difference of the outputs; None if it is too large.

    A large network magnifies the different order of the float sums: YOLOX-nano's outputs change by 1.1e-4 if its first
    region is split, whose own outputs change by 2e-7. More than `TOLERANCE` is therefore permitted if the unchanged
    file's outputs differ as much between two sets of float kernels.
    """
    ends = end_tensors(graph)
    difference = largest_difference(data, changed, inputs, ends, end_tensors(read_graph(changed)))
    if difference <= TOLERANCE or difference <= largest_difference(data, data, inputs, ends, kernels="builtin"):
        return difference
    return None


def _count(tensor: Tensor) -> int:
    """Number of values of a tensor; sides that the file leaves open count as 1."""
    return prod(max(side, 1) for side in tensor.shape)


def _entry(region: Region) -> int:
    """The tensor that the region reads."""
    return region.first.inputs[0] or 0


def _tensors(data: bytes, tensors: set[int], inputs: Sequence[np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Tensor -> its values for each input."""
    runner = Runner(data)
    values: dict[int, list[np.ndarray]] = {tensor: [] for tensor in tensors}
    for row in inputs:
        runner.run([row])
        for tensor in tensors:
            values[tensor].append(runner.tensor(tensor))
    return values


class _Trial:
    """A region as a small network of its own, whose channels are divided into quiet and loud ones.

    Attributes:
        convolutions: Orders, in the whole network, of the convolutions whose outputs a split would divide.
        quiet: (channels,) bool: whether a channel of the first convolution is quiet.
        predicted_db: Predicted gain of the SQNR of the region's outputs.
    """

    def __init__(self, cutter: Cutter, graph: Graph, region: Region, values: Sequence[np.ndarray]) -> None:
        writers = region.first, *region.inner
        self.convolutions = tuple(op.order for op in writers if op.kind in CONVOLUTIONS)
        self._ends = tuple(op.order for op in region.ends)
        self._data = cutter.cut(region.orders, [_entry(region)], [op.outputs[0] for op in region.ends])
        self._graph = read_graph(self._data)
        regions, _ = find_regions(self._graph, operator_options(self._data))
        self._region = next(part for part in regions if part.first.order == 0)
        self._validation = [row for number, row in enumerate(values) if number % 3 == 1]
        self._inputs = [row for number, row in enumerate(values) if number % 3 != 1]
        self.quiet, self.predicted_db = divided(self._data, self._graph, self._region, self._inputs)

    def measured(self) -> ChannelSplit:
        """The split with its gain on held-out images and its costs. Raises QuantizeError."""
        parts, origins = in_parts(self._data, self._graph, [(self._region, self.quiet)])
        true = tensor_values(self._data, self._graph, self._graph.outputs, self._validation)
        files = [int8_file(file, ranges_on(file, self._inputs)) for file in (self._data, parts)]
        before, after = (
            mean_sqnr_db(true, tensor_values(file, graph, graph.outputs, self._validation))
            for file in files
            for graph in [read_graph(file)]
        )
        return ChannelSplit(
            self.convolutions,
            self._ends,
            int(self.quiet.sum()),
            len(self.quiet),
            after - before,
            len(origins) - len(self._graph.ops),
            sum(_count(tensor) for tensor in self._graph.output_tensors()),
            len(files[1]) - len(files[0]),
        )
