"""From "this dog fell from 0.62 to 0.31" to the operator where it fell, and why.

points     `points[k].score` is the object's score when FP32 runs up to operator k and the variant from k on, so the
           first point is the variant alone. `end_score` is FP32 alone, with the tensors that the score is read from
           quantized as in the variant. How FP32's tensors enter and which score is read: see `takeover`.
culprits   the steepest steps with their causes, largest gain first: see `culprits`, `cause`
quick      bisection: `points` holds only the operators that were tried. Where rises and falls cancel, a culprit can be
           missed.

Blocks of operators that only run together have one point, at their first; a constant's DEQUANTIZE has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.datasets.labels import label_of
from qviz.detector import PAGE_SCORE, decoded
from qviz.errors import SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.layer_error.partial_head import Tensors
from qviz.features.tracing.cause import Examiner, OperatorConstants
from qviz.features.tracing.culprits import Culprit, Scores, find_culprits, full, quick_scores
from qviz.features.tracing.takeover import ReferenceObject, Takeover, objects_of
from qviz.formatting import plural
from qviz.result import Result
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import Pair, PairedNetworks, paired_networks

if TYPE_CHECKING:
    import pandas as pd

MAX_SECONDS = 25.0
"""A full trace of a large network stops after this time, far below an engine's limit; the rest is bisected."""


@dataclass(frozen=True, slots=True)
class TracedObject:
    """The object of FP32 that is followed.

    Attributes:
        number: Among FP32's objects by falling score, from 0.
        box: x1, y1, x2, y2 in pixels of the original image.
    """

    number: int
    class_id: int
    label: str
    box: tuple[float, float, float, float]
    reference_score: float
    variant_score: float


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The score when the variant takes over at this operator; tensor: the name of its output."""

    order: int
    tensor: str
    op_kind: str
    score: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Trace(Result):
    """One object of one image.

    Attributes:
        objects: Number of FP32's objects on the image.
        points: By operator of the variant.
        complete: Whether every operator has its point.
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

    ROWS: ClassVar = "points"
    JSON_ALSO: ClassVar = ("sentence",)

    @property
    def sentence(self) -> str:
        """Where the object falls, and why."""
        obj = self.object
        scores = f"{obj.reference_score:.2f} to {obj.variant_score:.2f}"
        if not self.culprits or obj.variant_score >= obj.reference_score:
            return f"{obj.label} does not fall: {scores}."
        first = self.culprits[0]
        return f"{obj.label} falls from {scores}, most at operator {first.order} ({first.op_kind}). {first.sentence}"

    def to_frame(self) -> pd.DataFrame:
        """One row per point, with gain and cause where it is a culprit."""
        import pandas as pd

        causes = {culprit.order: {"gain": culprit.gain, "cause": str(culprit.cause)} for culprit in self.culprits}
        rows = [asdict(point) | causes.get(point.order, {"gain": None, "cause": None}) for point in self.points]
        return pd.DataFrame(rows, columns=["order", "tensor", "op_kind", "score", "gain", "cause"])


def trace(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    image: EncodedImage,
    *,
    object_number: int | None = None,
    quick: bool = False,
    score: float = PAGE_SCORE,
) -> Trace:
    """Follow one object of FP32 on one image through the variant.

    Args:
        object_number: Among FP32's objects by falling score, from 0; by default the one that fell most.
        quick: Bisect instead of reading the score at every operator.
        score: Minimum confidence of FP32's objects.

    Raises:
        ImageError: The image cannot be read.
        ModelError: One of the two has no layers: it is run by TensorFlow.
        SettingsError: There is no such object.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGE) as session:
        ...     print(session.trace())
    """
    names = reference.name, variant.name
    job = context.engine.submit_urgent(
        trace_job, pair_of(reference, variant), names, image, object_number, quick, score
    )
    return job.result()


_CONSTANTS = LRUCache[OperatorConstants](2)


def trace_job(
    pair: Pair, names: tuple[str, str], image: EncodedImage, object_number: int | None, quick: bool, score: float
) -> Trace:
    """In a worker: both networks once, then the variant from one operator after another."""
    networks = paired_networks(pair)
    picture = decoded(image)
    runs = exact, variant_tensors = networks.run(picture)
    objects = objects_of(networks, pair, picture, exact, score)
    number = _number_of(objects, variant_tensors, object_number, image.name, score)
    chosen = objects[number]
    constants = _CONSTANTS.get(pair.key, lambda: OperatorConstants(networks, pair))
    takeover = Takeover(networks, *runs, chosen.tensors)
    last = len(takeover.steps)

    def score_at(cut: int) -> float:
        return chosen.read(takeover.run(cut))

    scores = quick_scores(score_at, last) if quick else full(score_at, takeover.changes_nothing, last, MAX_SECONDS)
    examiner = Examiner(networks, takeover, runs, constants, chosen.read)
    x1, y1, x2, y2 = (float(side) for side in chosen.box)
    label = label_of(pair.settings[0].labels or (), chosen.class_id)
    return Trace(
        reference=names[0],
        variant=names[1],
        image=image.name,
        object=TracedObject(number, chosen.class_id, label, (x1, y1, x2, y2), chosen.score, scores[0]),
        objects=len(objects),
        points=_points(networks, takeover, scores),
        end_score=scores[last],
        culprits=find_culprits(examiner, scores, scores[last] - scores[0]),
        complete=len(scores) == last + 1,
    )


def _number_of(
    objects: Sequence[ReferenceObject], variant_tensors: Tensors, number: int | None, image: str, score: float
) -> int:
    """The requested object, or the one that fell most."""
    if not objects:
        raise SettingsError(
            f"The reference finds no object in {image} at a confidence of {score:.2f} or more, so there is nothing to"
            " trace; give another image, or a lower confidence (--score)."
        )
    if number is None:
        return max(range(len(objects)), key=lambda i: objects[i].score - objects[i].read(variant_tensors))
    if not 0 <= number < len(objects):
        raise SettingsError(
            f"There is no object {number}: the reference finds {plural(len(objects), 'object')} in {image} at a"
            f" confidence of {score:.2f} or more, numbered from 0 by falling confidence; give a number up to"
            f" {len(objects) - 1}."
        )
    return number


def _points(networks: PairedNetworks, takeover: Takeover, scores: Scores) -> tuple[TracePoint, ...]:
    """A point for every step with a known score; a step that the score does not depend on has that of the next one."""
    graph, points = networks.variant.graph, []
    cut = len(takeover.steps)
    for number in reversed(range(len(networks.variant.steps))):
        is_takeover = cut > 0 and takeover.steps[cut - 1] == number
        cut -= is_takeover
        if cut in scores and (is_takeover or len(scores) == len(takeover.steps) + 1):
            op = graph.ops[networks.variant.steps[number].orders[0]]
            name = graph.tensors[op.outputs[0]].name if op.outputs else ""
            points.append(TracePoint(op.order, name, op.kind, scores[cut]))
    return tuple(reversed(points))
