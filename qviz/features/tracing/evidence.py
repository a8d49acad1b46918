"""What is known about one operator under test: its values, its weights, and experiments that run on demand.

SQNR is in dB, higher is better. An energy is the mean square in the tensor's unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from qviz.features.layer_error.joins import JoinedColumns
from qviz.features.layer_error.tensor_error import RangeSums, range_sums, unused_share
from qviz.structures import Tensor


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """How accurate an operator's weights are.

    Attributes:
        sqnr_db: SQNR of its weights.
        usual_db: Median SQNR of the weights of the network's layers.
        coarse_below_db: SQNR below which weights are coarse.
        channel, channel_db: The output channel with the lowest SQNR; None if the axis is not known. Channels whose
            weights are all zero in FP32 are left out.
        zeroed: Whether all weights of that channel are zero in the variant.
        per_tensor: Whether all channels share one scale.
    """

    sqnr_db: float
    usual_db: float
    coarse_below_db: float
    channel: int | None = None
    channel_db: float | None = None
    zeroed: bool = False
    per_tensor: bool = False

    @property
    def coarse(self) -> bool:
        return self.sqnr_db < self.coarse_below_db

    @property
    def is_fault(self) -> bool:
        """Whether the weights, or those of one output channel, are coarse."""
        return self.coarse or (self.channel_db is not None and self.channel_db < self.coarse_below_db)


@dataclass(frozen=True, slots=True, eq=False)
class ReadTensor:
    """A tensor that the operator reads.

    Attributes:
        exact: FP32's values, float32.
        entering: The same values, quantized as in the variant and dequantized.
        of_image: Whether it is the input of the network.
        fixed_range: Whether the kernel that computes the tensor prescribes its scale. Such a range clips by at most one
            step.
        join: The columns of the join that the tensor belongs to, if one column has a far lower SQNR than the whole;
            else None.
    """

    tensor: Tensor
    exact: np.ndarray
    entering: np.ndarray
    of_image: bool = False
    fixed_range: bool = False
    join: JoinedColumns | None = None

    @property
    def ranges(self) -> RangeSums:
        return range_sums(self.exact, self.tensor)

    @property
    def unused_share(self) -> float:
        """Share of its range that FP32's values do not reach; 0 if it has no range or the kernel prescribes it."""
        quantization, sums = self.tensor.per_tensor, self.ranges
        if quantization is None or self.fixed_range or not sums.count:
            return 0.0
        return unused_share((sums.low, sums.high), quantization.real_range(self.tensor.dtype))

    @property
    def clips_most(self) -> bool:
        """Whether clipping causes more of the error than rounding; False if the kernel prescribes the range."""
        sums = self.ranges
        return not self.fixed_range and sums.count > 0 and sums.clipping > sums.rounding


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Values and experiments of one operator.

    Attributes:
        tensor: Its first output.
        reads: The tensors that it reads.
        exact: FP32's output; the variant's output if FP32 has no such tensor.
        actual: Real values of the output of the variant's operator, run on FP32's values quantized as in the variant.
        floated: Output of FP32's operator for the same inputs; None if that operator cannot run on them.
        repaired: Share of the gain that comes back if the output is replaced by `floated`.
        weights: Accuracy of the weights; None if the operator has no weights, or if they equal FP32's.
        bias_error: Returns the real bias minus FP32's, (channels,), or None if it is unknown.
        lost_by_weights: Runs FP32's operator with the variant's dequantized weights. Returns the share of the score
            restored by `floated` that is lost again, or None if the operator cannot run.
        other_kernels: Runs the variant's operator on other kernels, and returns their name and the share of the gain
            that comes back, or None if all refuse it.
    """

    tensor: Tensor
    reads: tuple[ReadTensor, ...]
    exact: np.ndarray
    actual: np.ndarray
    floated: np.ndarray | None
    repaired: float
    weights: WeightFacts | None
    bias_error: Callable[[], np.ndarray | None]
    lost_by_weights: Callable[[], float | None]
    other_kernels: Callable[[], tuple[str, float] | None]

    @property
    def is_exact(self) -> bool:
        """Whether its inputs and its output are equal to those of FP32."""
        reads = all(np.array_equal(read.exact, read.entering) for read in self.reads)
        return reads and np.array_equal(self.exact, self.actual)
