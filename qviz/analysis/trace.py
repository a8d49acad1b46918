"""From "this dog fell from .62 to .31" to the operator where it fell, and why.

points     `points[k].score` is the object's score when FP32 runs up to operator k and the variant from k on: the first
           point is the variant alone. `end_score` is FP32 alone, with what the score is read from quantized as the
           variant has it. How FP32's tensors enter: see `takeover`; which score is read: see `object_score`.
culprits   the steepest steps with their causes, largest gain first: see `trace_culprits`, `trace_cause`
quick      bisects: `points` holds only the operators that were tried, and where gains of both signs cancel a culprit
           can be missed
Blocks of operators that only run together have one point, under their first; constants' DEQUANTIZE have none.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from qviz.analysis.models import LoadedModel
from qviz.analysis.trace_culprits import Culprit
from qviz.engine import Engine
from qviz.errors import ModelError
from qviz.structures import EncodedImage

if TYPE_CHECKING:
    import pandas as pd


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
    from qviz.analysis.trace_job import trace_job  # it makes what is named here

    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    settings = (reference.settings, variant.settings)
    job = engine.submit_urgent(trace_job, reference.blob, variant.blob, settings, image, object_number, quick, score)
    found = job.result()
    labelled = replace(found.object, label=reference.inspection.label(found.object.class_id))
    return replace(found, reference=reference.name, variant=variant.name, object=labelled)
