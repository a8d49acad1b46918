"""The result of a video in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.features.inspection.text import headline
from qviz.features.video import VideoResult
from qviz.formatting import plural, score, share


def verdict(result: VideoResult) -> str:
    """Sentences on what flickers and on the worst second."""
    return headline(result.warnings, finding(result, [row.model for row in result.summary]))


def finding(result: VideoResult, names: Sequence[str]) -> str:
    """The verdict without warnings. `names` are the shown names of the reference and the variant."""
    reference, variant = result.summary
    if not result.tracks:
        return f"Neither model finds an object in {plural(len(result.frames), 'frame')} at this confidence."
    sentence = (
        f"{names[1]} blinks {variant.blinks_per_minute:.1f} times per minute, {names[0]}"
        f" {reference.blinks_per_minute:.1f}; the objects that {names[0]} follows are present in"
        f" {share(variant.presence)} of their frames with {names[1]}, in {share(reference.presence)} with {names[0]}."
    )
    return f"{sentence} {worst(result)}".rstrip()


def worst(result: VideoResult) -> str:
    """A sentence on the second with the least agreement and its brightness; empty if the models agree everywhere."""
    if result.worst_second is None or result.worst_second[1] >= 1:
        return ""
    second, agreement = result.worst_second
    here = [row.brightness for row in result.frames if int(row.seconds) == second]
    usual = sorted(row.brightness for row in result.frames)[len(result.frames) // 2]
    level = sum(here) / len(here)
    light = f" It is dark there: brightness {level:.0f}, usually {usual:.0f}." if level < 0.6 * usual else ""
    return f"They agree least in second {second} (agreement {score(agreement)}).{light}"
