"""Decide whether a variant may be released: compare its loss, or a bound of the loss's interval, with a limit.

The loss is one of AP (`check_losses`), of AP of keypoints or masks (`check_shapes`), or of recall at the operating
point (`check_recall`). `check_limits` checks several limits.

confident None     a variant fails if its loss exceeds the limit
confident "lower"  a variant fails if the lower bound of its loss exceeds the limit. This rarely fails because of noise,
                   but with few images almost every variant passes
confident "upper"  a variant fails if the upper bound of its loss exceeds the limit: it must be shown to be good

If the reference itself detects (nearly) none of the annotated objects, the gate cannot conclude: no variant passes and
none fails. The same applies if the annotations are not what they declare (`MISREAD`), or have no keypoints or masks to
measure.

A variant that floods the images with false alarms fails regardless of its loss, because AP and recall hardly show
false alarms. If slices are checked, a slice fails if its loss of recall, or the chosen bound, exceeds the limit.
If no bound is chosen, the loss must also be significant, because the largest of many losses in small slices is large by
chance. Only slices with an interval are checked.

A variant fails if its loss is unknown, or if `confident` is set and the loss has no interval. If an interval is wider
than the limit and contains it, a remark says that it is undecided; a strict gate then cannot conclude, unless another
variant fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from qviz.detector import PAGE_SCORE
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.evaluator import is_flood
from qviz.features.accuracy.mismatch import MAX_AP, MISREAD
from qviz.features.accuracy.operating import Operating
from qviz.features.accuracy.power import power_sentence
from qviz.formatting import interval, plural, points
from qviz.structures import Loss

Measure = Literal["ap", "keypoint_ap", "mask_ap", "recall"]
AP: Measure = "ap"
RECALL: Measure = "recall"
SHAPES: Mapping[Measure, str] = {"keypoint_ap": "keypoints", "mask_ap": "masks"}
"""Measure -> the kind of shapes whose AP it is."""
UNITS: Mapping[Measure, str] = {
    AP: "AP points",
    "keypoint_ap": "AP points of keypoints",
    "mask_ap": "AP points of masks",
    RECALL: "points of recall",
}
"""Measure -> the unit of its losses. `--max-NAME-loss` is the option for its limit."""
SHOWN_SLICES = 5


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of a gate.

    Attributes:
        measure: A key of `UNITS`.
        limit: Maximum permitted loss, in [0, 1].
        failed: Names of the variants that fail.
        remarks: One sentence per reason why a variant fails, or why the data are not sufficient.
        inconclusive: Reason why the gate cannot conclude; empty if it can.
        slices: Whether every slice had to stay within the limit as well.
        power: For each undecided variant, a sentence on how many images like these would decide.
    """

    measure: Measure
    limit: float
    confident: str | None
    passed: bool
    failed: tuple[str, ...]
    remarks: tuple[str, ...]
    inconclusive: str = ""
    slices: bool = False
    power: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """`passed`, `failed by NAMES` or `cannot conclude`."""
        if self.inconclusive:
            return "cannot conclude"
        return "passed" if self.passed else f"failed by {', '.join(self.failed)}"

    @property
    def status(self) -> int:
        """Exit status: 0 if it passed, 1 if it failed, 2 if the gate cannot conclude."""
        return 2 if self.inconclusive else int(not self.passed)

    @property
    def condition(self) -> str:
        """The condition that was checked, e.g. `at most 1.0 AP points lost`."""
        return f"at most {100 * self.limit:.1f} {UNITS[self.measure]} lost{' in every slice' if self.slices else ''}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """The remarks, the reason why the gate cannot conclude, and how many images would decide, each once."""
        return tuple(dict.fromkeys(filter(None, (*self.remarks, self.inconclusive, *self.power))))

    def to_json(self) -> dict[str, Any]:
        """The value of `gate` in `qviz evaluate --json`. The key of the limit is the name of the option."""
        slices = {"slices": self.slices} if self.measure == RECALL else {}
        return {
            f"max_{self.measure}_loss": self.limit,
            "confident": self.confident,
            **slices,
            "passed": self.passed,
            "failed": list(self.failed),
            "remarks": list(self.remarks),
            "inconclusive": self.inconclusive,
            "power": list(self.power),
        }


def check_limits(
    result: Evaluation,
    limits: Mapping[Measure, float | None],
    confident: str | None = None,
    strict: bool = False,
    slices: bool = False,
) -> list[Gate]:
    """The outcome of each limit that is not None.

    Args:
        limits: Measure -> maximum permitted loss in [0, 1], or None.
        slices: Whether to check the limit of recall in every slice as well.

    Example:
        >>> [gate.outcome for gate in check_limits(evaluation, {"ap": 0.01, "recall": None, "keypoint_ap": 0.02})]
        ['passed', 'failed by int8.tflite']
    """
    gates = []
    for measure in UNITS:
        limit = limits.get(measure)
        if limit is None:
            continue
        if measure == AP:
            gates.append(check_losses(result, limit, confident, strict))
        elif measure == RECALL:
            gates.append(check_recall(result, limit, confident, strict, slices))
        else:
            gates.append(check_shapes(result, measure, limit, confident, strict))
    return gates


def check_losses(result: Evaluation, limit: float, confident: str | None = None, strict: bool = False) -> Gate:
    """The outcome of a limit on the loss of AP.

    Args:
        limit: AP in [0, 1] that a variant may lose.
        confident: `lower`, `upper` or None.
        strict: Whether a variant for which the data are not sufficient neither passes nor fails.

    Example:
        >>> check_losses(evaluation, 0.01, "lower").outcome
        'passed'
    """
    if reason := no_reference(result):
        return Gate(AP, limit, confident, False, (), (), reason)
    return _checked(result, Gate(AP, limit, confident, True, (), ()), strict)


def check_shapes(
    result: Evaluation, measure: Measure, limit: float, confident: str | None = None, strict: bool = False
) -> Gate:
    """The outcome of a limit on the loss of AP of keypoints or masks. A variant that does not return them fails.

    Args:
        measure: `keypoint_ap` or `mask_ap`.
        limit: AP in [0, 1] that a variant may lose.
        confident: `lower`, `upper` or None.
        strict: Whether a variant for which the data are not sufficient neither passes nor fails.
    """
    if reason := no_reference(result) or _no_shapes(result, SHAPES[measure]):
        return Gate(measure, limit, confident, False, (), (), reason)
    return _checked(result, Gate(measure, limit, confident, True, (), ()), strict)


def _no_shapes(result: Evaluation, kind: str) -> str:
    """The reason why no loss of AP of keypoints or masks can be measured; empty if losses can be measured."""
    row = next((row for row in result.shapes if row.kind == kind), None)
    if row is None:
        return f"None of the models returns {kind}, or none are annotated, so a loss of their AP cannot be measured."
    if row.remark:
        return row.remark
    name, reference = result.models[0].name, row.models[0]
    if reference is None:
        return f"{name}, the reference, returns no {kind}, so a loss of their AP cannot be measured."
    return "" if reference.ap is not None and reference.ap >= MAX_AP else f"{name} finds none of the annotated {kind}."


def losses_of(result: Evaluation, measure: Measure) -> dict[str, Loss]:
    """Variant -> its loss by a measure; the loss is unknown for a variant without such figures."""
    if measure == AP:
        return {row.variant: row.ap for row in result.losses}
    if measure == RECALL:
        return {row.variant: row.overall.recall for row in (result.operating.losses if result.operating else ())}
    losses = next((row.losses for row in result.shapes if row.kind == SHAPES[measure]), ())
    return {
        row.variant: Loss(None) if loss is None else loss.ap for row, loss in zip(result.losses, losses, strict=False)
    }


def _checked(result: Evaluation, gate: Gate, strict: bool) -> Gate:
    """The outcome of a limit on a loss of AP."""
    checks = []
    of_kind = f" of AP of {SHAPES[gate.measure]}" if gate.measure in SHAPES else ""
    for index, (name, loss) in enumerate(losses_of(result, gate.measure).items()):
        flood = flood_sentence(result, index, result.models[0].name, name) if result.details else ""
        missing = f"{name} returns no {SHAPES[gate.measure]}." if of_kind and loss.value is None else ""
        undecided = ""
        if _is_undecided(loss, gate.limit):
            bounds = f"[{loss.low:.3f}, {loss.high:.3f}]"
            undecided = _undecided(
                result, f"the loss{of_kind} of {name} lies in {bounds}, and the limit is {gate.limit:.3g}"
            )
        power = _power(result, loss, gate.limit)
        checks.append(_Check(name, loss, missing, (flood,) if flood else (), undecided, power))
    return _decided(gate, checks, strict)


def check_recall(
    result: Evaluation, limit: float, confident: str | None = None, strict: bool = False, slices: bool = False
) -> Gate:
    """The outcome of a limit on the loss of recall at the operating point.

    Args:
        limit: Recall in [0, 1] that a variant may lose.
        confident: `lower`, `upper` or None.
        strict: Whether a variant for which the data are not sufficient neither passes nor fails.
        slices: Whether to check every slice as well.
    """
    operating = result.operating
    if operating is None:
        return Gate(RECALL, limit, confident, False, (), (), "There are no figures.", slices)
    if reason := no_reference(result) or _no_recall(operating):
        return Gate(RECALL, limit, confident, False, (), (), reason, slices)
    checks = []
    for index, row in enumerate(operating.losses):
        loss = row.overall.recall
        reasons = list(_floods(result, operating, index))
        if slices:
            reasons += _failing_slices(result, index, limit, confident)
        beyond = f"{row.variant} loses {points(loss.value)} points of recall."
        undecided = ""
        if _is_undecided(loss, limit):
            bounds = f"between {points(loss.low)} and {points(loss.high)} points of recall"
            undecided = _undecided(result, f"{row.variant} loses {bounds}, and the limit is {points(limit)}")
        power = _power(result, loss, limit)
        checks.append(_Check(row.variant, loss, beyond, tuple(reasons), undecided, power))
    return _decided(Gate(RECALL, limit, confident, True, (), (), slices=slices), checks, strict)


@dataclass(frozen=True, slots=True)
class _Check:
    """What is known about one variant.

    Attributes:
        beyond: A remark if the loss exceeds the limit; else empty.
        reasons: Sentences on why the variant fails regardless of its loss.
        undecided: A sentence if the interval is too wide to decide; else empty.
        power: A sentence on how many images would decide; empty if these images do.
    """

    variant: str
    loss: Loss
    beyond: str
    reasons: tuple[str, ...]
    undecided: str
    power: str


def _decided(gate: Gate, checks: Sequence[_Check], strict: bool) -> Gate:
    """The gate with its outcome, which follows from the checks of all variants."""
    failed, remarks, open_reasons = [], [], []
    for check in checks:
        is_open = bool(check.undecided) and strict
        is_beyond = bound(check.loss, gate.confident) > gate.limit and not is_open
        reasons = [check.beyond, *check.reasons] if is_beyond else [*check.reasons]
        if is_beyond or reasons:
            failed.append(check.variant)
        elif is_open:
            open_reasons.append(check.undecided)
        shown = [text for text in reasons if text]
        remarks += shown or [text for text in (check.undecided,) if text]
    inconclusive = open_reasons[0] if open_reasons and not failed else ""
    return replace(
        gate,
        passed=not failed and not inconclusive,
        failed=tuple(failed),
        remarks=tuple(remarks),
        inconclusive=inconclusive,
        power=tuple(dict.fromkeys(check.power for check in checks if check.power)),
    )


def bound(loss: Loss, confident: str | None) -> float:
    """The loss, or the bound of its interval, that is compared with the limit; infinite if it is unknown."""
    value = {None: loss.value, "lower": loss.low, "upper": loss.high}[confident]
    return float("inf") if value is None else value


def flood_sentence(result: Evaluation, index: int, reference: str, variant: str) -> str:
    """A sentence that a variant has many more false alarms than the reference; empty if it does not.

    `index` is the variant's index among the variants; `reference` and `variant` are the names to use.
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
    """The reason why no loss can be measured; empty if losses can be measured.

    Reasons are that the reference finds no annotated object, or that the annotations are misread.
    """
    if misread := next((problem for problem in result.problems if problem.code in MISREAD), None):
        return f"AP means nothing with these annotations. {misread.message} {misread.fix}"
    reference = result.models[0] if result.models else None
    if reference is None or (reference.ap is not None and reference.ap >= MAX_AP):
        return ""
    problem = next((problem for problem in result.problems if problem.code == "reference_finds_nothing"), None)
    return problem.message if problem is not None else f"{reference.name} detects none of the annotated objects."


