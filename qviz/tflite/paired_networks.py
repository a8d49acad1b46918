"""A reference and a variant, both cut into steps, with their tensors paired. All analyses of layers use this module.

Tensors of the reference are float32. `as_variant` and `as_real` convert values between the two networks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qviz.cache import LRUCache
from qviz.engine import Blob
from qviz.structures import Graph, Image, Op, Settings, Tensor
from qviz.tflite.constants import operator_weights
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.pairing import LayerPair, LayerPairs, pair_layers
from qviz.tflite.stepper import Stepper

CONVERSIONS = ("QUANTIZE", "DEQUANTIZE")
SELECTIONS = ("TFLite_Detection_PostProcess", "NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5", "TOPK_V2")
"""Operators whose output rows are sorted by score. If two rows are swapped in the variant, comparing rows would compare
different objects."""


class PairedNetworks:
    """A reference and a variant in one worker process.

    Args:
        settings: (settings of the reference, settings of the variant).

    Attributes:
        reference, variant: The steppers of the two files.
        reference_weights, variant_weights: Operator -> float32 weights.
        pairs: Which operator is paired with which.
        pair_of: Operator of the variant -> its pair.
        partners: Tensor of the variant -> tensor of the reference.
        layers: The variant's operators whose output has a partner, without DEQUANTIZE and SELECTIONS. A QUANTIZE is a
            layer, too: its partner is the reference's tensor that enters it.
        single_steps: For the reference and for the variant, operator -> the step that runs it alone.
    """

    def __init__(self, reference: bytes, variant: bytes, settings: tuple[Settings, Settings]) -> None:
        self.reference, self.variant = Stepper(reference), Stepper(variant)
        self._specs = [input_spec(given) for given in settings]
        graphs = self.reference.graph, self.variant.graph
        self.reference_weights = operator_weights(reference, graphs[0])
        self.variant_weights = operator_weights(variant, graphs[1])
        self.pairs: LayerPairs = pair_layers(*graphs, self.reference_weights, self.variant_weights)
        self.pair_of: dict[int, LayerPair] = {pair.order: pair for pair in self.pairs.pairs}
        self.partners = tensor_partners(*graphs, self.pairs)
        ops = [op for op in graphs[1].ops if op.kind not in ("DEQUANTIZE", *SELECTIONS) and op.outputs]
        self.layers: tuple[Op, ...] = tuple(op for op in ops if op.outputs[0] in self.partners)
        self.single_steps = [_single_steps(stepper) for stepper in (self.reference, self.variant)]

    def run(self, image: Image) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
        """(activations of the reference, those of the variant) on one image, as tensor -> values in the file's type.

        Raises ModelError if TensorFlow Lite fails.
        """
        first, second = (
            stepper.run([values], keep=activations(stepper))
            for stepper, values in zip((self.reference, self.variant), self.inputs(image), strict=True)
        )
        return first, second

    def inputs(self, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """(input of the reference, input of the variant) for one image, each prepared with its own settings."""
        first, second = (
            fill(image, spec, stepper.graph.input_tensors()[0])[0]
            for stepper, spec in zip((self.reference, self.variant), self._specs, strict=True)
        )
        return first, second

    def weights(self, op: Op) -> tuple[np.ndarray, np.ndarray] | None:
        """(the reference's weights, the variant's), both float32; None if either is missing or their shapes differ."""
        pair = self.pair_of.get(op.order)
        if pair is None or op.kind in CONVERSIONS:
            return None
        first, second = self.reference_weights.get(pair.reference_order), self.variant_weights.get(op.order)
        return None if first is None or second is None or first.shape != second.shape else (first, second)

    def reads(self, op: Op) -> tuple[int, ...] | None:
        """The activations that an operator of the variant reads, without constants; None if no step runs it alone."""
        step = self.single_steps[1].get(op.order)
        return None if step is None else self.variant.steps[step].inputs

    def alone(self, op: Op, fed: Mapping[int, np.ndarray]) -> np.ndarray:
        """First output of one operator of the variant, run alone. fed: values of the tensors that it `reads`."""
        return self.variant.run_step(self.single_steps[1][op.order], fed)[op.outputs[0]]

    def local(self, op: Op, truth: Mapping[int, np.ndarray]) -> np.ndarray | None:
        """The first output of the variant's operator, run on the reference's activations, as float32 real values.

        truth: tensor of the reference -> its activation. None if the operator cannot run alone or an input has no
        partner.
        """
        inputs = self.reads(op)
        if inputs is None or any(self.partners.get(tensor) not in truth for tensor in inputs):
            return None
        tensors = self.variant.graph.tensors
        fed = {t: as_variant(truth[self.partners[t]].reshape(_shape(tensors[t])), tensors[t]) for t in inputs}
        return as_real(self.alone(op, fed), tensors[op.outputs[0]])

    def expect(self, op: Op, real: Mapping[int, np.ndarray], at: Callable[[np.ndarray], None]) -> None:
        """Run the reference's operator on the variant's own tensors and pass its output to `at`.

        Args:
            real: Tensor of the variant -> real values.
            at: Called with a view of the output, which must not be kept. It is not called if an input is missing.
        """
        if op.kind in CONVERSIONS:
            if op.inputs[0] is not None and op.inputs[0] in real:
                at(real[op.inputs[0]])
            return
        pair = self.pair_of[op.order]
        step = self.single_steps[0].get(pair.reference_order)
        back = {self.partners[t]: t for t in op.inputs if t is not None and t in self.partners}
        inputs = self.reference.steps[step].inputs if step is not None else ()
        if step is not None and all(back.get(tensor) in real for tensor in inputs):
            self.reference.look(step, {t: real[back[t]] for t in inputs}, pair.reference_tensor, at)


def activations(stepper: Stepper) -> set[int]:
    """Indices of all tensors that are an input or output of a step."""
    return {tensor for step in stepper.steps for tensor in (*step.inputs, *step.outputs)}


def _single_steps(stepper: Stepper) -> dict[int, int]:
    """Operator -> the step that runs it alone."""
    return {step.orders[0]: i for i, step in enumerate(stepper.steps) if not step.block}


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape to pass to `reshape`: that in the file, or (-1,) if the file leaves it open."""
    return tensor.shape if tensor.shape and all(side > 0 for side in tensor.shape) else (-1,)


