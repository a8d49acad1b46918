"""The effect of kernels alone: one file on TensorFlow Lite's default kernels, compared with the same file on others.

default     XNNPACK's where it has a kernel; the whole file runs on these
builtin     TensorFlow Lite's optimised kernels, without XNNPACK
reference   TensorFlow Lite's plain C++ kernels, which are slow and easy to read

local        one operator runs on the other kernels with the default run's tensors as inputs; its output is compared
             with that of the default run
cumulative   the whole network on the other kernels is compared with the default run
steps        the largest difference of a quantized tensor's integers; 1 is a single rounding
SQNR is in dB relative to the default kernels, higher is better; None if both results are bit for bit equal. If the
SQNR of a variant is not lower than this SQNR, the cause may be the kernels and not the quantization.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.detector import PAGE_SCORE, decoded, inference
from qviz.engine import Blob
from qviz.features.comparison.matching import changes, summarise
from qviz.features.detection.inference import results_in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import require_layers
from qviz.features.layer_error.partial_head import PartialHead
from qviz.features.layer_error.tensor_error import ErrorSums, finite
from qviz.formatting import plural
from qviz.result import Result
from qviz.structures import Detections, EncodedImage, Graph, Settings, Tensor
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.paired_networks import activations, as_real
from qviz.tflite.stepper import Step, Stepper

if TYPE_CHECKING:
    import pandas as pd

DEFAULT = "default"
OTHER_KERNELS = ("builtin", "reference")
FLOAT_ROUNDING_DB = 80.0
"""If the local SQNR of a float32 output is above this, it differs only because sums are added in another order."""
MAX_IMAGES = 8
"""Maximum number of images. A few are enough, because every element of every tensor is compared on each image."""


@dataclass(slots=True)
class Difference:
    """Differences of one tensor between two sets of kernels, summed over images.

    Attributes:
        errors: Sums of squares.
        differing: Number of elements that are not equal.
        steps: Largest difference of the integers of a quantized tensor.
    """

    errors: ErrorSums = field(default_factory=ErrorSums)
    differing: int = 0
    steps: int = 0

    def add(self, x: np.ndarray, y: np.ndarray, tensor: Tensor, image: str) -> None:
        """Add the tensors of one image, in the file's types. x: from the default kernels; y: from the others."""
        if x.shape != y.shape:
            return
        self.differing += int(np.count_nonzero(x != y))
        if tensor.quantized:
            apart = np.abs(x.astype(np.int32) - y.astype(np.int32))
            self.steps = max(self.steps, int(apart.max(initial=0)))
        self.errors.add(as_real(x, tensor), as_real(y, tensor), image)

    def merge(self, other: Difference) -> None:
        """Add the sums of other images."""
        self.errors.merge(other.errors)
        self.differing += other.differing
        self.steps = max(self.steps, other.steps)


@dataclass(slots=True)
class NoiseSums:
    """Sums of one operator. tensor: index of the output that is compared."""

    tensor: int
    local: Difference = field(default_factory=Difference)
    cumulative: Difference = field(default_factory=Difference)

    def merge(self, other: NoiseSums) -> None:
        """Add the sums of other images."""
        self.local.merge(other.local)
        self.cumulative.merge(other.cumulative)


@dataclass(frozen=True, slots=True, eq=False)
class ImageNoise:
    """The differences between sets of kernels on one image.

    Attributes:
        sums: Set of kernels -> operator -> sums.
        detections: Set of kernels -> detections, the default kernels first.
    """

    sums: dict[str, dict[int, NoiseSums]]
    detections: dict[str, Detections]


class KernelSets:
    """One file, cut into steps once for each set of kernels, ready to run in one worker process."""

    def __init__(self, data: bytes, settings: Settings, kernels: tuple[str, ...]) -> None:
        self.default = Stepper(data)
        self.others = {name: Stepper(data, kernels=name) for name in kernels}
        self._settings = settings
        self._input = self.default.graph.input_tensors()[0]
        self._head = PartialHead(self.default, settings, lambda: data)

    def run(self, encoded: EncodedImage, score: float) -> ImageNoise:
        """The differences at every operator on one image, for every set of kernels."""
        image = decoded(encoded)
        values, placement = fill(image, input_spec(self._settings), self._input)
        default = self._all_tensors(self.default, values)
        others = {name: self._all_tensors(stepper, values) for name, stepper in self.others.items()}
        sums = {name: sums_of(self.others[name], default, other, image.name) for name, other in others.items()}
        detections = {
            name: inference(self._head.decode(tensors, score), placement, image.size, 0.0).detections
            for name, tensors in {DEFAULT: default, **others}.items()
        }
        return ImageNoise(sums, detections)

    def _all_tensors(self, stepper: Stepper, values: np.ndarray) -> dict[int, np.ndarray]:
        return stepper.run([values], keep=activations(stepper) | set(self._head.reader.tensors))


