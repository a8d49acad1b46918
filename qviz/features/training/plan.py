"""The plan of a training: recipe, steps, batch size, learning rate, seed; and which networks can be trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from qviz.decoders import fitting
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.errors import QuantizeError
from qviz.features.building.calibration import Calibration
from qviz.features.building.conditions import check
from qviz.features.building.recipes import Recipe
from qviz.features.training.keras_graph import check_trainable, needed
from qviz.structures import Graph, Settings, digest_of_json
from qviz.structures.graph import BIAS_INPUT
from qviz.tflite.inputs import input_size

STEPS = 240
MAX_STEPS = 100_000
RATE, FINE_RATE = 1e-3, 1e-4
"""Adam's learning rates for weights of fewer than 8 bits (RATE) and of 8 bits (FINE_RATE), in units of each channel's
largest weight. Changes of much less than one quantization step would have no effect, and changes of many steps would be
noise. The rate rises during the first WARM_UP steps, then falls to 0."""
WARM_UP = 20
_PIXELS = 8 * 300 * 300
"""Maximum number of pixels in one batch. A batch of 8 images of 300 x 300 takes 3.5 GB of memory."""
MAX_BATCH, MIN_BATCH = 16, 2
WITH_OBJECTNESS = ("yolov5", "yolox")
BOX = 4
"""Number of columns of a box, which come first; the objectness column follows them."""
CODE = 1
"""Version of the training code. It is increased if the same plan would give another result, so that older checkpoints
are refused."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a training.

    Attributes:
        recipe: Name of the recipe.
        steps: Number of steps.
        batch: Number of images per step.
        rate: Highest learning rate.
        seed: Seed of the order of the images and of their augmentation.
    """

    recipe: str
    steps: int = STEPS
    batch: int = 8
    rate: float = RATE
    seed: int = 0

    def digest(self, model: str, settings: Settings, images: Sequence[str], calibration: Calibration | None) -> str:
        """Digest of everything that determines the result. `model` and `images` are digests."""
        prepared = [settings.mean, settings.std, settings.channels, settings.resize]
        ranges = calibration.digest if calibration is not None else None
        identity = [CODE, asdict(self), model, prepared, sorted(images), ranges]
        return digest_of_json(identity)


def plan_for(graph: Graph, recipe: Recipe, steps: int = STEPS) -> Plan:
    """A plan with a batch size that suits the network's input. Raises QuantizeError if it cannot be trained."""
    if not 1 <= steps <= MAX_STEPS:
        raise QuantizeError(f"{steps} training steps are not possible; give a number between 1 and {MAX_STEPS:,}.")
    check_training(graph, recipe)
    width, height = input_size(graph.input_tensors()[0])
    batch = min(max(_PIXELS // (width * height), MIN_BATCH), MAX_BATCH)
    return Plan(recipe.name, steps, batch, RATE if recipe.weight_bits < 8 else FINE_RATE)


def check_training(graph: Graph, recipe: Recipe) -> None:
    """Raise QuantizeError with the reason if this network cannot be trained for this recipe."""
    if recipe.untrainable:
        raise QuantizeError(
            f"{recipe.name} cannot be trained: {recipe.untrainable}. Choose e.g. int8 or dynamic_range_int4."
        )
    check(recipe, graph)
    ends = trained_ends(graph)
    check_trainable(graph, ends)
    if not any(op.kind in BIAS_INPUT for op in needed(graph, ends)):
        raise QuantizeError("The network has no convolution or dense layer, so there is nothing to train.")


def trained_ends(graph: Graph) -> tuple[int, ...]:
    """The tensors on which student and teacher are compared: the outputs of the head before decoding.

    If the network ends in TFLite_Detection_PostProcess, these are its input boxes and scores. A final LOGISTIC is left
    out, because logits contain more information than probabilities. Final reshapes that drop the batch axis are left
    out as well.
    """
    post = next((op for op in graph.ops if op.kind == POST_PROCESS), None)
    ends = tuple(graph.outputs) if post is None else post.inputs[:2]
    floats = [index for index in ends if index is not None and graph.tensors[index].dtype == "float32"]
    return tuple(dict.fromkeys(_before(graph, _with_batch(graph, index), {"LOGISTIC"}) for index in floats))


def objectness_column(graph: Graph) -> int | None:
    """The column of a YOLO head that has the probability of any object, or None if the head has no such column."""
    fits = fitting(graph)
    return BOX if fits and fits[0] in WITH_OBJECTNESS else None


def _with_batch(graph: Graph, index: int) -> int:
    """The tensor if it has a batch axis, else the last one before it that has one.

    Exports of NanoDet end in [rows, classes], without a batch axis.
    """
    if graph.tensors[index].shape[:1] == (1,):
        return index
    while (before := _before(graph, index, {"RESHAPE", "TRANSPOSE", "SQUEEZE"})) != index:
        index = before
    return index


def _before(graph: Graph, index: int, kinds: set[str]) -> int:
    """The first input of the operator that writes a tensor, if it is of one of these kinds; else the tensor itself."""
    maker = graph.producer(index)
    first = maker.inputs[0] if maker is not None and maker.kind in kinds else None
    return index if first is None else first
