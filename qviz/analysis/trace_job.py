"""What a worker does for a trace: both networks once, then the variant from one operator after another."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.analysis.object_score import FoundObject, objects_of
from qviz.analysis.operator_constants import OperatorConstants
from qviz.analysis.paired_networks import PairedNetworks, paired_networks
from qviz.analysis.takeover import Takeover
from qviz.analysis.trace import Trace, TracedObject, TracePoint
from qviz.analysis.trace_culprits import find_culprits
from qviz.analysis.trace_curve import Scores, full, quick
from qviz.analysis.trace_evidence import Examiner, Tensors
from qviz.detector import decoded
from qviz.engine import Blob, Warm
from qviz.errors import SettingsError
from qviz.structures import EncodedImage, Settings

SECONDS = 25.0
"""A full trace of a large network goes on for so long; what is left is bisected. Well below an engine's time limit."""

Blobs = tuple[Blob, Blob]

_CONSTANTS = Warm(2)


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
    takeover = Takeover(networks, *runs, chosen.read.wanted)
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
