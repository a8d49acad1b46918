"""How much of a difference is the kernels' own: one file under the default kernels and under TensorFlow Lite's others.

default     XNNPACK where it has a kernel: what the whole file runs on
builtin     TensorFlow Lite's optimised kernels, without XNNPACK
reference   its plain C++ kernels, slow and easy to read
local, cumulative and steps as in `noise_sums`. SQNR in dB of a tensor against the default kernels', higher is better,
None where the two are bit for bit equal. An error of a variant is its quantization's as far as it exceeds this.

What a worker finds out about kernels: one file under two of TensorFlow Lite's sets, operator by operator.

local        one operator under the other kernels, fed the tensors of the default chain, against its output there
cumulative   the chain under the other kernels against the default chain: what has gathered by here
steps        the largest difference of a quantized tensor's integers; 1 is a rounding done otherwise
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from qviz.cache import LRUCache
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.decoders.reading import HeadReader
from qviz.detector import PAGE_SCORE, decoded, inference
from qviz.engine import Blob, Engine
from qviz.errors import ImageError, ModelError
from qviz.features.comparison.matching import changes, summarise
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.tensor_error import ErrorSums
from qviz.progress import OnProgress, silent
from qviz.structures import Detections, EncodedImage, Graph, Settings, Tensor
from qviz.tflite.inputs import fill, input_size, input_spec
from qviz.tflite.paired_networks import as_real
from qviz.tflite.stepper import Stepper
from qviz.tflite.steps import Step

if TYPE_CHECKING:
    import pandas as pd


DEFAULT = "default"


@dataclass(slots=True)
class Difference:
    """Sums over images of one tensor under two sets of kernels; differing: elements that are not equal."""

    errors: ErrorSums = field(default_factory=ErrorSums)
    differing: int = 0
    steps: int = 0

    def add(self, x: np.ndarray, y: np.ndarray, tensor: Tensor, image: str) -> None:
        """Take in one image's tensors, as the file types them; x is the default's."""
        if x.shape != y.shape:
            return
        self.differing += int(np.count_nonzero(x != y))
        if tensor.quantized:
            apart = np.abs(x.astype(np.int32) - y.astype(np.int32))
            self.steps = max(self.steps, int(apart.max(initial=0)))
        self.errors.add(as_real(x, tensor), as_real(y, tensor), image)

    def merge(self, other: Difference) -> None:
        """Take in what another worker saw."""
        self.errors.merge(other.errors)
        self.differing += other.differing
        self.steps = max(self.steps, other.steps)


@dataclass(slots=True)
class NoiseSums:
    """One operator's; tensor: the index of the output that is compared."""

    tensor: int
    local: Difference = field(default_factory=Difference)
    cumulative: Difference = field(default_factory=Difference)

    def merge(self, other: NoiseSums) -> None:
        """Take in what another worker saw."""
        self.local.merge(other.local)
        self.cumulative.merge(other.cumulative)


@dataclass(frozen=True, slots=True, eq=False)
class ImageNoise:
    """One image: set of kernels -> sums by the operator's order; and what each set detects, the default's first."""

    sums: dict[str, dict[int, NoiseSums]]
    detections: dict[str, Detections]


