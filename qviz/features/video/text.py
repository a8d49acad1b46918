"""The result of a video in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.features.inspection.text import headline
from qviz.features.video import VideoResult
from qviz.formatting import interval, plural, points, score, share


def verdict(result: VideoResult) -> str:
    """Sentences on how the objects flicker, and on the second with the least agreement."""
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
    return " ".join(filter(None, (sentence, *difference(result, names), worst(result), alarms(result, names))))


def difference(result: VideoResult, names: Sequence[str]) -> list[str]:
    """Sentences on the differences that are significant over the tracks, with their intervals."""
    sentences = []
    blinks, presence, jitter = result.losses.blinks_per_minute, result.losses.presence, result.losses.jitter
    over = f"over {plural(len(result.tracks), 'object')}"
    if blinks.significant and blinks.value and blinks.low is not None and blinks.high is not None:
        more = "more" if blinks.value > 0 else "fewer"
        bounds = f"[{blinks.low:.1f}, {blinks.high:.1f}]"
        sentences.append(
            f"{names[1]} has {abs(blinks.value):.1f} {more} blinks per minute (difference {bounds} {over})."
        )
    if presence.significant and presence.value:
        less = "less" if presence.value > 0 else "more"
        bounds = interval(presence.low, presence.high)
        sentences.append(
            f"It shows them {points(abs(presence.value))} points {less} of the time (difference {bounds} {over})."
        )
    if jitter.significant and jitter.value:
        more = "more" if jitter.value > 0 else "less"
        bounds = f"[{100 * (jitter.low or 0):.2f}, {100 * (jitter.high or 0):.2f}]"
        sentences.append(
            f"Its boxes jitter {100 * abs(jitter.value):.2f}% of their size {more} (difference {bounds} {over})."
        )
    return sentences


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


def alarms(result: VideoResult, names: Sequence[str]) -> str:
    """A sentence on the examined frames that exceed the variant's ranges; empty if no frame was examined."""
    if not result.out_of_range:
        return ""
    rows = [row for row in result.out_of_range if row.alarm]
    count = f"of {plural(len(result.out_of_range), 'examined frame')}"
    if not rows:
        return f"None {count} lies far outside the calibrated ranges of {names[1]}."
    verb = "lies" if len(rows) == 1 else "lie"
    where = f"in second {int(rows[0].seconds)}"
    if len(rows) > 1:
        where = f"between seconds {int(rows[0].seconds)} and {int(rows[-1].seconds)}"
    return f"{len(rows)} {count} {verb} far outside the calibrated ranges of {names[1]}, {where}."
