"""Bias correction: the mean error of each output channel of a convolution is subtracted from the channel's bias.

Rounded weights and activations shift the mean of some channels, and the shift grows from layer to layer (Nagel et al.,
arXiv 1906.04721). The variant is run operator by operator on images. At each convolution, the mean difference from the
float32 output is subtracted from the integer biases, and the next operator reads the corrected output.

The plain method can ruin a network, because the mean error of a clipped channel does not come from its bias (measured
on YOLOX-nano: AP falls from 19.8 to 1.9). Therefore:

* only values inside the range count, and a channel with a share of more than `MAX_CLIPPED` outside is not corrected;
* the last convolutions of the network (the head) are not corrected;
* a convolution's correction is undone if the error of its output on held-out images does not fall;
* corrections are accepted block by block, and only if the SQNR of the head's convolutions on held-out images grows.
  (The network's outputs would be too coarse a measure, because boxes and scores often share one scale there.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qviz.features.building.biases import partners
from qviz.features.building.error_measures import mean_sqnr_db, real_values, stored_input, tensor_values
from qviz.features.building.source import with_unique_tensor_names
from qviz.formatting import plural
from qviz.structures import Graph, Op, Quantization, Tensor
from qviz.structures.graph import BIAS_INPUT
from qviz.tflite.constants import stored_constant
from qviz.tflite.edit import packed, set_constant, unpacked
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.stepper import Stepper

KINDS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
MAX_CLIPPED = 0.001
MIN_VALUES = 32
"""A channel is only corrected if at least this many of its values are inside its range."""
POSITIONS = 1024
"""Maximum number of output positions per tensor and image that are compared."""
MIN_FALL = 0.99
"""A correction is kept if the convolution's squared error falls to at most this fraction."""
BLOCKS = 6
MIN_GAIN_DB = 0.2
"""A block of corrections is accepted if the mean SQNR grows by at least this many dB."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """The result of `correct_biases`.

    Attributes:
        data: The corrected file; the given bytes if no block was accepted.
        layers: Orders of the convolutions with corrected biases.
        declined: Orders of the convolutions whose correction did not help on held-out images.
        before_db, after_db: Mean SQNR of the channels of the head's convolutions on held-out images.
    """

    data: bytes = field(repr=False)
    layers: tuple[int, ...] = ()
    declined: tuple[int, ...] = ()
    before_db: float = 0.0
    after_db: float = 0.0

    def __str__(self) -> str:
        return (
            f"Bias correction changed {plural(len(self.layers), 'convolution')} and left {len(self.declined)}"
            f" unchanged; the head's SQNR on held-out images went from {self.before_db:.1f} to {self.after_db:.1f} dB."
        )


def correct_biases(data: bytes, float_data: bytes, inputs: Sequence[np.ndarray]) -> Corrected:
    """Correct the integer biases of a variant's convolutions.

    Args:
        data: An integer file that was built from `float_data`, with the same operators apart from conversions.
        float_data: The float32 file.
        inputs: The float network's input for at least two images; every third image is held out.

    Raises:
        ModelError: A file cannot be read or run.
        ValueError: There are fewer than two inputs.
    """
    if len(inputs) < 2:
        raise ValueError("bias correction needs the inputs of at least two images: some are held out")
    validation = np.arange(len(inputs)) % 3 == 1
    float_graph = with_unique_tensor_names(read_graph(float_data))
    walk = _Walk(data, float_data, float_graph, inputs, validation)
    corrections, declined = walk.corrections()
    reference = [values for values, validates in zip(inputs, validation, strict=True) if validates]
    heads = _heads(walk.graph, float_graph)
    true = tensor_values(float_data, float_graph, list(heads.values()), reference)

    def head_sqnr(candidate: bytes) -> float:
        return mean_sqnr_db(true, tensor_values(candidate, walk.graph, list(heads), reference))

    before = best = head_sqnr(data) if corrections else 0.0
    accepted: dict[int, np.ndarray] = {}
    result = data
    for block in _blocks(sorted(corrections)):
        tried = accepted | {order: corrections[order] for order in block}
        candidate = _with_biases(data, walk.graph, tried)
        value = head_sqnr(candidate)
        if value >= best + MIN_GAIN_DB:
            accepted, result, best = tried, candidate, value
        else:
            declined += block
    return Corrected(result, tuple(sorted(accepted)), tuple(sorted(declined)), before, best)


def _blocks(orders: Sequence[int]) -> Iterator[list[int]]:
    """The orders divided into at most `BLOCKS` parts of about equal length."""
    parts = np.array_split(np.array(orders, int), min(BLOCKS, max(1, len(orders))))
    return (part.tolist() for part in parts if len(part))


def _with_biases(data: bytes, graph: Graph, biases: Mapping[int, np.ndarray]) -> bytes:
    """The file with other integer biases. biases: order of the convolution -> integers."""
    model = unpacked(data)
    for order, integers in biases.items():
        bias = _bias(graph, graph.ops[order])
        assert bias is not None and bias.quantization is not None
        set_constant(model, bias.index, integers, bias.quantization.scales)
    return packed(model)


def _bias(graph: Graph, op: Op) -> Tensor | None:
    at = BIAS_INPUT[op.kind]
    index = op.inputs[at] if at < len(op.inputs) else None
    return None if index is None else graph.tensors[index]


def correctable(graph: Graph, float_graph: Graph) -> dict[int, Op]:
    """The convolutions that can be corrected, order in the variant -> operator of the float file.

    They have integer biases and are followed by a further convolution.
    """
    inner = _before_another(graph)
    return {
        order: float_op
        for order, float_op in partners(graph, float_graph)
        if (op := graph.ops[order]).kind in KINDS
        and order in inner
        and (bias := _bias(graph, op)) is not None
        and bias.constant
        and bias.quantization is not None
        and graph.tensors[op.outputs[0]].per_tensor is not None
    }


def _heads(graph: Graph, float_graph: Graph) -> dict[int, int]:
    """Outputs of the last convolutions: tensor of the variant -> tensor of the float file."""
    inner = _before_another(graph)
    last = ((graph.ops[order], op) for order, op in partners(graph, float_graph) if order not in inner)
    return {op.outputs[0]: float_op.outputs[0] for op, float_op in last if op.kind in KINDS}


def _before_another(graph: Graph) -> set[int]:
    """Orders of the operators that a further convolution follows, directly or not."""
    reaches: set[int] = set()
    inner = set()
    for op in reversed(graph.ops):
        if any(index in reaches for index in op.outputs):
            inner.add(op.order)
        if op.kind in KINDS or op.order in inner:
            reaches |= {index for index in op.inputs if index is not None}
    return inner


class _Walk:
    """Runs the variant step by step on all images at once and corrects its biases on the way."""

    def __init__(
        self, data: bytes, float_data: bytes, float_graph: Graph, inputs: Sequence[np.ndarray], validation: np.ndarray
    ) -> None:
        self._data, self._validation = data, validation
        self._stepper = Stepper(data)
        self.graph = self._stepper.graph
        self._float_ops = correctable(self.graph, float_graph)
        self._true = _samples(float_data, self._float_ops, inputs)
        entry = self.graph.input_tensors()[0]
        first = {**self._stepper.folded}
        self._values = [{**first, entry.index: stored_input(entry, values)} for values in inputs]

    def corrections(self) -> tuple[dict[int, np.ndarray], list[int]]:
        """(order -> corrected integer biases, orders of convolutions whose correction did not help)."""
        corrections: dict[int, np.ndarray] = {}
        declined: list[int] = []
        steps = self._stepper.steps
        last = {tensor: number for number, step in enumerate(steps) for tensor in step.inputs}
        ends = [number for number, step in enumerate(steps) if self._float_ops.keys() & set(step.orders)]
        for number, step in enumerate(steps[: max(ends, default=-1) + 1]):
            results = [self._stepper.run_step(number, values) for values in self._values]
            order = step.orders[0]
            if not step.block and order in self._float_ops:
                corrected = self._corrected(number, order, results)
                if corrected is None:
                    declined.append(order)
                else:
                    corrections[order], results = corrected
            for values, result in zip(self._values, results, strict=True):
                values |= result
                for tensor in [tensor for tensor in values if last.get(tensor, -1) <= number]:
                    del values[tensor]
        return corrections, declined

    def _corrected(
        self, number: int, order: int, results: Sequence[dict[int, np.ndarray]]
    ) -> tuple[np.ndarray, list[dict[int, np.ndarray]]] | None:
        """(corrected integer biases, the step's results with them); None if held-out images do not improve."""
        op = self.graph.ops[order]
        tensor, bias = self.graph.tensors[op.outputs[0]], _bias(self.graph, op)
        assert bias is not None and bias.quantization is not None and tensor.quantization is not None
        variant = [_sample(real_values(tensor, result[tensor.index])) for result in results]
        mean = _mean_error(self._true[order], variant, ~self._validation, tensor.quantization, tensor.dtype)
        before = stored_constant(self._data, bias)
        steps = np.rint(mean / bias.quantization.scales)
        ends = np.iinfo(before.dtype)
        integers = np.clip(before.astype(np.float64) - steps, ends.min, ends.max).astype(before.dtype)
        if np.array_equal(integers, before):
            return None
        piece = self._stepper.changed_piece(number, {bias.index: integers})
        reads = self._stepper.steps[number].inputs
        corrected = [piece.run([values[index] for index in reads]) for values in self._values]
        improved = [_sample(real_values(tensor, result[tensor.index])) for result in corrected]
        errors = (self._validation_error(order, samples) for samples in (variant, improved))
        first, second = errors
        return (integers, corrected) if second <= MIN_FALL * first else None

    def _validation_error(self, order: int, samples: Sequence[np.ndarray]) -> float:
        pairs = zip(self._true[order], samples, self._validation, strict=True)
        return sum(float(np.square(true - rows, dtype=np.float64).sum()) for true, rows, used in pairs if used)


def _sample(values: np.ndarray) -> np.ndarray:
    """The values of an output at no more than `POSITIONS` evenly spread positions, (positions, channels)."""
    rows = values.reshape(-1, values.shape[-1])
    return rows[:: -(-len(rows) // POSITIONS)]


def _samples(data: bytes, ops: Mapping[int, Op], inputs: Sequence[np.ndarray]) -> dict[int, list[np.ndarray]]:
    """Order in the variant -> for each input, samples of what the operator computes in the float file."""
    runner = Runner(data)
    samples: dict[int, list[np.ndarray]] = {order: [] for order in ops}
    for values in inputs:
        runner.run([values])
        for order, op in ops.items():
            samples[order].append(_sample(runner.tensor(op.outputs[0])).copy())
    return samples


def _mean_error(
    true: Sequence[np.ndarray],
    variant: Sequence[np.ndarray],
    used: np.ndarray,
    quantization: Quantization,
    dtype: str,
) -> np.ndarray:
    """Mean of variant minus float32 over values inside the range, (channels,); 0 for channels not to be corrected."""
    low, high = quantization.real_range(dtype)
    step = float(quantization.scales[0])
    x = np.concatenate([rows for rows, use in zip(true, used, strict=True) if use])
    y = np.concatenate([rows for rows, use in zip(variant, used, strict=True) if use])
    clipped = ((x < low - step / 2) | (x > high + step / 2)).mean(0)
    inside = (x > low) & (x < high) & (y > low) & (y < high)
    count = inside.sum(0)
    mean = np.where(inside, y - x, 0).sum(0, dtype=np.float64) / np.maximum(count, 1)
    return np.where((clipped <= MAX_CLIPPED) & (count >= MIN_VALUES) & np.isfinite(mean), mean, 0.0)