class KernelSets:
    """One file cut into steps under each set of kernels. Lives in one worker process."""

    def __init__(self, data: bytes, settings: Settings, kernels: tuple[str, ...]) -> None:
        self.default = Stepper(data)
        self.others = {name: Stepper(data, kernels=name) for name in kernels}
        self._settings = settings
        self._input = self.default.graph.input_tensors()[0]
        self._reader = HeadReader(self.default.graph, settings, *input_size(self._input))

    def run(self, encoded: EncodedImage, score: float) -> ImageNoise:
        """Every operator on one image under every set."""
        image = decoded(encoded)
        values, placement = fill(image, input_spec(self._settings), self._input)
        truth = self._chain(self.default, values)
        chains = {name: self._chain(stepper, values) for name, stepper in self.others.items()}
        sums = {name: self._sums(self.others[name], truth, own, image.name) for name, own in chains.items()}
        found = {}
        for name, tensors in {DEFAULT: truth, **chains}.items():
            found[name] = inference(self._reader.decode(tensors, score), placement, image, 0.0).detections
        return ImageNoise(sums, found)

    def _chain(self, stepper: Stepper, values: np.ndarray) -> dict[int, np.ndarray]:
        written = {tensor for step in stepper.steps for tensor in (*step.inputs, *step.outputs)}
        return stepper.run([values], keep=written | set(self._reader.wanted))

    def _sums(
        self, stepper: Stepper, truth: Mapping[int, np.ndarray], own: Mapping[int, np.ndarray], image: str
    ) -> dict[int, NoiseSums]:
        found = {}
        for number, step in enumerate(stepper.steps):
            tensor = compared(stepper, step)
            if tensor is None or tensor.index not in truth or tensor.index not in own:
                continue
            sums = found[step.orders[-1]] = NoiseSums(tensor.index)
            sums.cumulative.add(truth[tensor.index], own[tensor.index], tensor, image)
            if all(index in truth for index in step.inputs):
                alone = stepper.run_step(number, truth)[tensor.index]
                sums.local.add(truth[tensor.index], alone, tensor, image)
        return found


def compared(stepper: Stepper, step: Step) -> Tensor | None:
    """The tensor that a step is judged by: its first output of real values (indices and shapes are none).

    None for a post-process: its rows change places with any tie, and the detections are compared as such.
    """
    if stepper.graph.ops[step.orders[-1]].kind == POST_PROCESS:
        return None
    tensors = (stepper.graph.tensors[index] for index in step.outputs)
    return next((tensor for tensor in tensors if tensor.quantized or tensor.dtype == "float32"), None)


_SETS = LRUCache[Any](2)


def noise_job(
    model: Blob, settings: Settings, image: EncodedImage, kernels: tuple[str, ...], score: float
) -> ImageNoise:
    """In a worker: one image under the default kernels and the others."""
    sets = _SETS.get((model.digest, settings, kernels), lambda: KernelSets(model.read(), settings, kernels))
    return sets.run(image, score)


KERNELS = ("builtin", "reference")
FEW = 8
"""Images that are enough: each brings every element of every tensor."""


@dataclass(frozen=True, slots=True)
class LayerNoise:
    """One operator under other kernels. steps: of its output's scale, None for floats; shares: of elements in [0, 1].

    kernel_sqnr_db is cumulative, local_kernel_sqnr_db the operator's alone; local values None where it was not fed.
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


@dataclass(frozen=True, slots=True, eq=False)
class KernelNoise:
    """All operators under one set of kernels; agreement of its detections with the default's (see `changes`)."""

    kernels: str
    agreement: float
    mean_score_delta: float | None
    layers: tuple[LayerNoise, ...]

    @property
    def equal(self) -> bool:
        """Every tensor is bit for bit that of the default kernels."""
        return all(layer.differing_share == 0 for layer in self.layers)

    @property
    def worst(self) -> LayerNoise | None:
        """The layer with the lowest cumulative SQNR; None where all are equal."""
        return min(
            (layer for layer in self.layers if layer.kernel_sqnr_db is not None),
            key=lambda layer: layer.kernel_sqnr_db or 0.0,
            default=None,
        )

    @property
    def local_steps(self) -> int:
        """The most that one operator alone makes of it, in steps of scale."""
        return max((layer.local_steps or 0 for layer in self.layers), default=0)

    def sentence(self) -> str:
        """The finding in words."""
        if self.equal:
            return f"The {self.kernels} kernels give every tensor bit for bit: no error is theirs."
        said = f"Under the {self.kernels} kernels detections agree by {self.agreement:.2f}"
        if self.worst is not None:
            said += (
                f"; the lowest SQNR is {self.worst.kernel_sqnr_db:.1f} dB ({self.worst.op_kind}, operator"
                f" {self.worst.order})"
            )
        if any(layer.steps is not None for layer in self.layers):
            said += (
                f"; one operator alone differs by {self.local_steps} step{'s' * (self.local_steps != 1)} at the most"
            )
        return said + "."

    def to_json(self) -> dict[str, Any]:
        return {
            "kernels": self.kernels,
            "equal": self.equal,
            "agreement": self.agreement,
            "mean_score_delta": self.mean_score_delta,
            "local_steps": self.local_steps,
            "sentence": self.sentence(),
            "layers": [asdict(layer) for layer in self.layers],
        }