def tensor_partners(reference: Graph, variant: Graph, pairs: LayerPairs) -> dict[int, int]:
    """Tensor of the variant -> tensor of the reference; the output of a conversion has the partner of its input."""
    partners = dict(zip(variant.inputs, reference.inputs, strict=False))
    paired = {pair.order: pair for pair in pairs.pairs}
    for op in variant.ops:
        if op.order in paired:
            partners[paired[op.order].tensor] = paired[op.order].reference_tensor
        elif op.kind in CONVERSIONS and op.inputs[0] in partners:
            partners[op.outputs[0]] = partners[op.inputs[0]]
    return partners


def as_variant(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values converted to the type of a tensor, quantized with its parameters if it has any."""
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.quantize(values, tensor.dtype)
    return values.astype(tensor.dtype, copy=False)


def as_real(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """A tensor's values as float32."""
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.dequantize(values)
    return values.astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two networks as they are sent to a worker. settings: those of the reference, then those of the variant."""

    reference: Blob
    variant: Blob
    settings: tuple[Settings, Settings]

    @property
    def key(self) -> Hashable:
        return self.reference.digest, self.variant.digest, self.settings


_NETWORKS = LRUCache[Any](2)


def paired_networks(pair: Pair) -> PairedNetworks:
    """The two networks, ready to run; each worker caches the last two pairs. Raises ModelError."""
    return _NETWORKS.get(pair.key, lambda: PairedNetworks(pair.reference.read(), pair.variant.read(), pair.settings))
