"""Choose the integers of weight matrices with GPTQ (arXiv 2210.17323), for many small problems at once.

Shapes: weights (problems, outputs, inputs), scales (problems, outputs), moments X'X (problems, inputs, inputs), all
float64. A convolution is one problem; a depthwise convolution is one problem per channel.
"""

from __future__ import annotations

import numpy as np

DAMPING = 0.01
"""This fraction of the diagonal's mean is added to the diagonal, so that nearly constant inputs do not dominate."""
BLOCK = 64
"""Inputs per block: errors of a block are compensated in all later blocks at once."""
SHRINK = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Factors by which scales are multiplied on trial."""


def rounded(weights: np.ndarray, moments: np.ndarray, scales: np.ndarray, largest: int) -> np.ndarray:
    """Integers in [-largest, largest] such that |X (weights - integers * scale)|^2 is small."""
    order = np.argsort(-np.diagonal(moments, axis1=1, axis2=2).sum(0))  # the input with the largest values first
    rest = weights[..., order].copy()
    factor = _factor(moments[:, order][:, :, order])
    integers = np.empty_like(rest)
    count = rest.shape[-1]
    for start in range(0, count, BLOCK):
        end = min(start + BLOCK, count)
        errors = np.empty((*rest.shape[:2], end - start))
        for at in range(start, end):
            integers[..., at] = np.clip(np.rint(rest[..., at] / scales), -largest, largest)
            error = (rest[..., at] - integers[..., at] * scales) / factor[:, None, at, at]
            rest[..., at:end] -= error[..., None] * factor[:, None, at, at:end]
            errors[..., at - start] = error
        rest[..., end:] -= errors @ factor[:, start:end, end:]
    result = np.empty_like(integers)
    result[..., order] = integers
    return result


def _factor(moments: np.ndarray) -> np.ndarray:
    """Upper Cholesky factor of the inverse of the damped moments; the identity where all inputs are zero."""
    diagonal = np.diagonal(moments, axis1=1, axis2=2)
    damping = DAMPING * diagonal.mean(1)
    damping = np.where(damping > 0, damping, 1.0)
    damped = moments + damping[:, None, None] * np.eye(moments.shape[-1])
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)


def smaller_scales(weights: np.ndarray, moments: np.ndarray, scales: np.ndarray, largest: int) -> np.ndarray:
    """Each output's scale times the factor in `SHRINK` with which plain rounding has the smallest error."""
    best, smallest_error = scales, np.full(scales.shape, np.inf)
    for factor in SHRINK:
        candidate = scales * factor
        integers = np.clip(np.rint(weights / candidate[..., None]), -largest, largest)
        difference = weights - integers * candidate[..., None]
        error = ((difference @ moments) * difference).sum(-1)
        best = np.where(error < smallest_error, candidate, best)
        smallest_error = np.minimum(error, smallest_error)
    return best
