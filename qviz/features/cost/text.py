"""The cost of models in sentences."""

from __future__ import annotations

from qviz.features.cost import Profile
from qviz.features.cost.npu import NpuCost
from qviz.features.cost.tradeoff import SAME_LATENCY, Point, Tradeoff
from qviz.formatting import listed, megabytes, milliseconds, plural, points, score

MIN_QUALITY = 0.8
"""A variant is named as a gain only if it has at least this share of the reference's quality."""


def verdict(profile: Profile) -> str:
    """`float32 takes 24.0 ms and 9.60 MB; int8 11.0 ms and 3.10 MB (p50, 1 thread).`"""
    threads = min(row.threads for row in profile.models)
    rows = [f"{row.name} {milliseconds(row.p50_ms)} and {megabytes(row.bytes)}" for row in profile.at(threads)]
    return f"{'; '.join(rows)} (median latency with {plural(threads, 'thread')}, file size)."


def npu_sentence(model: str, npu: NpuCost) -> str:
    """The estimated time, memory and operators of a model on an Ethos-U."""
    left = (
        f"; {plural(npu.cpu_operators, 'operator')} of {npu.cpu_operators + npu.npu_operators} left to the CPU,"
        " whose time is not counted"
        if npu.cpu_operators
        else ""
    )
    return (
        f"{model} on {npu.accelerator}: {milliseconds(npu.ms)} ({npu.cycles:,} cycles at {npu.clock_mhz:.0f} MHz),"
        f" {npu.sram_kb:,.0f} KiB of SRAM, {npu.dram_kb + npu.flash_kb:,.0f} KiB of DRAM and flash{left}. Estimated by"
        f" {npu.compiler} for {npu.system}."
    )


def tradeoff_verdict(tradeoff: Tradeoff, reference: str) -> str:
    """What the best variant gains over the reference, and which models are dominated.

    The best variant is the fastest one with enough quality or, if latency is not measured, the smallest one.

    Args:
        reference: Name of the reference's point.
    """
    base = next((point for point in tradeoff.points if point.name == reference), None)
    if base is None:
        fastest = min(tradeoff.front or tradeoff.points, key=_cost)
        latency = milliseconds(fastest.latency_ms or 0.0)
        return f"{reference} was not measured; {fastest.name} is the fastest, {latency} per run{_at(fastest)}."
    others = [point for point in tradeoff.points if point.name != reference]
    if not others:
        cost = megabytes(base.bytes) if base.latency_ms is None else f"{milliseconds(base.latency_ms)} per run"
        return f"{reference} takes {cost}. Add a quantized variant to compare."
    front = [point for point in tradeoff.front if point.name != reference]
    good = [point for point in front if _keeps(point, base)]
    chosen = min(good or front or others, key=_cost)
    sentence = f"{chosen.name} is {_gains(chosen, base)}{_at(chosen)}"
    if not good and chosen.quality is not None:
        sentence += f"; no smaller or faster variant keeps {MIN_QUALITY:.0%} of {reference}'s {tradeoff.quality_kind}"
    dominated = [point.name for point in tradeoff.points if tradeoff.dominated_by(point.name)]
    if dominated:
        verb = f"is dominated by {tradeoff.dominated_by(dominated[0])[0]}" if len(dominated) == 1 else "are dominated"
        sentence += f". {listed(dominated, len(dominated))} {verb}"
    return sentence + "."


def _cost(point: Point) -> tuple[float, int]:
    """Sort key: the fastest first if latency is measured, then the smallest."""
    return point.latency_ms or 0.0, point.bytes


def _keeps(point: Point, base: Point) -> bool:
    return point.quality is not None and base.quality is not None and point.quality >= MIN_QUALITY * base.quality


def _gains(point: Point, base: Point) -> str:
    """`3.4× smaller and 2.2× faster than float32`."""
    size = _times(base.bytes / max(point.bytes, 1), "smaller", "larger", "large", 0.0)
    if point.latency_ms is None or base.latency_ms is None:
        return f"{size} {base.name}"
    speed = _times(base.latency_ms / max(point.latency_ms, 1e-9), "faster", "slower", "fast", SAME_LATENCY)
    joined = f"{size} and {speed}"
    if joined.count(" than") == 2:
        joined = joined.replace(" than", "", 1)
    return f"{joined} {base.name}"


def _times(ratio: float, more: str, less: str, same: str, within: float) -> str:
    """A ratio in words: 3.42 -> `3.4× smaller than`, 0.5 -> `2.0× larger than`, 1 -> `about as large as`."""
    larger = max(ratio, 1 / ratio)
    if larger <= 1 + within or f"{larger:.1f}" == "1.0":
        return f"about as {same} as"
    return f"{larger:.1f}× {more if ratio > 1 else less} than"


def _at(point: Point) -> str:
    if point.quality is None:
        return f", its {point.quality_kind} unknown"
    shown = points(point.quality) if point.quality_kind == "AP" else score(point.quality)
    return f" at {point.quality_kind} {shown}"
