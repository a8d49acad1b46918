"""Why no decoder reads a graph, in one sentence, with the one most likely next step.

docs/heads.md lists the heads that are read.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from qviz.decoders.grid import input_size
from qviz.decoders.scores import ends_in_probabilities
from qviz.structures import Graph, Tensor

MAX_SHOWN = 4
LANDMARKS = re.compile(r"landmark|keypoint|ld_|joint|mesh")


def no_head(graph: Graph) -> str:
    """The sentence, beginning with a verb, for a graph that no decoder matches."""
    tensors = graph.output_tensors()
    if not tensors:
        return "has no outputs; export it again."
    if _is_landmarks(graph):
        return (
            f"looks like a landmark model, which follows one object and finds no boxes: it returns {_shapes(tensors)}."
            " Give the detector that runs before it."
        )
    if len(tensors) == 1 and _is_classifier(graph, tensors[0]):
        return (
            f"looks like a classifier: it returns one score per class, {_shapes(tensors)}, and no boxes. Give a"
            " detector."
        )
    if len(tensors) == 1 and _is_map(graph, tensors[0]):
        return f"looks like a segmentation model: it returns a map, {_shapes(tensors)}, and no boxes. Give a detector."
    return (
        f"has outputs that no decoder can read: {_shapes(tensors)}. Export it with its boxes decoded, or give recorded"
        " results of it (docs/heads.md lists what is read)."
    )


def other_head(graph: Graph, decoder: str, expects: str) -> str:
    """The sentence for a graph that the chosen decoder does not match."""
    shapes = _shapes(graph.output_tensors())
    return f"does not fit the decoder {decoder!r}: its outputs are {shapes}; the decoder expects {expects}."


def _shapes(tensors: Sequence[Tensor]) -> str:
    """`'scores' [1, 10, 80] float32, ...`"""
    shown = [f"{tensor.name[:80]!r} {list(tensor.shape)} {tensor.dtype}" for tensor in tensors[:MAX_SHOWN]]
    more = len(tensors) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _inner(tensor: Tensor) -> list[int]:
    """The dimensions of a tensor that are not 1."""
    return [side for side in tensor.shape if side != 1]


def _is_classifier(graph: Graph, tensor: Tensor) -> bool:
    inner = _inner(tensor)
    return len(inner) == 1 and inner[0] >= 2 and (len(tensor.shape) <= 2 or ends_in_probabilities(graph, tensor))


def _is_landmarks(graph: Graph) -> bool:
    """Whether all outputs are vectors, one of them coordinates, and names or a single score point to landmarks."""
    tensors = graph.output_tensors()
    if any(len(_inner(tensor)) > 1 for tensor in tensors):
        return False
    coordinates = [t for t in tensors if sum(_inner(t)) >= 10 and sum(_inner(t)) % 2 * (sum(_inner(t)) % 3) == 0]
    named = any(LANDMARKS.search(graph.names_of(tensor)) for tensor in tensors)
    beside_score = len(tensors) >= 2 and any(not _inner(tensor) for tensor in tensors)
    return bool(coordinates) and (named or beside_score)


def _is_map(graph: Graph, tensor: Tensor) -> bool:
    """Whether the tensor has one vector per pixel of the input, or per block of up to 8 x 8 pixels."""
    size, shape = input_size(graph), tensor.shape
    if size is None or len(shape) not in (3, 4):
        return False
    sides = shape[1:3] if shape[-1] <= min(shape[1:3]) else shape[-2:]
    return all(side * 8 >= pixels for side, pixels in zip(sides, size[::-1], strict=True))