@dataclass(frozen=True, slots=True, eq=False)
class NoiseBudget:
    """One model's. default_refused: the default kernels refuse the file, so `default` stands for builtin."""

    model: str
    images: int
    default_refused: bool
    sets: tuple[KernelNoise, ...]
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz layers --noise-budget --json` prints it."""
        return {
            "model": self.model,
            "images": self.images,
            "default_refused": self.default_refused,
            "sets": [noise.to_json() for noise in self.sets],
            "skipped": list(self.skipped),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a layer and set of kernels."""
        import pandas as pd

        rows = [{"kernels": noise.kernels, **asdict(layer)} for noise in self.sets for layer in noise.layers]
        return pd.DataFrame(rows, columns=["kernels", *LayerNoise.__slots__])


def noise_budget(
    engine: Engine,
    model: LoadedModel,
    images: Iterable[EncodedImage],
    kernels: Sequence[str] = KERNELS,
    score: float = PAGE_SCORE,
    on_progress: OnProgress = silent,
) -> NoiseBudget:
    """One file under other kernels, over the first FEW images.

    Raises ModelError where it has no layers, ImageError where no image can be read, WorkerError.
    """
    if not model.layers_available:
        raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    jobs = [
        engine.submit(noise_job, model.blob, model.settings, image, tuple(kernels), score)
        for image in islice(images, FEW)
    ]
    found: list[ImageNoise] = []
    skipped: list[str] = []
    for done, job in enumerate(jobs, start=1):
        try:
            found.append(job.result())
        except ImageError as error:
            skipped.append(str(error))
        on_progress(done, len(jobs))
    if not found:
        raise ImageError(" ".join(skipped[:3]) or "No image was given; kernels are compared on images.")
    sets = tuple(_kernel_noise(name, found, model.inspection.graph, score) for name in kernels)
    return NoiseBudget(model.name, len(found), model.inspection.reference_kernels, sets, tuple(skipped))


def _kernel_noise(name: str, found: Sequence[ImageNoise], graph: Graph, score: float) -> KernelNoise:
    sums: dict[int, NoiseSums] = {}
    for image in found:
        for order, part in image.sums[name].items():
            sums.setdefault(order, NoiseSums(part.tensor)).merge(part)
    agreement, delta = _agreement([(image.detections[DEFAULT], image.detections[name]) for image in found], score)
    return KernelNoise(name, agreement, delta, tuple(_layer(order, sums, graph) for order in sorted(sums)))


def _agreement(pairs: Sequence[tuple[Detections, Detections]], score: float) -> tuple[float, float | None]:
    kinds, deltas = [], []
    for first, second in pairs:
        for row in changes(first, second, None, score):
            kinds.append(row.change)
            if row.reference is not None and row.variant is not None:
                deltas.append(float(second.scores[row.variant] - first.scores[row.reference]))
    summary = summarise(kinds, deltas)
    return summary.agreement, summary.mean_score_delta


def _layer(order: int, sums: Mapping[int, NoiseSums], graph: Graph) -> LayerNoise:
    own, alone = sums[order].cumulative, sums[order].local
    tensor = graph.tensors[sums[order].tensor]
    fed = alone.errors.count > 0
    return LayerNoise(
        order=order,
        tensor=tensor.name,
        op_kind=graph.ops[order].kind,
        kernel_sqnr_db=_finite(own.errors.sqnr_db),
        steps=own.steps if tensor.quantized else None,
        differing_share=_share(own),
        max_abs=_finite(own.errors.max_abs),
        local_kernel_sqnr_db=_finite(alone.errors.sqnr_db),
        local_steps=alone.steps if tensor.quantized and fed else None,
        local_differing_share=_share(alone) if fed else None,
        local_max_abs=_finite(alone.errors.max_abs) if fed else None,
    )


def _share(of: Difference) -> float:
    return of.differing / of.errors.count if of.errors.count else 0.0


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
