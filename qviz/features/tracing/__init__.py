"""Trace the loss of confidence of one object to the operators that cause it.

points     `points[k].score` is the object's score if FP32 computes all operators before `points[k].order` and the
           variant computes this operator and all later ones. The first point is therefore the variant alone.
           `end_score` is the score of FP32 alone, with the tensors that contain the score quantized as in the variant.
           The module `takeover` describes how the variant receives FP32's tensors and which score is read.
culprits   the steepest steps with their causes, largest gain first; see the modules `culprits` and `cause`
iou        IoU of the object's box with FP32's box, at the same points. If the score stays but the box moves,
           `box_culprits` are the steepest steps of the IoU, and their gain is in IoU.
quick      bisection: `points` has only the operators that were tried. A culprit can be missed if rises and falls of the
           score cancel.

No cause is named if the variant was not made from the reference (see `warnings`). Operators that can only run together
have one point, at the first of them. The DEQUANTIZE of a constant has no point.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.datasets.labels import label_of
from qviz.detector import PAGE_SCORE, decoded
from qviz.errors import SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import origin_of, pair_of
from qviz.features.layer_error.partial_head import Tensors
from qviz.features.tracing.constants import OperatorConstants
from qviz.features.tracing.culprits import (
    Culprit,
    Scores,
    bisected,
    find_culprits,
    full,
    output_culprit,
    quick_scores,
    with_removals,
)
from qviz.features.tracing.examiner import Examiner
from qviz.features.tracing.result import MOVED, Trace, TracedObject, TracePoint
from qviz.features.tracing.takeover import Reading, ReferenceObject, Takeover, objects_of
from qviz.features.what_if.mixed import MixedNetwork
from qviz.features.what_if.sets import Orders
from qviz.formatting import plural
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import Pair, PairedNetworks, paired_networks

__all__ = ["MOVED", "Trace", "TracePoint", "TracedObject", "trace", "trace_job"]

MAX_SECONDS = 25.0
"""After this time, a full trace of a large network only bisects the rest. It is far below the engine's time limit."""


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
        object_number: Number of the object among FP32's objects by descending score, from 0; by default the object
            whose score fell most.
        quick: Bisect instead of reading the score at every operator.
        score: Minimum confidence of FP32's objects.

    Raises:
        ImageError: The image cannot be read.
        ModelError: One of the models has no layers, because TensorFlow runs it.
        SettingsError: FP32 has no object with this number, or none with at least this score.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGE) as session:
        ...     print(session.trace())
    """
    names = reference.name, variant.name
    job = context.engine.submit_urgent(
        trace_job, pair_of(reference, variant), names, image, object_number, quick, score
    )
    warnings = origin_of(context, reference, variant)
    result = job.result()
    return replace(result, culprits=(), box_culprits=(), warnings=warnings) if warnings else result


_CONSTANTS, _MIXED = LRUCache[OperatorConstants](2), LRUCache[MixedNetwork](2)


def trace_job(
    pair: Pair, names: tuple[str, str], image: EncodedImage, object_number: int | None, quick: bool, score: float
) -> Trace:
    """In a worker: run both networks once, then the variant from each cut on, and find the culprits."""
    networks = paired_networks(pair)
    picture = decoded(image)
    runs = exact, variant_tensors = networks.run(picture)
    objects = objects_of(networks, pair, picture, exact, score)
    number = _number_of(objects, variant_tensors, object_number, image.name, score)
    chosen = objects[number]
    constants = _CONSTANTS.get(pair.key, lambda: OperatorConstants(networks, pair))
    curve = _Curve(Takeover(networks, *runs, chosen.tensors), chosen, quick)
    culprits = _Culprits(networks, pair, curve, runs, constants)
    x1, y1, x2, y2 = (float(side) for side in chosen.box)
    label = label_of(pair.settings[0].labels or (), chosen.class_id)
    return Trace(
        reference=names[0],
        variant=names[1],
        image=image.name,
        object=TracedObject(number, chosen.class_id, label, (x1, y1, x2, y2), chosen.score, curve.scores[0]),
        objects=len(objects),
        points=_points(networks, curve),
        end_score=curve.end.score,
        culprits=culprits.of_score(),
        complete=len(curve.readings) == curve.last + 1,
        end_iou=curve.end.iou,
        box_culprits=culprits.of_box(),
    )


class _Curve:
    """Score and IoU of one object over the cuts of a takeover.

    Attributes:
        last: The cut that stands for FP32 alone.
        readings: Cut -> reading, for the cuts that were tried.
    """

    def __init__(self, takeover: Takeover, chosen: ReferenceObject, quick: bool) -> None:
        self.takeover, self.object = takeover, chosen
        self.last = len(takeover.steps)
        self.readings: dict[int, Reading] = {}
        if quick:
            quick_scores(self._score, self.last)
        else:
            tried = full(self._score, takeover.changes_nothing, self.last, MAX_SECONDS)
            for cut in sorted(tried, reverse=True):  # a step that changes nothing has the next cut's reading
                if cut not in self.readings:
                    self.readings[cut] = self.readings[cut + 1]
        if quick and self.box_moves:
            bisected(lambda cut: self._read(cut).iou, self.ious)

    def _read(self, cut: int) -> Reading:
        self.readings[cut] = self.object.read(self.takeover.run(cut))
        return self.readings[cut]

    def _score(self, cut: int) -> float:
        return self._read(cut).score

    @property
    def scores(self) -> Scores:
        return {cut: reading.score for cut, reading in self.readings.items()}

    @property
    def ious(self) -> Scores:
        return {cut: reading.iou for cut, reading in self.readings.items()}

    @property
    def end(self) -> Reading:
        return self.readings[self.last]

    @property
    def fall(self) -> float:
        """FP32's score (see `end_score`) minus the score of the variant alone."""
        return self.end.score - self.readings[0].score

    @property
    def box_moves(self) -> bool:
        """Whether the IoU of the box falls by at least MOVED while the score falls by less than MOVED."""
        return self.end.iou - self.readings[0].iou >= MOVED and self.fall < MOVED


