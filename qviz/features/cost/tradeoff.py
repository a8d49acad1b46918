"""Size against latency against quality: which variants are worth a look, and the finding in a sentence.

A point dominates another where it is no worse in all three (bytes and ms: lower is better; quality, AP or agreement in
[0, 1]: higher is better) and better in one; what nobody dominates is the Pareto front. Figures count as they are
shown: bytes to three significant figures, quality to a thousandth, and a latency within 5 % is the same, since the
same kernels measured twice differ by as much. Equals do not dominate each other. A point of unknown quality is neither
dominated nor does it dominate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qviz.formatting import milliseconds, points, score

SAME_LATENCY = 0.05
KEPT = 0.8
"""The share of the reference's quality from which on a variant is named as a gain."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model. quality_kind: `agreement` (with the reference, whose own is 1) or `AP`."""

    name: str
    bytes: int
    latency_ms: float
    quality: float | None
    quality_kind: str = "agreement"


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """dominators: for each point the names of those that dominate it; none on the front."""

    points: tuple[Point, ...]
    dominators: tuple[tuple[str, ...], ...]

    @property
    def quality_kind(self) -> str:
        """The one of all points."""
        return self.points[0].quality_kind if self.points else "agreement"

    @property
    def front(self) -> tuple[Point, ...]:
        """The fastest first; points of unknown quality are left out."""
        rows = zip(self.points, self.dominators, strict=True)
        known = (point for point, others in rows if not others and point.quality is not None)
        return tuple(sorted(known, key=lambda point: (point.latency_ms, point.bytes)))

    def dominated_by(self, name: str) -> tuple[str, ...]:
        """Empty on the front."""
        return next(others for point, others in zip(self.points, self.dominators, strict=True) if point.name == name)


def tradeoff(points: Sequence[Point]) -> Tradeoff:
    """The points in their order. Raises ValueError where qualities of two kinds are mixed."""
    kinds = {point.quality_kind for point in points}
    if len(kinds) > 1:
        raise ValueError(f"qualities of several kinds ({', '.join(sorted(kinds))}) cannot be compared")
    rows = (tuple(other.name for other in points if dominates(other, point)) for point in points)
    return Tradeoff(tuple(points), tuple(rows))


def dominates(first: Point, second: Point) -> bool:
    """No worse in size, latency and quality, and better in one."""
    if first.quality is None or second.quality is None:
        return False
    signs = (
        _sign(_shown(first.bytes), _shown(second.bytes)),
        _faster(first.latency_ms, second.latency_ms),
        _sign(-round(first.quality, 3), -round(second.quality, 3)),
    )
    return min(signs) >= 0 and max(signs) > 0


def _shown(size: int) -> float:
    """Three significant figures."""
    return float(f"{size:.3g}")


def _sign(first: float, second: float) -> int:
    """1 where the first is lower, -1 where it is higher."""
    return (first < second) - (first > second)


def _faster(first: float, second: float) -> int:
    if max(first, second) <= (1 + SAME_LATENCY) * min(first, second):
        return 0
    return 1 if first < second else -1


def tradeoff_verdict(found: Tradeoff, reference: str) -> str:
    """What the reference's best variant gains, and who need not be looked at. reference: its point's name."""
    base = next((point for point in found.points if point.name == reference), None)
    if base is None:
        fastest = min(found.front or found.points, key=lambda point: point.latency_ms)
        said = f"{reference} was not measured; {fastest.name} is the fastest, {milliseconds(fastest.latency_ms)} a run"
        return f"{said}{_at(fastest)}."
    others = [point for point in found.points if point.name != reference]
    if not others:
        return f"{reference} takes {milliseconds(base.latency_ms)} a run: add a quantized variant of it to compare."
    front = [point for point in found.front if point.name != reference]
    kept = [point for point in front if _keeps(point, base)]
    chosen = min(kept or front or others, key=lambda point: point.latency_ms)
    said = f"{chosen.name} is {_gains(chosen, base)}{_at(chosen)}"
    if not kept and chosen.quality is not None:
        said += f"; no variant gains anything and keeps {KEPT:.0%} of its {found.quality_kind}"
    beaten = [point.name for point in found.points if found.dominated_by(point.name)]
    if beaten:
        verb = f"is dominated by {found.dominated_by(beaten[0])[0]}" if len(beaten) == 1 else "are dominated"
        said += f". {_listed(beaten)} {verb}"
    return said + "."


def _keeps(point: Point, base: Point) -> bool:
    return point.quality is not None and base.quality is not None and point.quality >= KEPT * base.quality


def _gains(point: Point, base: Point) -> str:
    """`3.4× smaller and 2.2× faster than float32`."""
    size = _times(base.bytes / max(point.bytes, 1), "smaller", "larger", "large", 0.0)
    speed = _times(base.latency_ms / max(point.latency_ms, 1e-9), "faster", "slower", "fast", SAME_LATENCY)
    joined = f"{size} and {speed}"
    if joined.count(" than") == 2:
        joined = joined.replace(" than", "", 1)
    return f"{joined} {base.name}"


def _times(ratio: float, more: str, less: str, same: str, within: float) -> str:
    """3.42 -> `3.4× smaller than`, 0.5 -> `2.0× larger than`, 1 -> `about as large as`."""
    larger = max(ratio, 1 / ratio)
    if larger <= 1 + within or f"{larger:.1f}" == "1.0":
        return f"about as {same} as"
    return f"{larger:.1f}× {more if ratio > 1 else less} than"


def _at(point: Point) -> str:
    if point.quality is None:
        return f", its {point.quality_kind} unknown"
    shown = points(point.quality) if point.quality_kind == "AP" else score(point.quality)
    return f" at {point.quality_kind} {shown}"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