def sums_of(
    stepper: Stepper, default: Mapping[int, np.ndarray], other: Mapping[int, np.ndarray], image: str
) -> dict[int, NoiseSums]:
    """Operator -> differences of one run.

    Args:
        stepper: The file on the other kernels.
        default, other: The file's tensors on the default kernels and on the other ones.
        image: Name of the image.
    """
    sums_by_order = {}
    for number, step in enumerate(stepper.steps):
        tensor = compared(stepper, step)
        if tensor is None or tensor.index not in default or tensor.index not in other:
            continue
        sums = sums_by_order[step.orders[-1]] = NoiseSums(tensor.index)
        sums.cumulative.add(default[tensor.index], other[tensor.index], tensor, image)
        if all(index in default for index in step.inputs):
            alone = stepper.run_step(number, default)[tensor.index]
            sums.local.add(default[tensor.index], alone, tensor, image)
    return sums_by_order


def compared(stepper: Stepper, step: Step) -> Tensor | None:
    """The output of a step that is compared: the first one that contains real values and not indices or shapes.

    None for a post-process, because the order of its rows is arbitrary if scores are equal. The detections are compared
    instead.
    """
    if stepper.graph.ops[step.orders[-1]].kind == POST_PROCESS:
        return None
    tensors = (stepper.graph.tensors[index] for index in step.outputs)
    return next((tensor for tensor in tensors if tensor.quantized or tensor.dtype == "float32"), None)


_SETS = LRUCache[Any](2)


def noise_job(
    model: Blob, settings: Settings, image: EncodedImage, kernels: tuple[str, ...], score: float
) -> ImageNoise:
    """In a worker: the differences between the default kernels and the others on one image."""
    sets = _SETS.get((model.digest, settings, kernels), lambda: KernelSets(model.read(), settings, kernels))
    return sets.run(image, score)


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """The difference that other kernels make at one operator.

    Attributes:
        kernel_sqnr_db: Cumulative SQNR in dB.
        steps: Largest difference in steps of the output's scale; None for floats.
        differing_share: Share of elements that differ, in [0, 1].
        local_kernel_sqnr_db: SQNR of the operator alone, in dB; local values are None if it cannot be run alone.
    """

    order: int
    tensor: str
    op_kind: str
    kernel_sqnr_db: float | None
    steps: int | None
    differing_share: float
    max_abs: float | None
    local_kernel_sqnr_db: float | None
    local_steps: int | None
    local_differing_share: float | None
    local_max_abs: float | None

    @property
    def differs(self) -> bool:
        """Whether the operator alone, on the same inputs, has a different output."""
        return bool(self.local_differing_share)

    @property
    def beyond_rounding(self) -> bool:
        """Whether it differs by more than one step of an integer, or by more than float32 rounds."""
        if self.local_steps is not None:
            return self.local_steps > 1
        return self.local_kernel_sqnr_db is not None and self.local_kernel_sqnr_db < FLOAT_ROUNDING_DB


@dataclass(frozen=True, slots=True, eq=False)
class KernelNoise:
    """All operators on one set of kernels, and the agreement of its detections with those of the default kernels."""

    kernels: str
    agreement: float | None
    mean_score_delta: float | None
    layers: tuple[LayerNoise, ...]

    JSON_ALSO: ClassVar = ("equal", "local_steps", "sentence")

    @property
    def equal(self) -> bool:
        """Whether every tensor is bit for bit equal to that of the default kernels."""
        return all(layer.differing_share == 0 for layer in self.layers)

    @property
    def first(self) -> LayerNoise | None:
        """The first operator whose output differs given the same inputs; None if there is none."""
        return next((layer for layer in self.layers if layer.differs), None)

    @property
    def first_beyond_rounding(self) -> LayerNoise | None:
        """The first operator whose output differs beyond rounding given the same inputs; None if there is none."""
        return next((layer for layer in self.layers if layer.beyond_rounding), None)

    @property
    def worst(self) -> LayerNoise | None:
        """The layer with the lowest cumulative SQNR; None if all are equal."""
        return min(
            (layer for layer in self.layers if layer.kernel_sqnr_db is not None),
            key=lambda layer: layer.kernel_sqnr_db or 0.0,
            default=None,
        )

    @property
    def local_steps(self) -> int:
        """The largest difference of an operator's output given the same inputs, in steps of its scale."""
        return max((layer.local_steps or 0 for layer in self.layers), default=0)

    @property
    def sentence(self) -> str:
        """A sentence that says how this set of kernels differs from the default kernels."""
        if self.equal:
            return f"The {self.kernels} kernels compute the same tensors bit for bit: kernels cause none of the error."
        agreement = (
            "no object is detected"
            if self.agreement is None
            else f"the detections have an agreement of {self.agreement:.2f}"
        )
        parts = [f"On the {self.kernels} kernels {agreement}"]
        if (worst := self.worst) is not None:
            parts.append(f"the lowest SQNR is {worst.kernel_sqnr_db:.1f} dB ({worst.op_kind}, operator {worst.order})")
        if any(layer.steps is not None for layer in self.layers):
            parts.append(f"one operator alone differs by at most {plural(self.local_steps, 'step')}")
        return "; ".join(parts) + "."


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class NoiseBudget(Result):
    """One model on several sets of kernels.

    Attributes:
        default_refused: Whether the default kernels refuse the file, so that `default` stands for `builtin`.
        sets: One entry per set of kernels other than the default.
    """

    model: str
    images: int
    default_refused: bool
    sets: tuple[KernelNoise, ...]
    skipped: tuple[str, ...] = ()

    ROWS: ClassVar = "sets"

    def to_frame(self) -> pd.DataFrame:
        """One row per layer and set of kernels."""
        import pandas as pd

        rows = [{"kernels": noise.kernels, **asdict(layer)} for noise in self.sets for layer in noise.layers]
        return pd.DataFrame(rows, columns=["kernels", *LayerNoise.__slots__])


