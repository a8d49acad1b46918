"""Whether a variant may be released: compare its loss of AP, or a bound of the loss's interval, with a limit.

confident None     fails if the loss itself exceeds the limit
confident "lower"  fails only if the lower bound exceeds it: rarely fails because of noise, but with few images almost
                   everything passes
confident "upper"  fails if the upper bound exceeds it: a variant passes only if it is shown to be good

If the reference itself detects (nearly) none of the annotated objects, the gate cannot conclude: no variant passes and
none fails. The same applies if the annotations are not what they declare (`MISREAD`).

A variant that floods the images with false alarms fails regardless of its loss, because AP hardly shows false alarms.

A variant with an unknown loss fails and, with `confident`, so does one whose loss has no interval. If an interval is
wider than the limit and cannot decide, a remark says so; a strict gate then cannot conclude, unless another variant
fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qviz.detector import PAGE_SCORE
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.mismatch import MAX_AP, MISREAD
from qviz.formatting import plural
from qviz.result import to_json


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of the gate.

    Attributes:
        failed: Names of the variants that fail.
        remarks: One sentence per variant that floods the images, or for which the data are not sufficient.
        inconclusive: Reason why the gate cannot conclude; empty if it can.
    """

    max_ap_loss: float
    confident: str | None
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

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = to_json(self)
        return document


def check_losses(result: Evaluation, limit: float, confident: str | None = None, strict: bool = False) -> Gate:
    """The outcome for all variants.

    Args:
        limit: AP in [0, 1] that a variant may lose.
        confident: `lower`, `upper` or None.
        strict: Whether a variant for which the data are not sufficient neither passes nor fails.
    """
    if reason := no_reference(result):
        return Gate(limit, confident, False, (), (), reason)
    rows = [
        (loss, flood_sentence(result, index, result.models[0].name, loss.variant) if result.details else "")
        for index, loss in enumerate(result.losses)
    ]
    undecided = {loss.variant: text for loss, _ in rows if (text := _undecided(loss, limit, result.images))}
    open_variants = undecided if strict else {}
    failed = tuple(
        loss.variant
        for loss, flood in rows
        if flood or (_fails(loss, limit, confident) and loss.variant not in open_variants)
    )
    remarks = [flood or undecided.get(loss.variant) for loss, flood in rows]
    inconclusive = next(iter(open_variants.values()), "") if not failed else ""
    return Gate(limit, confident, not failed and not inconclusive, failed, tuple(filter(None, remarks)), inconclusive)


def flood_sentence(result: Evaluation, index: int, reference: str, variant: str) -> str:
    """A sentence that a variant floods the images, with the numbers of both models; empty if it does not.

    `index` is its position among the variants; `reference` and `variant` are the names to use.
    """
    detail = result.details[index]
    if not result.floods(detail):
        return ""
    first, second = detail.false_alarms
    return (
        f"{variant} floods the images: {second:.1f} false alarms per image at a confidence of {PAGE_SCORE:g}, where"
        f" {reference} has {first:.1f}; AP hardly changes with them."
    )


def no_reference(result: Evaluation) -> str:
    """Why no loss can be measured: the reference finds no annotated object, or the annotations are misread.

    Empty if it can be measured.
    """
    if misread := next((problem for problem in result.problems if problem.code in MISREAD), None):
        return f"AP means nothing with these annotations. {misread.message} {misread.fix}"
    reference = result.models[0] if result.models else None
    if reference is None or (reference.ap is not None and reference.ap >= MAX_AP):
        return ""
    problem = next((problem for problem in result.problems if problem.code == "reference_finds_nothing"), None)
    return problem.message if problem is not None else f"{reference.name} detects none of the annotated objects."


def _fails(loss: VariantLoss, limit: float, confident: str | None) -> bool:
    bound = {None: loss.ap.value, "lower": loss.ap.low, "upper": loss.ap.high}[confident]
    return bound is None or bound > limit


def _undecided(loss: VariantLoss, limit: float, images: int) -> str | None:
    low, high = loss.ap.low, loss.ap.high
    if low is None or high is None or high - low <= abs(limit):
        return None
    if low > limit or high <= limit:
        return None  # the interval lies entirely above or entirely within the limit
    return (
        f"Undecided with {plural(images, 'image')}: the loss of {loss.variant} lies in [{low:.3f}, {high:.3f}], and the"
        f" limit is {limit:.3g}. More annotated images narrow the interval."
    )
