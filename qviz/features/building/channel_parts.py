"""Rewrite a float32 .tflite file so that the channels of chosen regions are computed in two parts.

quiet, loud     two sets of channels of a region (`channel_regions`). Each of them gets tensors of its own, and so a
                scale of its own once the file is quantized

The first convolution of a region becomes two, with the rows of its weights that write the quiet or the loud channels.
All operators of the region are written twice. Each convolution at the end becomes two, with the columns of its weights
that read the quiet or the loud channels, and an ADD, which has the fused activation. The bias stays in the second; the
first has a bias of zeros, because some runtimes need one. The network computes the same: only the order in which float
products are summed changes.

New tensors are named after the tensor that they are a part of, with one of these endings:

/quiet, /loud               the channels of one part
/from_quiet, /from_loud     the sums over the channels of one part, before they are added
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.features.building.channel_regions import Region
from qviz.features.building.recipes import bias_of, weights_of
from qviz.structures import Graph, Op
from qviz.tflite.constants import operator_options, stored_constant
from qviz.tflite.edit import add_constant, add_tensor, binary_operator, packed, unpacked, without_unused

ENDINGS = ("quiet", "loud")
_ENDING = re.compile(r"(/(from_)?(quiet|loud))+(?=#\d+$|$)")


def whole_name(name: str) -> str:
    """The name of the tensor that a tensor is a part of; the name itself if it is no part.

    >>> whole_name("conv/quiet/from_loud")
    'conv'
    """
    return _ENDING.sub("", name)


@dataclass(frozen=True, slots=True)
class Part:
    """Some channels of a tensor. tensor: index in the new file; channels: indices in the tensor of the given file."""

    tensor: int
    channels: np.ndarray


def in_parts(data: bytes, graph: Graph, quiet: Sequence[tuple[Region, np.ndarray]]) -> tuple[bytes, tuple[int, ...]]:
    """Compute the channels of some regions in two parts.

    Args:
        graph: The graph of `data`.
        quiet: The regions, and for each (channels,) bool: whether a channel of its first convolution is quiet. Both
            parts have at least one channel.

    Returns:
        The file without appended files, and for each of its operators the index in the given file of the operator that
        it is a part of.
    """
    writer = _Writer(data, graph, quiet)
    return writer.written()


class _Writer:
    """Writes the operators of the new file one after another."""

    def __init__(self, data: bytes, graph: Graph, quiet: Sequence[tuple[Region, np.ndarray]]) -> None:
        self._data, self._graph, self._model = data, graph, unpacked(data)
        self._options = operator_options(data)
        self._parts: dict[int, tuple[Part, ...]] = {}
        for region, chosen in quiet:
            for tensor, repeats in region.repeats.items():
                mask = np.repeat(chosen, repeats)
                channels = np.flatnonzero(mask), np.flatnonzero(~mask)
                names = (f"{graph.tensors[tensor].name}/{ending}" for ending in ENDINGS)
                self._parts[tensor] = tuple(
                    Part(self._tensor(name, tensor, len(some)), some)
                    for name, some in zip(names, channels, strict=True)
                )

    def written(self) -> tuple[bytes, tuple[int, ...]]:
        """(the file, for each operator the index of the operator of the given file)."""
        operators, origins = [], []
        subgraph = self._model.subgraphs[0]
        for op, old in zip(self._graph.ops, subgraph.operators, strict=True):
            new = self._operators(op, old)
            operators += new
            origins += [op.order] * len(new)
        subgraph.operators = operators
        return packed(without_unused(self._model)), tuple(origins)

    def _operators(self, op: Op, old: Any) -> list[Any]:
        is_split = not self._parts.keys().isdisjoint(op.outputs) or not self._parts.keys().isdisjoint(op.inputs)
        if not is_split:
            return [old]
        if op.kind == "CONV_2D":
            return [new for output in self._parts_of(op.outputs[0]) for new in self._convolution(op, old, output)]
        return [self._copy(op, old, side) for side in range(len(ENDINGS))]

    def _parts_of(self, tensor: int) -> tuple[Part, ...]:
        """The parts of a tensor; the whole tensor as its only part if it is not split."""
        return self._parts.get(tensor) or (Part(tensor, np.arange(self._graph.tensors[tensor].shape[-1])),)

    def _convolution(self, op: Op, old: Any, output: Part) -> list[Any]:
        """The convolutions that write one part of the output, and an ADD if they read two parts of the input."""
        weights, bias = weights_of(self._graph, op), bias_of(self._graph, op)
        assert weights is not None
        rows = stored_constant(self._data, weights)[output.channels]
        inputs = self._parts_of(op.inputs[0] or 0)
        operators, sums = [], []
        for number, part in enumerate(inputs):
            new, target = copy(old), output.tensor
            new.inputs = [part.tensor, self._constant(weights.name, rows[..., part.channels])]
            if bias is not None:
                values = stored_constant(self._data, bias)[output.channels]
                new.inputs.append(self._constant(bias.name, values * np.float32(number == len(inputs) - 1)))
            if len(inputs) > 1:
                name = self._model.subgraphs[0].tensors[output.tensor].name.decode()
                target = self._tensor(f"{name}/from_{ENDINGS[number]}", output.tensor, len(output.channels))
                new.builtinOptions = copy(old.builtinOptions)
                new.builtinOptions.fusedActivationFunction = 0
                sums.append(target)
            new.outputs = [target]
            operators.append(new)
        if sums:
            activation = str(self._options[op.order]["fusedActivationFunction"])
            operators.append(binary_operator(self._model, "ADD", sums, output.tensor, activation))
        return operators

    def _copy(self, op: Op, old: Any, side: int) -> Any:
        """An operator of a region for one of the two parts."""
        new = copy(old)
        new.inputs = []
        for index in op.inputs:
            if index in self._parts:
                new.inputs.append(self._parts[index][side].tensor)
            elif index is None:
                new.inputs.append(-1)
            else:
                new.inputs.append(self._constant_of(op, index, side))
        new.outputs = [self._parts[op.outputs[0]][side].tensor]
        return new

    def _constant_of(self, op: Op, index: int, side: int) -> int:
        """A constant of an operator, with the values of one part if it has one per channel."""
        tensor = self._graph.tensors[index]
        if tensor.dtype != "float32" or not tensor.shape or tensor.shape[-1] == 1:
            return index
        channels = self._parts[op.outputs[0]][side].channels
        return self._constant(tensor.name, stored_constant(self._data, tensor)[..., channels])

    def _tensor(self, name: str, like: int, channels: int) -> int:
        index = add_tensor(self._model, name, like)
        self._model.subgraphs[0].tensors[index].shape[-1] = channels
        return index

    def _constant(self, name: str, values: np.ndarray) -> int:
        return add_constant(self._model, name, values)
