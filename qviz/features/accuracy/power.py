"""Estimate how many images a gate needs: an interval's width is proportional to 1 / sqrt(number of images)."""

from __future__ import annotations

import math

from qviz.formatting import interval, plural
from qviz.structures import Loss


def images_to_decide(loss: Loss, images: int, limit: float) -> int | None:
    """Number of similar images with which the interval of a loss would be as wide as the limit.

    None if the loss has no interval, or if the limit is 0, because no interval has a width of 0.

    Args:
        images: Number of images on which the loss was measured.
        limit: Maximum permitted loss, in [0, 1].

    Example:
        >>> images_to_decide(Loss(0.01, -0.01, 0.03, False), 100, 0.02)
        400
    """
    if loss.low is None or loss.high is None or limit == 0:
        return None
    return max(1, math.ceil(images * ((loss.high - loss.low) / abs(limit)) ** 2 - 1e-9))


def power_sentence(loss: Loss, images: int, limit: float) -> str:
    """`27 images give an interval of [-1.0, 3.0] points; about 108 ...`; empty if the interval is narrow enough."""
    needed = images_to_decide(loss, images, limit)
    if needed is None:
        few = f"{plural(images, 'image')} {'is' if images == 1 else 'are'} too few for an interval."
        return few if loss.low is None else ""
    if needed <= images:
        return ""
    bounds = interval(loss.low, loss.high)
    return (
        f"{plural(images, 'image')} give an interval of {bounds} points; about {needed:,} images like these would"
        f" decide a limit of {limit_text(limit)}."
    )


def limit_text(limit: float) -> str:
    """`1 point`, `0.5 points`. limit: In [0, 1]."""
    number = f"{100 * limit:g}"
    return f"{number} point" if number == "1" else f"{number} points"
