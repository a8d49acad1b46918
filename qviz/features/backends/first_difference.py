"""Find the first operator for which two backends return different outputs from the same inputs.

The file runs operator by operator on XNNPACK and on other kernels of LiteRT (`qviz.features.backends.noise`). A
difference of one integer step, or in the last bits of a float32, counts as rounding, because each set of kernels
rounds ties and adds sums in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from qviz.context import Context
from qviz.features.backends.noise import OTHER_KERNELS, KernelNoise, LayerNoise, noise_budget
from qviz.features.detection.inference import Images
from qviz.features.detection.models import LoadedModel

MAX_IMAGES = 2
"""Maximum number of images. Every operator is run on each of them with every set of kernels."""


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The first operator of a file whose output differs between XNNPACK and another backend, given the same inputs.

    Attributes:
        order: Index of the operator in the file; None if no operator differs.
        steps: Largest difference in steps of the output's scale; None for floats.
        max_abs: Largest difference of the real values.
        beyond_rounding: Whether only differences beyond rounding count.
    """

    backend: str
    order: int | None
    op_type: str | None
    tensor: str | None
    steps: int | None
    max_abs: float | None
    beyond_rounding: bool


def first_differences(
    context: Context, model: LoadedModel, images: Images, names: Sequence[str]
) -> tuple[FirstDifference, ...]:
    """Two rows for each set of kernels in `names` but XNNPACK: the first difference and the first beyond rounding."""
    kernels = [name for name in names if name in OTHER_KERNELS]
    if not kernels:
        return ()
    budget = noise_budget(context, model, list(islice(images, MAX_IMAGES)), kernels=kernels)
    return tuple(row for noise in budget.sets for row in _rows(noise))


def _rows(noise: KernelNoise) -> tuple[FirstDifference, FirstDifference]:
    return _row(noise.kernels, noise.first, False), _row(noise.kernels, noise.first_beyond_rounding, True)


def _row(backend: str, layer: LayerNoise | None, beyond_rounding: bool) -> FirstDifference:
    if layer is None:
        return FirstDifference(backend, None, None, None, None, None, beyond_rounding)
    return FirstDifference(
        backend, layer.order, layer.op_kind, layer.tensor, layer.local_steps, layer.local_max_abs, beyond_rounding
    )
