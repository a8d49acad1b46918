"""From "this dog fell from .62 to .31" to the operator where it fell, and why.

points     `points[k].score` is the object's score when FP32 runs up to operator k and the variant from k on: the first
           point is the variant alone. `end_score` is FP32 alone, with what the score is read from quantized as the
           variant has it. How FP32's tensors enter: see `takeover`; which score is read: see `object_score`.
culprits   the steepest steps with their causes, largest gain first: see `trace_culprits`, `trace_cause`
quick      bisects: `points` holds only the operators that were tried, and where gains of both signs cancel a culprit
           can be missed
Blocks of operators that only run together have one point, under their first; constants' DEQUANTIZE have none.

What a worker does for a trace: both networks once, then the variant from one operator after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from qviz.cache import LRUCache
from qviz.detector import decoded
from qviz.engine import Blob, Engine
from qviz.errors import ModelError, SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.tracing.culprits import Culprit, Scores, find_culprits, full, quick
from qviz.features.tracing.evidence import Examiner, OperatorConstants, Tensors
from qviz.features.tracing.takeover import FoundObject, Takeover, objects_of
from qviz.structures import EncodedImage, Settings
from qviz.tflite.paired_networks import PairedNetworks, paired_networks

if TYPE_CHECKING:
    import pandas as pd


SECONDS = 25.0
"""A full trace of a large network goes on for so long; what is left is bisected. Well below an engine's time limit."""

Blobs = tuple[Blob, Blob]

_CONSTANTS = LRUCache[Any](2)


def trace_job(
    reference: Blob, variant: Blob, settings: tuple[Settings, Settings], image: EncodedImage, object_: int | None,
    quick: bool, score: float,
) -> Trace:  # fmt: skip
    """One object on one image. Raises SettingsError where there is no such object."""
    networks, blobs = paired_networks(reference, variant, settings), (reference, variant)
    seen = decoded(image)
    truth, own = networks.run(seen)
    objects = objects_of(networks, blobs, settings, seen, truth, score)
    number = _chosen(objects, own, object_, image.name, score)
    key = (reference.digest, variant.digest, settings)
    constants = _CONSTANTS.get(key, lambda: OperatorConstants(networks, blobs))
    return _traced(networks, constants, (truth, own), objects, number, quick, image.name)


def _chosen(objects: Sequence[FoundObject], own: Tensors, number: int | None, image: str, score: float) -> int:
    """The object asked for, or the one that fell most."""
    if not objects:
        raise SettingsError(
            f"The reference finds no object in {image} at a confidence of {score:.2f} or more, so there is none to"
            " trace; give another image, or a lower confidence (--score)."
        )
    if number is None:
        return max(range(len(objects)), key=lambda i: objects[i].score - objects[i].read.of(own))
    if not 0 <= number < len(objects):
        count = f"{len(objects)} object" + ("s" if len(objects) > 1 else "")
        raise SettingsError(
            f"There is no object {number}: the reference finds {count} in {image} at a confidence of {score:.2f} or"
            f" more, numbered from 0 by falling confidence; give a number up to {len(objects) - 1}."
        )
    return number


def _traced(
    networks: PairedNetworks, constants: OperatorConstants, runs: tuple[Tensors, Tensors],
    objects: Sequence[FoundObject], number: int, quickly: bool, image: str,
) -> Trace:  # fmt: skip
    chosen = objects[number]
    takeover = Takeover(networks, *runs, chosen.read.tensors)
    last = len(takeover.steps)

    def at(cut: int) -> float:
        return chosen.read.of(takeover.run(cut))

    scores = quick(at, last) if quickly else full(at, takeover.changes_nothing, last, SECONDS)
    examiner = Examiner(networks, takeover, runs, constants, chosen.read.of)
    return Trace(
        reference="",
        variant="",
        image=image,
        object=_shown(chosen, number, scores[0]),
        objects=len(objects),
        points=_points(networks, takeover, scores),
        end_score=scores[last],
        culprits=find_culprits(examiner, scores, scores[last] - scores[0]),
        complete=len(scores) == last + 1,
    )


