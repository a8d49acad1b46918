"""What is known of one operator under test: its values, its weights, and experiments that run when they are asked for.

SQNR in dB, higher is better; energies are mean squares in the tensor's unit.
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
    """SQNR of an operator's weights, the median of the network's layers, and the limit below which they are coarse.

    Attributes:
        channel, channel_db: The output channel with the lowest SQNR; None where no axis is known. A channel whose
            weights are all zero in FP32 has none.
        zeroed: Whether all weights of that channel are zero in the variant.
        per_tensor: Whether one scale holds for all channels.
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
        """Whether they, or those of one output channel, are coarser than quantization usually leaves them."""
        return self.coarse or (self.channel_db is not None and self.channel_db < self.coarse_below_db)


@dataclass(frozen=True, slots=True, eq=False)
class ReadTensor:
    """A tensor that the operator reads: FP32's values, and those values after the variant's quantization.

    Attributes:
        fixed_range: Whether the kernel of its operator prescribes its scale, which then clips at most one step.
        join: Its SQNR by column where it is a joined tensor, or a moved one, and a column is far below the whole.
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
        """Part of its range that FP32's values do not reach; 0 where it has no range, or the kernel prescribes it."""
        quantization, sums = self.tensor.per_tensor, self.ranges
        if quantization is None or self.fixed_range or not sums.count:
            return 0.0
        return unused_share((sums.low, sums.high), quantization.real_range(self.tensor.dtype))

    @property
    def clips_most(self) -> bool:
        """Most of the energy lost is beyond a range that calibration chose."""
        sums = self.ranges
        return not self.fixed_range and sums.count > 0 and sums.clipping > sums.rounding


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """One operator under test.

    Attributes:
        exact: FP32's output.
        actual: The variant's output.
        floated: The output of FP32's operator for the variant's inputs; None where it cannot be run.
        repaired: The share of the gain that `floated` restores.
        bias_error: Returns (channels,).
        lost_by_weights: The share of what `floated` restores that is lost again when FP32's operator gets the
            variant's dequantized weights; None where that cannot be run.
        other_kernels: (name of the kernels, share of the gain that the variant's operator restores on them); None
            where they refuse it.
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
        """Whether nothing differs, neither in what it reads nor in what it computes."""
        reads = all(np.array_equal(read.exact, read.entering) for read in self.reads)
        return reads and np.array_equal(self.exact, self.actual)
