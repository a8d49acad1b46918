"""Which models are on the Pareto front of size, latency and quality.

A point dominates another if it is not worse in any of the three and is better in at least one. For bytes and ms, lower
is better; for quality (AP or agreement, in [0, 1]), higher is better. Points that are not dominated form the front.
Values are compared as they are displayed: bytes to three significant figures and quality to a thousandth. Latencies
within 5 % count as equal, because two measurements of the same kernels differ by that much. Equal points do not
dominate each other, and a point with unknown quality neither dominates nor is dominated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SAME_LATENCY = 0.05


@dataclass(frozen=True, slots=True)
class Point:
    """The cost and quality of one model.

    `latency_ms` is None if latency is not measured; it is then ignored. `quality_kind` is `AP`, or `agreement` with the
    reference, whose own agreement is 1.
    """

    name: str
    bytes: int
    latency_ms: float | None
    quality: float | None
    quality_kind: str = "agreement"


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
        _faster(first.latency_ms, second.latency_ms),
        _sign(-round(first.quality, 3), -round(second.quality, 3)),
    )
    return min(signs) >= 0 and max(signs) > 0


def _shown(size: int) -> float:
    """The size rounded to three significant figures."""
    return float(f"{size:.3g}")


def _sign(first: float, second: float) -> int:
    """1 if the first is lower, -1 if it is higher, 0 if they are equal."""
    return (first < second) - (first > second)


def _faster(first: float | None, second: float | None) -> int:
    if first is None or second is None:
        return 0
    if max(first, second) <= (1 + SAME_LATENCY) * min(first, second):
        return 0
    return 1 if first < second else -1
