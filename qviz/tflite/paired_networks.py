"""A reference and a variant cut into steps, with who is whose partner: what every question about layers stands on.

Tensors of the reference are float32. `as_variant` and `as_real` bring values from one side to the other.
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
"""Their rows come in the order of the scores: one swap, and row is compared with another object's row."""


class PairedNetworks:
    """Lives in one worker process.

    partners: tensor of the variant -> tensor of the reference. layers: the variant's operators whose output has a
    partner, DEQUANTIZE and SELECTIONS left out; a QUANTIZE is one, and its partner is the reference's tensor that
    goes in. single_steps: of the reference and of the variant, operator -> the step that runs it alone.
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
        """Every activation of the reference and of the variant on one image, by tensor, as the files type them."""
        first, second = (
            stepper.run([values], keep=activations(stepper))
            for stepper, values in zip((self.reference, self.variant), self.inputs(image), strict=True)
        )
        return first, second

    def inputs(self, image: Image) -> tuple[np.ndarray, np.ndarray]:
        """The image as the reference reads it, and as the variant does."""
        first, second = (
            fill(image, spec, stepper.graph.input_tensors()[0])[0]
            for stepper, spec in zip((self.reference, self.variant), self._specs, strict=True)
        )
        return first, second

    def weights(self, op: Op) -> tuple[np.ndarray, np.ndarray] | None:
        """The reference's weights and the variant's, where both have some of one shape."""
        pair = self.pair_of.get(op.order)
        if pair is None or op.kind in CONVERSIONS:
            return None
        first, second = self.reference_weights.get(pair.reference_order), self.variant_weights.get(op.order)
        return None if first is None or second is None or first.shape != second.shape else (first, second)

    def reads(self, op: Op) -> tuple[int, ...] | None:
        """The activations that an operator of the variant reads, constants left out; None where it has no own step."""
        step = self.single_steps[1].get(op.order)
        return None if step is None else self.variant.steps[step].inputs

    def alone(self, op: Op, fed: Mapping[int, np.ndarray]) -> np.ndarray:
        """What one operator of the variant makes of tensors of the variant: all that it `reads`, typed as they are."""
        return self.variant.run_step(self.single_steps[1][op.order], fed)[op.outputs[0]]

    def local(self, op: Op, truth: Mapping[int, np.ndarray]) -> np.ndarray | None:
        """One operator of the variant on the reference's activations, as real numbers; None where it cannot be fed."""
        inputs = self.reads(op)
        if inputs is None or any(self.partners.get(tensor) not in truth for tensor in inputs):
            return None
        tensors = self.variant.graph.tensors
        fed = {t: as_variant(truth[self.partners[t]].reshape(_shape(tensors[t])), tensors[t]) for t in inputs}
        return as_real(self.alone(op, fed), tensors[op.outputs[0]])

    def expect(self, op: Op, real: Mapping[int, np.ndarray], at: Callable[[np.ndarray], None]) -> None:
        """Show `at` what the reference's operator makes of the variant's own tensors, given as real numbers.

        It is not called where one is missing, and must not keep what it is shown.
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
    """What the steps hand on."""
    return {tensor for step in stepper.steps for tensor in (*step.inputs, *step.outputs)}


def _single_steps(stepper: Stepper) -> dict[int, int]:
    """operator -> the step that runs it alone."""
    return {step.orders[0]: i for i, step in enumerate(stepper.steps) if not step.block}


def _shape(tensor: Tensor) -> tuple[int, ...]:
    """For reshape: a shape that the file leaves open is taken as it comes."""
    return tensor.shape if tensor.shape and all(side > 0 for side in tensor.shape) else (-1,)


def tensor_partners(reference: Graph, variant: Graph, pairs: LayerPairs) -> dict[int, int]:
    """tensor of the variant -> tensor of the reference; what a conversion makes has the partner of what it reads."""
    partners = dict(zip(variant.inputs, reference.inputs, strict=False))
    paired = {pair.order: pair for pair in pairs.pairs}
    for op in variant.ops:
        if op.order in paired:
            partners[paired[op.order].tensor] = paired[op.order].reference_tensor
        elif op.kind in CONVERSIONS and op.inputs[0] in partners:
            partners[op.outputs[0]] = partners[op.inputs[0]]
    return partners


def as_variant(values: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Real values typed and quantized as a tensor."""
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
    """A reference and a variant, and their settings, as they are sent to a worker."""

    reference: Blob
    variant: Blob
    settings: tuple[Settings, Settings]

    @property
    def key(self) -> Hashable:
        return self.reference.digest, self.variant.digest, self.settings


_NETWORKS = LRUCache[Any](2)


def paired_networks(pair: Pair) -> PairedNetworks:
    """The two networks of this worker, cut and paired once."""
    return _NETWORKS.get(pair.key, lambda: PairedNetworks(pair.reference.read(), pair.variant.read(), pair.settings))
