"""Where along a network one object's score is lost: the score for each operator at which the variant takes over.

Cuts are those of `Takeover`: 0 is the variant alone, `last` FP32 alone. The score at a cut that is not tried is not
known; nothing is interpolated.

full     every cut, from the last to the first, as the last ones are the quickest. After `seconds` what is left (the
         first part of the network) is bisected.
quick    bisection: the part over which the score rises most is halved, until it is one operator. Where rises and falls
         cancel within a part, its steepest step can be missed: full finds it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

Scores = dict[int, float]
"""cut -> score, of the cuts that were tried."""

MOST_TRIED = 20
"""Cuts that the quick way tries at most."""


def full(score: Callable[[int], float], changes_nothing: Callable[[int], bool], last: int, seconds: float) -> Scores:
    """Every cut. A step that makes just what would enter behind it has the score of the next cut."""
    end = time.monotonic() + seconds
    found = {last: score(last)}
    for cut in range(last - 1, -1, -1):
        if time.monotonic() > end:
            return bisected(score, {**found, 0: score(0)})
        found[cut] = found[cut + 1] if changes_nothing(cut) else score(cut)
    return found


def quick(score: Callable[[int], float], last: int) -> Scores:
    """A few cuts around the steepest step."""
    return bisected(score, {0: score(0), last: score(last)})


def bisected(score: Callable[[int], float], found: Scores) -> Scores:
    """`found` and what it takes to follow its largest rise down to one step."""
    tried = dict(found)
    for _ in range(MOST_TRIED):
        parts = list(pairwise(sorted(tried)))
        first, end = max(parts, key=lambda part: tried[part[1]] - tried[part[0]], default=(0, 0))
        if end - first <= 1:
            break
        middle = (first + end) // 2
        tried[middle] = score(middle)
    return tried


def gains(found: Scores) -> dict[int, float]:
    """cut -> score behind its step minus score before it, where both were tried."""
    return {cut: found[cut + 1] - found[cut] for cut in found if cut + 1 in found}
