"""What a worker finds out about kernels: one file under two of TensorFlow Lite's sets, operator by operator.

local        one operator under the other kernels, fed the tensors of the default chain, against its output there
cumulative   the chain under the other kernels against the default chain: what has gathered by here
steps        the largest difference of a quantized tensor's integers; 1 is a rounding done otherwise
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from qviz.analysis.paired_networks import as_real
from qviz.analysis.tensor_error import ErrorSums
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.decoders.reading import HeadReader
from qviz.detector import decoded, inference, input_spec
from qviz.engine import Blob, Warm
from qviz.structures import Detections, EncodedImage, Settings, Tensor
from qviz.tflite.inputs import fill, input_size
from qviz.tflite.stepper import Stepper
from qviz.tflite.steps import Step

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


_SETS = Warm(2)


def noise_job(
    model: Blob, settings: Settings, image: EncodedImage, kernels: tuple[str, ...], score: float
) -> ImageNoise:
    """In a worker: one image under the default kernels and the others."""
    sets = _SETS.get((model.digest, settings, kernels), lambda: KernelSets(model.read(), settings, kernels))
    return sets.run(image, score)
