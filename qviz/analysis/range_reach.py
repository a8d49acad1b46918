"""How far FP32's activations reach beyond the variant's calibrated ranges, on one image: only FP32 runs.

A layer is an operator of the variant whose output is quantized per tensor; its range is what its scale and zero point
can say. x is the partner tensor in FP32.
below, above   values clipped at either end; half a step beyond it still rounds to the end and is none
excess         how far the values go beyond (the lower, the upper) end and that half step, in widths of the range
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qviz.analysis.paired_networks import paired_networks
from qviz.detector import decoded
from qviz.engine import Blob
from qviz.structures import EncodedImage, Settings, Tensor


@dataclass(frozen=True, slots=True)
class RangeReach:
    """One layer; value_range: (lowest, highest) real number that the variant can say."""

    order: int
    tensor: str
    op_kind: str
    value_range: tuple[float, float]
    count: int
    below: int
    above: int
    excess: tuple[float, float]

    @property
    def share(self) -> float:
        """Of the values, how many are clipped."""
        return (self.below + self.above) / self.count if self.count else 0.0


def reach_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage
) -> tuple[RangeReach, ...]:
    """In a worker: every layer on one image, in the variant's order. Empty where no activation is quantized."""
    networks = paired_networks(reference, variant, settings)
    tensors = networks.variant.graph.tensors
    layers = [op for op in networks.layers if _ranged(tensors[op.outputs[0]])]
    if not layers:
        return ()
    wanted: dict[int, list[int]] = {}
    for number, op in enumerate(layers):
        wanted.setdefault(networks.partners[op.outputs[0]], []).append(number)
    found: dict[int, RangeReach] = {}

    def see(partner: int, values: np.ndarray) -> np.ndarray:
        for number in wanted.get(partner, ()):
            op = layers[number]
            found[number] = _reach(op.order, op.kind, tensors[op.outputs[0]], values)
        return values

    first, _ = networks.inputs(decoded(image))
    see(networks.reference.graph.inputs[0], first)
    networks.reference.run([first], replace=see)
    return tuple(found[number] for number in sorted(found))


def _ranged(tensor: Tensor) -> bool:
    return tensor.quantized and tensor.quantization is not None and not tensor.quantization.per_channel


def _reach(order: int, kind: str, tensor: Tensor, values: np.ndarray) -> RangeReach:
    assert tensor.quantization is not None, "layers without a range were left out"
    low, high = tensor.quantization.real_range(tensor.dtype)
    half = float(tensor.quantization.scales[0]) / 2
    least, most = (float(values.min()), float(values.max())) if values.size else (low, high)
    beyond = max(0.0, low - half - least), max(0.0, most - high - half)
    below = int(np.count_nonzero(values < low - half)) if beyond[0] else 0
    above = int(np.count_nonzero(values > high + half)) if beyond[1] else 0
    width = max(high - low, 1e-12)
    excess = beyond[0] / width, beyond[1] / width
    return RangeReach(order, tensor.name, kind, (low, high), int(values.size), below, above, excess)
