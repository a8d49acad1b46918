"""The operators at which an object's score is lost: the steepest steps of its curve, each with its cause.

The curve gives the score for each cut of a `Takeover`: 0 is the variant alone, `last` FP32 alone. Scores of cuts that
were not tried are unknown; nothing is interpolated.
full     every cut, from the last to the first, because late cuts run quickest. After `seconds`, the cuts that are left
         (the first part of the network) are only bisected.
quick    bisection: the part over which the score rises most is halved until it is one operator. If rises and falls
         cancel within a part, its steepest step can be missed; `full` finds it.

The curve is uneven before a fault, because a weakened network reacts to every rounding. A rise is lasting if the median
score of the next CUTS_AFTER cuts keeps at least half of it. If there are lasting rises that are large enough, the
others are left out.

The gain of a culprit is the score if FP32 computes all operators up to and including the culprit, minus the score if
FP32 computes only those before it. If an operator's output clips more than MAX_CLIPPED of FP32's values, the loss
appears one step later: a cut directly after the operator still passes FP32's values through the same range, and only a
cut after its reader avoids the range. The operator therefore gets the gain of its first reader (the first one whose
step raises the score; operators that only move values are skipped). The exception is a reader whose own weights, bias
or kernel cause the loss, as `cause` finds by experiment. (A QUANTIZE always gets the gain, because it only sets the
range.) If no operator produced the clipped tensor, as in a file with integer inputs, the reader itself is named. A
range that the kernel prescribes (`FIXED_RANGE`) does not count. If a join puts columns of different size on one scale,
the loss from rounding appears at the join's last reader, and the join gets that gain.

An operator whose inputs and output equal those of FP32 is not a culprit. `alone` says how much of the score comes back
if only the culprit runs in float and the rest of the variant is unchanged.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median

from qviz.features.layer_error.joins import JOINING
from qviz.features.tracing.cause import INSIDE, Cause, cause_of, clipped, joined_read
from qviz.features.tracing.examiner import Examiner
from qviz.features.what_if.sets import Orders, with_conversions, with_join, with_readers
from qviz.structures import Op
from qviz.structures.graph import DATA_MOVERS, JOINS
from qviz.tflite.paired_networks import CONVERSIONS

Restored = Callable[[Orders], float | None]
Scores = dict[int, float]
"""Cut -> score, for the cuts that were tried."""

MAX_BISECTIONS = 20


def full(score: Callable[[int], float], changes_nothing: Callable[[int], bool], last: int, seconds: float) -> Scores:
    """The score at every cut.

    Args:
        score: Returns the score at a cut.
        changes_nothing: Returns whether the step at a cut gives exactly FP32's values. Such a cut has the score of the
            next cut and is not run.
        last: The cut that stands for FP32 alone.
        seconds: Time after which the rest is bisected.
    """
    end = time.monotonic() + seconds
    scores = {last: score(last)}
    for cut in range(last - 1, -1, -1):
        if time.monotonic() > end:
            return bisected(score, {**scores, 0: score(0)})
        scores[cut] = scores[cut + 1] if changes_nothing(cut) else score(cut)
    return scores


def quick_scores(score: Callable[[int], float], last: int) -> Scores:
    """Scores of the first and last cut and of those that bisection tries to find the steepest step."""
    return bisected(score, {0: score(0), last: score(last)})


def bisected(score: Callable[[int], float], start: Scores) -> Scores:
    """The scores in `start`, and those of further cuts that narrow the largest rise down to one step by halving."""
    scores = dict(start)
    for _ in range(MAX_BISECTIONS):
        parts = list(pairwise(sorted(scores)))
        first, end = max(parts, key=lambda part: scores[part[1]] - scores[part[0]], default=(0, 0))
        if end - first <= 1:
            break
        middle = (first + end) // 2
        scores[middle] = score(middle)
    return scores


def gains(scores: Scores) -> dict[int, float]:
    """Cut -> score at the next cut minus score at this one, where both are known."""
    return {cut: scores[cut + 1] - scores[cut] for cut in scores if cut + 1 in scores}


MAX_CLIPPED = 0.01
MAX_CULPRITS = 5
CUTS_AFTER = 9
MIN_GAIN, MIN_SHARE = 0.02, 0.05
"""The gain of a culprit must exceed MIN_GAIN (a score) and MIN_SHARE of the fall of the whole score."""
LEAST_GAIN = 0.01
SAME_RANGE = DATA_MOVERS - JOINS - set(CONVERSIONS)
"""Operators whose output has the values of their first input in the same range."""


@dataclass(frozen=True, slots=True)
class Culprit:
    """An operator at which the score (or the IoU of a box) is lost.

    Attributes:
        gain: Score that is lost at this operator, see the module.
        local_sqnr_db, cumulative_sqnr_db: SQNR of its output on this image in dB, higher is better; None if the output
            equals FP32's, or if the SQNR is unknown.
        alone: Score that comes back if only this operator runs in float; None if this was not tried. If its range
            clips, the operators that read its output run in float, too; if it is a join, all operators on its scale.
        together: Score that comes back if FP32 computes all operators up to and including this one.
        reference_order: Index of its partner in the reference's file.
    """

    order: int
    tensor: str
    op_kind: str
    gain: float
    cause: Cause
    sentence: str
    local_sqnr_db: float | None = None
    cumulative_sqnr_db: float | None = None
    fall_db: float | None = None
    clipped_share: float | None = None
    alone: float | None = None
    together: float | None = None
    reference_order: int | None = None


def find_culprits(examiner: Examiner, scores: Scores, fall: float) -> tuple[Culprit, ...]:
    """The culprits, largest gain first.

    If no gain is large enough, the steepest step is examined if it gains at least LEAST_GAIN.

    Args:
        fall: FP32's score minus the variant's.
    """
    rises = gains(scores)
    minimum = max(MIN_GAIN, MIN_SHARE * fall)
    worth = [cut for cut in rises if rises[cut] > minimum]
    steepest = [cut for cut in sorted(rises, key=lambda cut: rises[cut])[-1:] if rises[cut] >= LEAST_GAIN]
    suspects = [cut for cut in worth if _lasts(scores, cut)] or worth or steepest
    culprits: dict[int, Culprit] = {}
    for cut in sorted(suspects, key=lambda cut: -rises[cut]):
        if len(culprits) == MAX_CULPRITS or rises[cut] <= 0:
            break
        culprit = _culprit(examiner, scores, rises, cut)
        if culprit is not None:
            culprits.setdefault(culprit.order, culprit)
    return tuple(sorted(culprits.values(), key=lambda culprit: -culprit.gain))


def _lasts(scores: Scores, cut: int) -> bool:
    """Whether the rise at a cut lasts: the median score of the following cuts keeps at least half of it."""
    following = [scores[later] for later in sorted(scores) if later > cut][:CUTS_AFTER]
    return median(following) >= (scores[cut] + scores[cut + 1]) / 2


def _culprit(examiner: Examiner, scores: Scores, rises: dict[int, float], cut: int) -> Culprit | None:
    """The operator that causes the rise at a cut; None if nothing differs there."""
    evidence = examiner.evidence(cut, scores[cut], rises[cut])
    if evidence.is_exact:
        return None
    together = scores[cut + 1] - scores[min(scores)]
    unexplained = evidence.floated is None or evidence.repaired < INSIDE
    source, joined = _narrowest(examiner, cut), joined_read(evidence)
    if source is not None:
        maker = examiner.graph.producer(source)
        if unexplained or maker is None or maker.kind == "QUANTIZE":
            return replace(_charged(examiner, rises, cut, source, maker), together=together)
    cause = cause_of(evidence)
    join_cut = None if joined is None or not unexplained else examiner.cut_of(joined.order)
    at = join_cut if join_cut is not None and joined is not None and cause[1] == joined.sentence else cut
    return replace(_culprit_at(examiner, at, rises[cut], cause), together=together)


def _charged(examiner: Examiner, rises: dict[int, float], cut: int, source: int, maker: Op | None) -> Culprit:
    """The culprit for a tensor whose range is too small: its producer, or its reader if no operator produces it."""
    read, producer_cut = examiner.read(source), None if maker is None else examiner.cut_of(maker.order)
    assert read is not None, "it was found to clip FP32's values"
    if producer_cut is None:
        return _culprit_at(examiner, cut, rises[cut], clipped(read))
    readers = (other for other in sorted(rises) if other > producer_cut and _reads(examiner, other, source))
    gain = next((rises[other] for other in readers if rises[other] > 0), rises[cut])
    return _culprit_at(examiner, producer_cut, gain, clipped(read, "Its output"))


def _culprit_at(examiner: Examiner, cut: int, gain: float, cause: tuple[Cause, str]) -> Culprit:
    op = examiner.op(cut)
    name = examiner.graph.tensors[op.outputs[0]].name
    partner = examiner.partner(op)
    return Culprit(op.order, name, op.kind, gain, *cause, **examiner.figures(cut), reference_order=partner)


def _narrowest(examiner: Examiner, cut: int) -> int | None:
    """Index of the source of the tensor with the largest clipped share among the tensors read at a cut.

    None if no share is above MAX_CLIPPED.
    """
    shares = [(_share(examiner, index), index) for index in examiner.inputs(cut)]
    share, index = max(shares, default=(0.0, -1))
    return _source(examiner, index) if share > MAX_CLIPPED else None


def _share(examiner: Examiner, index: int) -> float:
    read = examiner.read(index)
    return (read.ranges.share() or 0.0) if read is not None and not read.fixed_range else 0.0


def _source(examiner: Examiner, index: int) -> int:
    """Index of the earliest tensor that contains the same values, only moved, and that also clips them."""
    maker = examiner.graph.producer(index)
    while maker is not None and maker.kind in SAME_RANGE and maker.inputs[0] is not None:
        if _share(examiner, maker.inputs[0]) <= MAX_CLIPPED:
            break
        index = maker.inputs[0]
        maker = examiner.graph.producer(index)
    return index


def _reads(examiner: Examiner, cut: int, source: int) -> bool:
    return any(index == source or _source(examiner, index) == source for index in examiner.inputs(cut))


def output_culprit(examiner: Examiner, tensors: Sequence[int], lost: float, fall: float) -> list[Culprit]:
    """The quantization of the network's output as a culprit, if quantizing FP32's own output lowers the score.

    Args:
        tensors: The variant's tensors that the head reads.
        lost: FP32's score minus the score after quantization of these tensors.
        fall: FP32's score minus the variant's.
    """
    if lost <= max(MIN_GAIN, MIN_SHARE * fall):
        return []
    reads = [read for index in tensors if (read := examiner.read(index)) is not None and read.tensor.quantized]
    joins = [read for read in reads if read.join is not None]
    clips = [read for read in reads if read.clips_most]
    if not reads:
        return []
    read = next(iter(clips + joins), reads[0])
    cause = Cause.ROUNDING, "Rounding of FP32's own values at this output lowers the score."
    if clips:
        cause = clipped(read, "Its output")
    elif read.join is not None:
        cause = Cause.ROUNDING, read.join.sentence
    maker = examiner.graph.producer(read.tensor.index)
    if read.join is not None:
        maker = examiner.graph.ops[read.join.order]
    if maker is None:
        return []
    return [Culprit(maker.order, read.tensor.name, maker.kind, lost, *cause, reference_order=examiner.partner(maker))]


NAMED = 2
"""Number of culprits that are also run alone in float; the sentence names only these."""


def with_removals(culprits: Sequence[Culprit], examiner: Examiner, restored: Restored) -> tuple[Culprit, ...]:
    """The culprits, with `alone` filled in for the first `NAMED` of them.

    Args:
        restored: Returns the score (or IoU) that comes back if a set of operators runs in float, or None if none of
            them can.
    """
    rows = list(culprits)
    for i, culprit in enumerate(rows[:NAMED]):
        orders = frozenset({culprit.order})
        if culprit.op_kind in JOINING:
            orders = with_join(examiner.graph, culprit.order)
        elif culprit.cause in (Cause.CLIPPING, Cause.INPUT_RANGE):
            orders = with_readers(examiner.graph, culprit.order)
        rows[i] = replace(culprit, alone=restored(with_conversions(examiner.graph, orders)))
    return tuple(rows)
