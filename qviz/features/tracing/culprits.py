"""The operators at which an object's score is lost: the steepest steps of its curve, each with its cause.

Before a fault the curve is uneven: a weakened network answers to every rounding. Where rises that last are large enough
to be culprits, those that the cuts behind them take back by half (the median of AFTER of them) are left out.

A culprit's gain is the score when FP32 runs up to and with it, minus the score when FP32 runs up to it. An operator
whose output clips more than CLIPPED of FP32's values is seen one step later: FP32's values enter behind it through the
same range, and only its reader sets them free. It is charged with the gain of its first reader (the first whose step
changes the score), operators that only move values seen through; but not where that reader's own weights, bias or
kernel make the loss, as `trace_cause` tells by experiment. (A QUANTIZE is charged without that question: it does
nothing but set the range.) Where no operator made the clipped tensor, as in a file with integer inputs, the reader
itself is named.

Where along a network one object's score is lost: the score for each operator at which the variant takes over.

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
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from qviz.features.tracing.cause import INSIDE, cause_of, clipped
from qviz.features.tracing.evidence import Examiner
from qviz.structures import Op

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


CLIPPED = 0.01
MOST = 5
AFTER = 9
LEAST_GAIN, LEAST_SHARE = 0.02, 0.05
"""A culprit gains more than both: an absolute score, and this share of the whole fall."""

MOVES = frozenset(
    {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "PAD", "PADV2", "MIRROR_PAD", "SLICE", "STRIDED_SLICE"}
    | {"SPLIT_V", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"}
)
"""Operators that hand on the values that they read first, in the same range."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """One operator. SQNR in dB of its output on this image, higher is better; None: nothing differs, or not known."""

    order: int
    tensor: str
    op_kind: str
    gain: float
    cause: str
    sentence: str
    local_sqnr_db: float | None
    cumulative_sqnr_db: float | None
    fall_db: float | None
    clipped_share: float | None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def find_culprits(examiner: Examiner, scores: Scores, fall: float) -> tuple[Culprit, ...]:
    """Largest gain first; at least one where anything is gained. fall: of the whole score."""
    rises = gains(scores)
    least = max(LEAST_GAIN, LEAST_SHARE * fall)
    worth = [cut for cut in rises if rises[cut] > least]
    suspects = [cut for cut in worth if _lasts(scores, cut)] or worth or sorted(rises, key=lambda cut: rises[cut])[-1:]
    found: dict[int, Culprit] = {}
    for cut in sorted(suspects, key=lambda cut: -rises[cut]):
        if len(found) == MOST or rises[cut] <= 0:
            break
        culprit = _culprit(examiner, scores, rises, cut)
        found.setdefault(culprit.order, culprit)
    return tuple(sorted(found.values(), key=lambda culprit: -culprit.gain))


def _lasts(scores: Scores, cut: int) -> bool:
    """Whether at least half of a rise stays over most of the next cuts."""
    following = [scores[later] for later in sorted(scores) if later > cut][:AFTER]
    return median(following) >= (scores[cut] + scores[cut + 1]) / 2


def _culprit(examiner: Examiner, scores: Scores, rises: dict[int, float], cut: int) -> Culprit:
    """Who is to blame for the rise at a cut."""
    evidence = examiner.evidence(cut, scores[cut], rises[cut])
    source = _narrowest(examiner, cut)
    if source is not None:
        maker = examiner.graph.producer(source)
        unasked = maker is None or maker.kind == "QUANTIZE" or evidence.floated is None
        if unasked or evidence.repaired < INSIDE:
            return _charged(examiner, rises, cut, source, maker)
    return _made(examiner, cut, rises[cut], cause_of(evidence))


def _charged(examiner: Examiner, rises: dict[int, float], cut: int, source: int, maker: Op | None) -> Culprit:
    """The maker of a tensor whose range is too small; its reader where nobody in the file made it."""
    read, place = examiner.read(source), None if maker is None else examiner.cut_of(maker.order)
    assert read is not None, "it was found to clip FP32's values"
    if place is None:
        return _made(examiner, cut, rises[cut], clipped(read))
    readers = (other for other in sorted(rises) if other > place and _reads(examiner, other, source))
    gain = next((rises[other] for other in readers if rises[other] > 0), rises[cut])
    return _made(examiner, place, gain, clipped(read, "Its output"))


def _made(examiner: Examiner, cut: int, gain: float, cause: tuple[str, str]) -> Culprit:
    op, symptoms = examiner.op(cut), examiner.symptoms(cut)
    name = examiner.graph.tensors[op.outputs[0]].name
    return Culprit(op.order, name, op.kind, gain, *cause, **asdict(symptoms))


def _narrowest(examiner: Examiner, cut: int) -> int | None:
    """Of the tensors read at a cut the one that clips the largest share above CLIPPED, where its range was set."""
    shares = [(_share(examiner, index), index) for index in examiner.inputs(cut)]
    share, index = max(shares, default=(0.0, -1))
    return _source(examiner, index) if share > CLIPPED else None


def _share(examiner: Examiner, index: int) -> float:
    read = examiner.read(index)
    return (read.ranges.share() or 0.0) if read is not None else 0.0


def _source(examiner: Examiner, index: int) -> int:
    """The tensor whose values were moved to make this one, as long as they are clipped there too."""
    maker = examiner.graph.producer(index)
    while maker is not None and maker.kind in MOVES and maker.inputs[0] is not None:
        if _share(examiner, maker.inputs[0]) <= CLIPPED:
            break
        index = maker.inputs[0]
        maker = examiner.graph.producer(index)
    return index


def _reads(examiner: Examiner, cut: int, source: int) -> bool:
    return any(index == source or _source(examiner, index) == source for index in examiner.inputs(cut))
