"""The inputs that a convolution reads at given output positions (im2col), with the strides, dilation and padding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def sampled_rows(
    values: np.ndarray, window: tuple[int, ...], options: Mapping[str, Any], count: int, random: np.random.Generator
) -> np.ndarray:
    """The inputs of up to `count` output positions, (positions, window height * width, channels) float32.

    Args:
        values: (batch, height, width, channels).
        window: Height and width of the weights.
        options: Options of the convolution: padding, strideH, strideW, dilationHFactor, dilationWFactor.
    """
    steps = int(options["strideH"]), int(options["strideW"])
    gaps = int(options["dilationHFactor"]), int(options["dilationWFactor"])
    pads = [(0, 0)]
    for size, side, step, gap in zip(values.shape[1:3], window, steps, gaps, strict=True):
        reach = (side - 1) * gap + 1
        total = max((-(-size // step) - 1) * step + reach - size, 0) if options["padding"] == "SAME" else 0
        pads.append((total // 2, total - total // 2))
    padded = np.pad(values, [*pads, (0, 0)])
    reaches = [(side - 1) * gap + 1 for side, gap in zip(window, gaps, strict=True)]
    counts = [(size - reach) // step + 1 for size, reach, step in zip(padded.shape[1:3], reaches, steps, strict=True)]
    total = len(padded) * counts[0] * counts[1]
    chosen = np.arange(total) if total <= count else random.choice(total, count, replace=False)
    image, position = np.divmod(chosen, counts[0] * counts[1])
    top, left = np.divmod(position, counts[1])
    rows = [
        padded[image, top * steps[0] + y * gaps[0], left * steps[1] + x * gaps[1]]
        for y in range(window[0])
        for x in range(window[1])
    ]
    return np.stack(rows, 1).astype(np.float32)
