"""Decode the head of a network from the tensors of a run that computes only some of the network's tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import numpy as np

from qviz.decoders.head import Decoded
from qviz.decoders.head_reader import HeadReader
from qviz.errors import ModelError
from qviz.structures import Settings
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.tflite.constants import stored_constant
from qviz.tflite.inputs import input_size
from qviz.tflite.paired_networks import Pair, PairedNetworks
from qviz.tflite.stepper import Stepper

Tensors = Mapping[int, np.ndarray]


class PartialHead:
    """The head of one network that is run by a `Stepper`.

    Args:
        data: Returns the bytes of the file; called only if the head reads constants of the file, such as anchors.

    Attributes:
        activations: The tensors that the head reads and a run must provide, in the file's types.
        reader: Decodes these tensors; boxes are xyxy in pixels of the network's input.
        constants: The constants that the head reads.
    """

    def __init__(self, stepper: Stepper, settings: Settings, data: Callable[[], bytes]) -> None:
        graph = stepper.graph
        self.reader = HeadReader(graph, settings, *input_size(graph.input_tensors()[0]))
        self.constants = {index: stepper.folded[index] for index in self.reader.tensors if index in stepper.folded}
        stored = [graph.tensors[index] for index in self.reader.tensors if graph.tensors[index].constant]
        contents = data() if stored else b""
        for tensor in stored:
            with suppress(ModelError):  # decoders do without a constant that cannot be read
                self.constants[tensor.index] = stored_constant(contents, tensor)
        written = {index for step in stepper.steps for index in step.outputs}
        self.activations = tuple(index for index in self.reader.tensors if index in written)

    def decode(self, tensors: Tensors, score: float, floor: float = CANDIDATE_FLOOR) -> Decoded:
        """Detections of at least `score` and candidates before NMS of at least `floor`."""
        return self.reader.decode({**self.constants, **tensors}, score, floor)


def heads_of(networks: PairedNetworks, pair: Pair) -> tuple[PartialHead, PartialHead]:
    """The heads of the reference and of the variant."""
    return (
        PartialHead(networks.reference, pair.settings[0], pair.reference.read),
        PartialHead(networks.variant, pair.settings[1], pair.variant.read),
    )
