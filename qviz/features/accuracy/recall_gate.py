"""Whether a variant may be released: compare the recall that it loses at the operating point with a limit.

The bound of the interval is chosen as in `gate`. If slices are checked, a slice fails if its loss, or the chosen bound,
is above the limit. Without a chosen bound its loss must also be significant, because among many small slices the
largest loss is large by chance. Only slices with an interval are checked.

A variant that floods the images with significantly more false positives fails regardless of its recall. The gate cannot
conclude if the reference finds none of the objects. A strict gate cannot conclude either if an interval is wider than
the limit and contains it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.evaluator import is_flood
from qviz.features.accuracy.gate import no_reference
from qviz.features.accuracy.operating import Operating
from qviz.formatting import interval, plural, points
from qviz.structures import Loss

SHOWN_SLICES = 5


@dataclass(frozen=True, slots=True)
class RecallGate:
    """The outcome of the gate.

    Attributes:
        max_recall_loss: The limit, in [0, 1].
        slices: Whether every slice had to stay within the limit as well.
        failed: Names of the variants that fail.
        remarks: One sentence per reason.
        inconclusive: Reason why the gate cannot conclude; empty if it can.
    """

    max_recall_loss: float
    confident: str | None
    slices: bool
    passed: bool
    failed: tuple[str, ...]
    remarks: tuple[str, ...]
    inconclusive: str = ""

    @property
    def outcome(self) -> str:
        """The result in words."""
        if self.inconclusive:
            return "cannot conclude"
        return "passed" if self.passed else f"failed by {', '.join(self.failed)}"

    @property
    def status(self) -> int:
        """Exit status: 0 if it passed, 1 if it failed, 2 if the gate cannot conclude."""
        return 2 if self.inconclusive else int(not self.passed)


def check_recall(
    result: Evaluation, limit: float, confident: str | None = None, strict: bool = False, slices: bool = False
) -> RecallGate:
    """The outcome for all variants.

    Args:
        limit: Recall in [0, 1] that a variant may lose.
        confident: `lower`, `upper` or None.
        strict: Whether a variant for which the data are not sufficient neither passes nor fails.
        slices: Whether to check every slice as well.
    """
    operating = result.operating
    if operating is None or (reason := no_reference(result) or _no_recall(operating)):
        return RecallGate(limit, confident, slices, False, (), (), reason if operating else "There are no figures.")
    failed, remarks, open_reasons = [], [], []
    for index, loss in enumerate(operating.losses):
        recall = loss.overall.recall
        undecided = _undecided(loss.variant, recall, limit, result.images)
        reasons = list(_floods(result, operating, index))
        if slices:
            reasons += _failing_slices(result, index, limit, confident)
        if _bound(recall, confident) > limit and not (undecided and strict):
            reasons.insert(0, f"{loss.variant} loses {points(recall.value)} points of recall.")
        if reasons:
            failed.append(loss.variant)
        elif undecided and strict:
            open_reasons.append(undecided)
        remarks += [*reasons, *([undecided] if undecided and not reasons else [])]
    inconclusive = open_reasons[0] if open_reasons and not failed else ""
    passed = not failed and not inconclusive
    return RecallGate(limit, confident, slices, passed, tuple(failed), tuple(remarks), inconclusive)


def _no_recall(operating: Operating) -> str:
    figures = operating.models[0].figures
    if not figures.truths:
        return "No object is annotated, so there is no recall."
    return "" if figures.recall else f"{operating.models[0].name} finds none of the objects at this confidence."


def _bound(loss: Loss, confident: str | None) -> float:
    bound = {None: loss.value, "lower": loss.low, "upper": loss.high}[confident]
    return float("inf") if bound is None else bound


def _floods(result: Evaluation, operating: Operating, index: int) -> Iterator[str]:
    first, second = operating.models[0].figures, operating.models[index + 1].figures
    images = max(result.images, 1)
    pair = first.false_positives_per_image, second.false_positives_per_image
    if not operating.losses[index].overall.spurious_per_image.significant:
        return
    if is_flood(*((first.detections / images, second.detections / images) if result.reference_as_truth else pair)):
        name = operating.models[index + 1].name
        yield (
            f"{name} floods the images: {pair[1]:.1f} false positives per image at this confidence, where"
            f" {operating.models[0].name} has {pair[0]:.1f}."
        )


def _failing_slices(result: Evaluation, index: int, limit: float, confident: str | None) -> Iterator[str]:
    """Sentences about the slices that fail, the largest loss first; beyond `SHOWN_SLICES` only their number."""
    rows = [(row, row.losses[index].loss) for row in (result.slices.rows if result.slices else ())]
    failing = [
        (row, loss)
        for row, loss in rows
        if loss.low is not None and _bound(loss, confident) > limit and (confident or loss.significant)
    ]
    failing.sort(key=lambda pair: -(pair[1].value or 0.0))
    for row, loss in failing[:SHOWN_SLICES]:
        yield (
            f"{row.trait} {row.group}: {row.losses[index].variant} loses {points(loss.value)}"
            f" {interval(loss.low, loss.high)} points of recall on {row.meaning}."
        )
    if (more := len(failing) - SHOWN_SLICES) > 0:
        name = result.models[index + 1].name
        yield f"{name} loses more than the limit in {plural(more, 'further slice')}."


def _undecided(name: str, loss: Loss, limit: float, images: int) -> str:
    if loss.low is None or loss.high is None or loss.high - loss.low <= abs(limit):
        return ""
    if loss.low > limit or loss.high <= limit:
        return ""
    return (
        f"Undecided with {plural(images, 'image')}: {name} loses between {points(loss.low)} and {points(loss.high)}"
        f" points of recall, and the limit is {points(limit)}. More annotated images narrow the interval."
    )