def _shown(chosen: FoundObject, number: int, variant_score: float) -> TracedObject:
    x1, y1, x2, y2 = (float(side) for side in chosen.box)
    return TracedObject(number, chosen.class_id, "", (x1, y1, x2, y2), chosen.score, variant_score)


def _points(networks: PairedNetworks, takeover: Takeover, scores: Scores) -> tuple[TracePoint, ...]:
    """A point for every step whose score is known; a step that the score does not depend on has the next one's."""
    graph, points = networks.variant.graph, []
    cut = len(takeover.steps)
    for number in reversed(range(len(networks.variant.steps))):
        own = cut > 0 and takeover.steps[cut - 1] == number
        cut -= own
        if cut in scores and (own or len(scores) == len(takeover.steps) + 1):
            op = graph.ops[networks.variant.steps[number].orders[0]]
            name = graph.tensors[op.outputs[0]].name if op.outputs else ""
            points.append(TracePoint(op.order, name, op.kind, scores[cut]))
    return tuple(reversed(points))


@dataclass(frozen=True, slots=True)
class TracedObject:
    """number: among FP32's objects by falling score. box: x1, y1, x2, y2 in pixels of the original image."""

    number: int
    class_id: int
    label: str
    box: tuple[float, float, float, float]
    reference_score: float
    variant_score: float


@dataclass(frozen=True, slots=True)
class TracePoint:
    """The score when the variant takes over at this operator; tensor: what the operator makes."""

    order: int
    tensor: str
    op_kind: str
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One object of one image. operators: of the variant's file; complete: every operator has its point."""

    reference: str
    variant: str
    image: str
    object: TracedObject
    objects: int
    points: tuple[TracePoint, ...]
    end_score: float
    culprits: tuple[Culprit, ...]
    complete: bool

    @property
    def sentence(self) -> str:
        """Where the object fell and why."""
        seen, name = self.object, self.object.label
        scores = f"{seen.reference_score:.2f} to {seen.variant_score:.2f}"
        if not self.culprits or seen.variant_score >= seen.reference_score:
            return f"{name} does not fall: {scores}."
        first = self.culprits[0]
        return f"{name} falls from {scores}, most at operator {first.order} ({first.op_kind}). {first.sentence}"

    def to_json(self) -> dict[str, Any]:
        """As `qviz trace --json` prints it."""
        return {
            "reference": self.reference,
            "variant": self.variant,
            "image": self.image,
            "object": {**asdict(self.object), "box": list(self.object.box)},
            "objects": self.objects,
            "points": [asdict(point) for point in self.points],
            "end_score": self.end_score,
            "culprits": [culprit.to_json() for culprit in self.culprits],
            "complete": self.complete,
            "sentence": self.sentence,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a point; gain and cause where it is a culprit."""
        import pandas as pd

        named = {culprit.order: culprit for culprit in self.culprits}
        rows = [
            {
                **asdict(point),
                "gain": named[point.order].gain if point.order in named else None,
                "cause": named[point.order].cause if point.order in named else None,
            }
            for point in self.points
        ]
        return pd.DataFrame(rows, columns=["order", "tensor", "op_kind", "score", "gain", "cause"])


def trace_object(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    image: EncodedImage,
    object_number: int | None = None,
    quick: bool = False,
    score: float = 0.25,
) -> Trace:
    """One object of FP32's on one image, by default the one that fell most. score: from where on objects are numbered.

    Raises ModelError where one of the two has no layers, SettingsError where there is no such object, ImageError,
    WorkerError.
    """
    pass  # it makes what is named here

    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    settings = (reference.settings, variant.settings)
    job = engine.submit_urgent(trace_job, reference.blob, variant.blob, settings, image, object_number, quick, score)
    found = job.result()
    labelled = replace(found.object, label=reference.inspection.label(found.object.class_id))
    return replace(found, reference=reference.name, variant=variant.name, object=labelled)
