"""Format the times of several runs as one line: minimum, median, maximum."""

from collections.abc import Sequence
from statistics import median


def line(name: str, milliseconds: Sequence[float], goal: float | None = None) -> str:
    aim = f"   goal {goal:.0f}" if goal is not None else ""
    low, middle, high = min(milliseconds), median(milliseconds), max(milliseconds)
    return f"{name:<58} min {low:7.1f}  median {middle:7.1f}  max {high:7.1f} ms  (n={len(milliseconds)}){aim}"
