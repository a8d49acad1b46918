"""What a training is: recipe, steps, batch, learning rate, seed; and what of a network can be trained at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from qviz.decoders import fitting
from qviz.errors import QuantizeError
from qviz.features.building.conditions import check
from qviz.features.building.names import named_apart
from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import Options, Recipe
from qviz.features.training.fake_quant import CHANNEL_AXIS
from qviz.features.training.keras_graph import check_trainable, needed
from qviz.structures import Graph, Scheme, Settings
from qviz.tflite.inputs import input_size

STEPS = 240
MOST_STEPS = 100_000
RATE, FINE_RATE = 1e-3, 1e-4
"""Adam's learning rate, in units of each channel's largest weight, for weights of less than 8 bits and of 8: what moves
by much less than a step of the grid is lost, what moves by many is noise. It rises at first and falls to 0."""
WARM_UP = 20
_PIXELS = 8 * 300 * 300
"""Of one batch: 8 images of 300 x 300 take 3.5 GB while they are trained on."""
LARGEST_BATCH, SMALLEST_BATCH = 16, 2
WITH_OBJECTNESS = ("yolov5", "yolox")
BOX = 4
"""Columns of a box, which come first."""
POST_PROCESS = "TFLite_Detection_PostProcess"
CODE = 1
"""Raised when a training with the same plan would end elsewhere: older checkpoints are then refused."""


@dataclass(frozen=True, slots=True)
class Plan:
    """recipe: its name; seed: of the order of images and of how each is varied."""

    recipe: str
    steps: int = STEPS
    batch: int = 8
    rate: float = RATE
    seed: int = 0

    def digest(self, model: str, settings: Settings, images: Sequence[str], calibration: Calibration | None) -> str:
        """Of all that decides how the training ends. model, images: digests."""
        prepared = [settings.mean, settings.std, settings.channels, settings.resize]
        ranges = calibration.digest if calibration is not None else None
        said = [CODE, asdict(self), model, prepared, sorted(images), ranges]
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def plan_for(graph: Graph, recipe: Recipe, steps: int = STEPS) -> Plan:
    """A plan whose batch suits the network's input. Raises QuantizeError where it cannot be trained."""
    if not 1 <= steps <= MOST_STEPS:
        raise QuantizeError(f"{steps} training steps were asked for; give a number between 1 and {MOST_STEPS:,}.")
    check_training(graph, recipe)
    wide, high = input_size(graph.input_tensors()[0])
    batch = min(max(_PIXELS // (wide * high), SMALLEST_BATCH), LARGEST_BATCH)
    return Plan(recipe.name, steps, batch, RATE if recipe.weight_bits < 8 else FINE_RATE)


def check_training(graph: Graph, recipe: Recipe) -> None:
    """Raises QuantizeError that says why this network cannot be trained for that recipe."""
    if recipe.scheme is Scheme.FLOAT16 or recipe.blockwise:
        why = (
            "its scales belong to blocks of inputs, which training does not know"
            if recipe.blockwise
            else ("it only rounds to half precision and hardly loses anything")
        )
        raise QuantizeError(f"{recipe.name} cannot be trained: {why}. Choose e.g. int8 or dynamic_range_int4.")
    check(recipe, named_apart(graph), Options())
    ends = trained_ends(graph)
    check_trainable(graph, ends)
    if not any(op.kind in CHANNEL_AXIS for op in needed(graph, ends)):
        raise QuantizeError("The network has no convolution or dense layer, so there is nothing to train.")


def trained_ends(graph: Graph) -> tuple[int, ...]:
    """The tensors that the student shall give as its teacher does: what the head says before it is decoded.

    TFLite_Detection_PostProcess stays outside: its boxes and scores are what is trained. A LOGISTIC at the very end
    stays outside too, as logits tell more than probabilities, and so do the moves that drop the batch there.
    """
    post = next((op for op in graph.ops if op.kind == POST_PROCESS), None)
    ends = tuple(graph.outputs) if post is None else post.inputs[:2]
    floats = [index for index in ends if index is not None and graph.tensors[index].dtype == "float32"]
    return tuple(dict.fromkeys(_before(graph, _with_batch(graph, index), {"LOGISTIC"}) for index in floats))


def objectness_column(graph: Graph) -> int | None:
    """The column of a YOLO head that says whether there is anything at all, where it has one."""
    fits = fitting(graph)
    return BOX if fits and fits[0] in WITH_OBJECTNESS else None


def _with_batch(graph: Graph, index: int) -> int:
    """NanoDet's exports end in [rows, classes]: back to where an image is still an image."""
    if graph.tensors[index].shape[:1] == (1,):
        return index
    while (before := _before(graph, index, {"RESHAPE", "TRANSPOSE", "SQUEEZE"})) != index:
        index = before
    return index


def _before(graph: Graph, index: int, kinds: set[str]) -> int:
    """What the operator that wrote a tensor read, where it is one of these kinds."""
    maker = graph.producer(index)
    first = maker.inputs[0] if maker is not None and maker.kind in kinds else None
    return index if first is None else first
