"""What a trace returns, and its sentence: where a score falls or a box moves, and what experiments brought back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from qviz.features.inspection.warning import Warning
from qviz.features.tracing.culprits import MIN_GAIN, Culprit
from qviz.features.tracing.takeover import MIN_IOU
from qviz.result import Result
from qviz.structures.operators import operator_name

if TYPE_CHECKING:
    import pandas as pd

ALONE = 0.5
"""If a culprit's `alone` is less than this share of its `together`, the sentence also names all operators before it."""
MOVED = 0.1
"""Minimum loss of IoU for a box to count as moved."""


@dataclass(frozen=True, slots=True)
class TracedObject:
    """The object of FP32 that is followed.

    Attributes:
        number: Its number among FP32's objects by falling score, from 0.
        class_id, label: Its class in FP32.
        box: x1, y1, x2, y2 in pixels of the original image.
        reference_score, variant_score: Score in FP32 and in the variant, in [0, 1].
    """

    number: int
    class_id: int
    label: str
    box: tuple[float, float, float, float]
    reference_score: float
    variant_score: float


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The object if FP32 computes all operators before this one, and the variant computes this one and all later ones.

    Attributes:
        order, op_kind: Index and kind of the variant's operator.
        tensor: Name of the operator's output.
        score: Score of the object, in [0, 1].
        iou: IoU of the object's box with FP32's box; if the object has no score, IoU of the best candidate.
    """

    order: int
    tensor: str
    op_kind: str
    score: float
    iou: float = 0.0


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trace(Result):
    """One object of one image.

    Attributes:
        objects: Number of FP32's objects on the image.
        points: One per operator of the variant that was tried.
        end_score, end_iou: Score and IoU of FP32 alone, with the tensors that the score is read from quantized as in
            the variant.
        culprits: Operators at which the score falls, the largest gain first.
        complete: Whether every operator has a point.
        box_culprits: Operators at which the box moves, if the score does not fall; their gains are in IoU.
        warnings: Reasons why the two models cannot be compared; then no cause is named.
    """

    reference: str
    variant: str
    image: str
    object: TracedObject
    objects: int
    points: tuple[TracePoint, ...]
    end_score: float
    culprits: tuple[Culprit, ...]
    complete: bool
    end_iou: float = 1.0
    box_culprits: tuple[Culprit, ...] = ()
    warnings: tuple[Warning, ...] = ()

    ROWS: ClassVar = "points"
    JSON_ALSO: ClassVar = ("sentence",)

    @property
    def sentence(self) -> str:
        """Where the score falls or the box moves, and why. Reasons why the two models cannot be compared come first."""
        return " ".join([*(warning.message for warning in self.warnings), _finding(self)])

    def to_frame(self) -> pd.DataFrame:
        """One row per point, with gain and cause where it is a culprit."""
        import pandas as pd

        causes = {culprit.order: {"gain": culprit.gain, "cause": str(culprit.cause)} for culprit in self.culprits}
        rows = [asdict(point) | causes.get(point.order, {"gain": None, "cause": None}) for point in self.points]
        return pd.DataFrame(rows, columns=["order", "tensor", "op_kind", "score", "iou", "gain", "cause"])


def _finding(result: Trace) -> str:
    obj = result.object
    scores = f"{obj.reference_score:.2f} to {obj.variant_score:.2f}"
    iou = result.points[0].iou if result.points else result.end_iou
    moves = result.end_iou - iou >= MOVED
    if obj.reference_score - obj.variant_score < MIN_GAIN:
        if not moves:
            return f"{obj.label} does not lose confidence: {scores}."
        start = f"{obj.label} keeps its score ({scores}), but its box moves (IoU {iou:.2f})"
        if result.warnings:
            return f"{start}."
        return _with_culprit(start, result.box_culprits, "IoU")
    start = f"{obj.label} falls from {scores}"
    if result.warnings:
        return f"{start}."
    if moves and obj.variant_score < MIN_GAIN and MOVED <= iou < MIN_IOU:
        start += f" because its box moves away (IoU {iou:.2f})"
    elif moves and obj.variant_score >= MIN_GAIN:
        start += f", and its box moves (IoU {iou:.2f})"
    return _with_culprit(start, result.culprits or result.box_culprits, "the score")


def _with_culprit(start: str, culprits: tuple[Culprit, ...], what: str) -> str:
    """The sentence, completed with the first culprit that matters (see `_matters`) and the score that comes back."""
    first = next((culprit for culprit in culprits if _matters(culprit)), None)
    if first is None:
        return f"{start}. No single operator in float brings it back."
    name = operator_name(first.order, first.op_kind, first.reference_order)
    if first.together is None:
        return f"{start}, most at {name}. {first.sentence}"
    if first.alone is None:
        back = f"With this and all earlier operators in float, {first.together:.2f} of {what} comes back."
        return f"{start}, most at {name}. {first.sentence} {back}"
    if first.alone < ALONE * first.together:
        prefix = f"operators 0-{first.order}" if first.order else name
        return (
            f"{start}. In float, {prefix} together bring back {first.together:.2f} of {what}, {name} alone"
            f" {first.alone:.2f}. The steepest step is at {name}. {first.sentence}"
        )
    return (
        f"{start}, most at {name}. {first.sentence} In float alone it brings back {first.alone:.2f}; together with"
        f" all operators before it, {first.together:.2f}."
    )


def _matters(culprit: Culprit) -> bool:
    """Whether something measurable comes back if the culprit runs in float."""
    return max(culprit.gain if culprit.together is None else culprit.together, culprit.alone or 0.0) >= MIN_GAIN