@dataclass(frozen=True, slots=True, eq=False)
class _Culprits:
    """Finds the culprits of one curve. `runs` are FP32's tensors and the variant's on the traced image."""

    networks: PairedNetworks
    pair: Pair
    curve: _Curve
    runs: tuple[Tensors, Tensors]
    constants: OperatorConstants

    def of_score(self) -> tuple[Culprit, ...]:
        """The culprits of the score, largest gain first.

        The quantization of the output is one of them if it lowers FP32's own score.
        """
        examiner, scores = self._examiner(0), self.curve.scores
        culprits = with_removals(
            find_culprits(examiner, scores, self.curve.fall), examiner, lambda orders: self._restored(orders, 0)
        )
        chosen = self.curve.object
        lost_at_end = chosen.score - self.curve.end.score
        output = output_culprit(examiner, chosen.tensors, lost_at_end, chosen.score - scores[0])
        return tuple(sorted([*culprits, *output], key=lambda culprit: -culprit.gain))

    def of_box(self) -> tuple[Culprit, ...]:
        """The culprits of the IoU, largest gain first; empty if the box does not move or if the score falls as well."""
        if not self.curve.box_moves:
            return ()
        examiner, ious = self._examiner(1), self.curve.ious
        culprits = find_culprits(examiner, ious, self.curve.end.iou - ious[0])
        return with_removals(culprits, examiner, lambda orders: self._restored(orders, 1))

    def _examiner(self, field: int) -> Examiner:
        """The examiner for the score or the IoU. field: index of the field of `Reading`."""
        takeover, read = self.curve.takeover, self.curve.object.read
        return Examiner(self.networks, takeover, self.runs, self.constants, lambda tensors: read(tensors)[field])

    def _restored(self, orders: Orders, field: int) -> float | None:
        """The score or IoU with these operators in float, minus that of the variant; None if none can run in float."""
        mixed = _MIXED.get(self.pair.key, lambda: MixedNetwork(self.networks))
        if not orders & mixed.orders:
            return None
        tensors = mixed.run(self.runs[1], orders, self.curve.object.tensors)
        return self.curve.object.read(tensors)[field] - self.curve.readings[0][field]


def _number_of(
    objects: Sequence[ReferenceObject], variant_tensors: Tensors, number: int | None, image: str, score: float
) -> int:
    """The number of the requested object or, if none is requested, of the one whose score fell most."""
    if not objects:
        raise SettingsError(
            f"The reference finds no object in {image} at a confidence of {score:.2f} or more, so there is nothing to"
            " trace; give another image, or a lower confidence (--score)."
        )
    if number is None:
        return max(range(len(objects)), key=lambda i: objects[i].score - objects[i].read(variant_tensors).score)
    if not 0 <= number < len(objects):
        raise SettingsError(
            f"There is no object {number}: the reference finds {plural(len(objects), 'object')} in {image} at a"
            f" confidence of {score:.2f} or more, numbered from 0 by falling confidence; give a number up to"
            f" {len(objects) - 1}."
        )
    return number


def _points(networks: PairedNetworks, curve: _Curve) -> tuple[TracePoint, ...]:
    """One point per step with a known score. A step that does not affect the score has the score of the next step."""
    graph, points, takeover, readings = networks.variant.graph, [], curve.takeover, curve.readings
    cut = curve.last
    for number in reversed(range(len(networks.variant.steps))):
        is_takeover = cut > 0 and takeover.steps[cut - 1] == number
        cut -= is_takeover
        if cut in readings and (is_takeover or len(readings) == curve.last + 1):
            op = graph.ops[networks.variant.steps[number].orders[0]]
            name = graph.tensors[op.outputs[0]].name if op.outputs else ""
            points.append(TracePoint(op.order, name, op.kind, readings[cut].score, readings[cut].iou))
    return tuple(reversed(points))