def noise_budget(
    context: Context,
    model: LoadedModel,
    images: Iterable[EncodedImage],
    *,
    kernels: Sequence[str] = OTHER_KERNELS,
    score: float = PAGE_SCORE,
) -> NoiseBudget:
    """Run one file on other kernels, over the first `MAX_IMAGES` images.

    Args:
        score: Minimum confidence of an object that counts for the agreement.

    Raises:
        ImageError: No image can be read.
        ModelError: The model has no layers, because TensorFlow runs it.
    """
    require_layers(model)

    def submit(image: EncodedImage) -> list[Future[ImageNoise]]:
        return [context.engine.submit(noise_job, model.blob, model.settings, image, tuple(kernels), score)]

    first, skipped = list(islice(images, MAX_IMAGES)), list[str]()
    no_image = "No image was given; kernels are compared on images."
    measured = [noise for _, (noise,) in results_in_order(context, first, submit, skipped, no_image)]
    sets = tuple(_kernel_noise(name, measured, model.inspection.graph, score) for name in kernels)
    return NoiseBudget(model.name, len(measured), model.inspection.reference_kernels, sets, tuple(skipped))


def _kernel_noise(name: str, measured: Sequence[ImageNoise], graph: Graph, score: float) -> KernelNoise:
    sums: dict[int, NoiseSums] = {}
    for image in measured:
        for order, part in image.sums[name].items():
            sums.setdefault(order, NoiseSums(part.tensor)).merge(part)
    layers = layers_of(sums, graph)
    agreement, delta = _agreement([(image.detections[DEFAULT], image.detections[name]) for image in measured], score)
    return KernelNoise(name, agreement, delta, layers)


def layers_of(sums: Mapping[int, NoiseSums], graph: Graph) -> tuple[LayerNoise, ...]:
    """The differences by operator, in the order of the file."""
    return tuple(_layer(order, sums, graph) for order in sorted(sums))


def _agreement(pairs: Sequence[tuple[Detections, Detections]], score: float) -> tuple[float | None, float | None]:
    kinds, deltas = [], []
    for first, second in pairs:
        for row in changes(first, second, None, score):
            kinds.append(row.change)
            if row.reference is not None and row.variant is not None:
                deltas.append(float(second.scores[row.variant] - first.scores[row.reference]))
    summary = summarise(kinds, deltas)
    return summary.agreement, summary.mean_score_delta


def _layer(order: int, sums: Mapping[int, NoiseSums], graph: Graph) -> LayerNoise:
    cumulative, local = sums[order].cumulative, sums[order].local
    tensor = graph.tensors[sums[order].tensor]
    ran_alone = local.errors.count > 0
    return LayerNoise(
        order=order,
        tensor=tensor.name,
        op_kind=graph.ops[order].kind,
        kernel_sqnr_db=cumulative.errors.sqnr_db,
        steps=cumulative.steps if tensor.quantized else None,
        differing_share=_share(cumulative),
        max_abs=finite(cumulative.errors.max_abs),
        local_kernel_sqnr_db=local.errors.sqnr_db,
        local_steps=local.steps if tensor.quantized and ran_alone else None,
        local_differing_share=_share(local) if ran_alone else None,
        local_max_abs=finite(local.errors.max_abs) if ran_alone else None,
    )


def _share(difference: Difference) -> float:
    return difference.differing / difference.errors.count if difference.errors.count else 0.0
