"""Split an output that joins boxes and scores, so that boxes and scores get separate scales.

If boxes in pixels share one 8-bit scale with scores, or logits share one with boxes in [0, 1], only a few steps are
left for one of the two. The last CONCATENATION of the float file is removed, and so is a TRANSPOSE after it. The
tensors that it joined become the network's outputs, named `boxes` and `scores` in the file's signature; their values
do not change. qviz decodes such a network with `boxes_and_scores`; `docs/rescue.md` explains the decoding for other
programs.
"""

from __future__ import annotations

from dataclasses import dataclass

from qviz.decoders import fitting
from qviz.errors import QuantizeError
from qviz.features.building.source import with_associated_files
from qviz.structures import Graph, Op, Tensor
from qviz.tflite.edit import add_tensor, packed, set_outputs, unpacked, without_unused
from qviz.tflite.schema import read_graph

DECODER = "boxes_and_scores"
COORDINATES = 4


@dataclass(frozen=True, slots=True)
class Split:
    """Where to split a network's output into boxes and scores.

    Attributes:
        ops: Operators to remove: the CONCATENATION and, if there is one, the TRANSPOSE after it.
        boxes: The joined tensors that make up the boxes.
        scores: The tensor of scores.
        axis: Axis of the columns, along which the tensors are joined.
    """

    ops: tuple[Op, ...]
    boxes: tuple[Tensor, ...]
    scores: Tensor
    axis: int


def split_of(graph: Graph) -> Split | None:
    """Where boxes and scores are joined into the only output; None if the network does not end like this."""
    op = graph.producer(graph.outputs[0]) if len(graph.outputs) == 1 else None
    behind = (op,) if op is not None and op.kind == "TRANSPOSE" and op.inputs[0] is not None else ()
    if op is not None and behind:
        op = graph.producer(op.inputs[0] or 0)
    parts = [] if op is None or op.kind != "CONCATENATION" else list(graph.op_inputs(op))
    if op is None or len(parts) < 2 or any(part.constant or len(part.shape) != 3 for part in parts):
        return None
    axis = next((axis for axis in (1, 2) if len({part.shape[axis] for part in parts}) > 1), None)
    if axis is None:
        return None
    *boxes, scores = parts
    if sum(part.shape[axis] for part in boxes) != COORDINATES or len({part.shape[3 - axis] for part in parts}) > 1:
        return None
    return Split((op, *behind), tuple(boxes), scores, axis)


def split_head(data: bytes) -> bytes:
    """The float32 file with boxes and scores as separate outputs.

    Raises QuantizeError if the last operator does not join exactly these two.
    """
    graph = read_graph(data)
    split = split_of(graph)
    result = None if split is None else with_associated_files(_cut(data, graph, split), data)
    if result is None or DECODER not in fitting(read_graph(result)):
        raise QuantizeError(
            "The head cannot be split: split_head is for networks whose single output joins decoded boxes, four values"
            " per box, and one score per class."
        )
    return result


def _cut(data: bytes, graph: Graph, split: Split) -> bytes:
    """The file without the operators of the split, with boxes and scores as outputs."""
    model = unpacked(data)
    subgraph = model.subgraphs[0]
    boxes, (op, *behind) = split.boxes[0].index, split.ops
    if len(split.boxes) > 1:  # centres and sizes stay joined; only the scores are split off
        boxes = add_tensor(model, "boxes", like=boxes)
        subgraph.tensors[boxes].shape[split.axis] = COORDINATES
        joining = subgraph.operators[op.order]
        joining.inputs, joining.outputs = [part.index for part in split.boxes], [boxes]
    else:
        behind = [op, *behind]
    removed = {row.order for row in behind}
    subgraph.operators = [row for order, row in enumerate(subgraph.operators) if order not in removed]
    set_outputs(model, {"boxes": boxes, "scores": split.scores.index})
    return packed(without_unused(model))
