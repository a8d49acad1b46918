"""Which models are on the Pareto front of size, latency and quality.

A point dominates another if it is not worse in any of the three and is better in at least one. For bytes and ms, lower
is better; for quality (AP or agreement, in [0, 1]), higher is better. Points that are not dominated form the front.
Values are compared as they are displayed: bytes to three significant figures and quality to a thousandth. Latencies
within 5 % count as equal, because two measurements of the same kernels differ by that much. Equal points do not
dominate each other, and a point with unknown quality neither dominates nor is dominated. A latency on an NPU does not
count the operators that are left to the CPU: such a point is a lower bound, and is not taken to be faster than another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SAME_LATENCY = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """The cost and quality of one model.

    Attributes:
        latency_ms: None if it is not measured; then it is ignored.
        quality_kind: `agreement` (with the reference, which itself has 1) or `AP`.
        accelerator: The NPU on which the latency is estimated; empty if it was measured on this machine.
        cpu_operators: Number of operators whose time `latency_ms` does not count.
    """

    name: str
    bytes: int
    latency_ms: float | None
    quality: float | None
    quality_kind: str = "agreement"
    accelerator: str = ""
    cpu_operators: int = 0


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """Points, and for each point the names of the points that dominate it."""

    points: tuple[Point, ...]
    dominators: tuple[tuple[str, ...], ...]

    @property
    def quality_kind(self) -> str:
        """`agreement` or `AP`, the same for all points."""
        return self.points[0].quality_kind if self.points else "agreement"

    @property
    def front(self) -> tuple[Point, ...]:
        """The points that are not dominated, the fastest first, without points of unknown quality."""
        rows = zip(self.points, self.dominators, strict=True)
        rated = (point for point, others in rows if not others and point.quality is not None)
        return tuple(sorted(rated, key=lambda point: (point.latency_ms or 0.0, point.bytes)))

    def dominated_by(self, name: str) -> tuple[str, ...]:
        """Names of the points that dominate this one; empty if it is on the front."""
        return next(others for point, others in zip(self.points, self.dominators, strict=True) if point.name == name)


def tradeoff(points: Sequence[Point]) -> Tradeoff:
    """The trade-off between these points. Raises ValueError if they have different kinds of quality."""
    kinds = {point.quality_kind for point in points}
    if len(kinds) > 1:
        raise ValueError(f"qualities of several kinds ({', '.join(sorted(kinds))}) cannot be compared")
    rows = (tuple(other.name for other in points if dominates(other, point)) for point in points)
    return Tradeoff(tuple(points), tuple(rows))


def dominates(first: Point, second: Point) -> bool:
    """Whether the first is not worse in size, latency or quality, and better in at least one of them."""
    if first.quality is None or second.quality is None:
        return False
    signs = (
        _sign(_shown(first.bytes), _shown(second.bytes)),
        _faster(first, second),
        _sign(-round(first.quality, 3), -round(second.quality, 3)),
    )
    return min(signs) >= 0 and max(signs) > 0


def _shown(size: int) -> float:
    """The size rounded to three significant figures."""
    return float(f"{size:.3g}")


def _sign(first: float, second: float) -> int:
    """1 if the first is lower, -1 if it is higher, 0 if they are equal."""
    return (first < second) - (first > second)


def _faster(one: Point, other: Point) -> int:
    """1 if the first is faster, -1 if it is slower or may be, 0 if they are equal or one is not measured."""
    first, second = one.latency_ms, other.latency_ms
    if first is None or second is None:
        return 0
    if one.cpu_operators > other.cpu_operators:
        return -1
    if max(first, second) <= (1 + SAME_LATENCY) * min(first, second):
        return 0
    return 1 if first < second else -1