def _no_recall(operating: Operating) -> str:
    figures = operating.models[0].figures
    if not figures.truths:
        return "No object is annotated, so there is no recall."
    return "" if figures.recall else f"{operating.models[0].name} finds none of the objects at this confidence."


def _floods(result: Evaluation, operating: Operating, index: int) -> Iterator[str]:
    """A sentence if the variant has many more false positives at the operating point and this is significant."""
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
    """Sentences about the slices that fail, the largest loss first. Only `SHOWN_SLICES` are named, the rest counted."""
    rows = [(row, row.losses[index].loss) for row in (result.slices.rows if result.slices else ())]
    failing = [
        (row, loss)
        for row, loss in rows
        if loss.low is not None and bound(loss, confident) > limit and (confident or loss.significant)
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


def _is_undecided(loss: Loss, limit: float) -> bool:
    """Whether the interval is wider than the limit and contains the limit."""
    low, high = loss.low, loss.high
    return low is not None and high is not None and high - low > abs(limit) and low <= limit < high


def _undecided(result: Evaluation, bounds: str) -> str:
    return f"Undecided with {plural(result.images, 'image')}: {bounds}."


def _power(result: Evaluation, loss: Loss, limit: float) -> str:
    """A sentence on how many images would decide; empty if these images do."""
    unknown = loss.value is not None and loss.low is None
    return power_sentence(loss, result.images, limit) if unknown or _is_undecided(loss, limit) else ""
