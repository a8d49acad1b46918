"""The network of a variant and the figures of its layers, as input of the picture on the page (`qviz/ui/network`).

The picture has every operator that computes something, even if it was not compared; operators that only prepare
constants are left out. Colours stand for dB on a fixed scale, so that a colour means the same in every variant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qviz.features.layer_error.graph import SHORT, block_names, fold, kinds_text, readers
from qviz.features.layer_error.metrics import CLIPPED_SHARE, CUMULATIVE, FALL, LOCAL, LayerError
from qviz.features.layer_error.outliers import Outliers
from qviz.structures import Graph
from qviz.structures.operators import operator_name

SCALE = ((0.0, "#b2182b"), (0.35, "#ef8a62"), (0.65, "#e3c565"), (1.0, "#67a9cf"))
"""Colour scale from red through yellow to blue, safe for the colour-blind and visible on light and dark."""
RANGE = (0.0, 40.0)
"""dB at the ends of SCALE: 0 is an error as large as the signal, and 40 is about what rounding to 8 bits gives."""
COLOURS = (CUMULATIVE, LOCAL)
"""The figures by which operators can be coloured."""
MAX_NAME = 300
"""Maximum number of characters of a tensor's name that are sent to the browser."""
HELP = {
    "cumulative": "Error of everything up to an operator; higher is better",
    "local": "Error of one operator alone; higher is better",
}


def network_picture(
    graph: Graph, layers: Sequence[LayerError], unusual: Outliers, refused: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Operators, edges and blocks of a variant with their figures, for JSON.

    Args:
        layers: The measured layers; empty while they are being measured.
        unusual: Layers that stand out.
        refused: Operator index -> which backend does not run it, and why.

    Returns:
        `ops`, `edges`, `blocks`, `metrics`, `scale`, `range` as `qviz/ui/network/network.js` documents them.
    """
    follows = readers(graph)
    blocks = fold(graph)
    block_of = {order: i for i, members in enumerate(blocks.members) for order in members}
    measured = {layer.order: layer for layer in layers}
    position = {order: i for i, order in enumerate(follows)}
    return {
        "ops": [
            _operator(graph, order, block_of[order], measured.get(order), order in unusual)
            | {"refused": (refused or {}).get(order, "")}
            for order in follows
        ],
        "edges": [[position[a], position[b]] for a, after in follows.items() for b in after],
        "blocks": _blocks(graph, blocks.members),
        "metrics": [
            {
                "name": metric.name,
                "title": metric.name.capitalize(),
                "label": f"{metric.name} SQNR",
                "help": HELP[metric.name],
            }
            for metric in COLOURS
        ],
        "scale": [list(stop) for stop in SCALE],
        "range": list(RANGE),
    }


def _operator(graph: Graph, order: int, block: int, layer: LayerError | None, stands_out: bool) -> dict[str, Any]:
    op = graph.ops[order]
    name = layer.name if layer is not None else operator_name(order, op.kind)
    return {
        "order": order,
        "kind": op.kind,
        "short": short_kind(op.kind),
        "name": name[0].upper() + name[1:],
        "tensor": graph.tensors[op.outputs[0]].name[:MAX_NAME] if op.outputs else "",
        "block": block,
        "measured": layer is not None,
        "outlier": stands_out,
        "values": [None if layer is None else _rounded(metric.value(layer)) for metric in COLOURS],
        "facts": [] if layer is None else [[metric.name, metric.text(layer)] for metric in (FALL, CLIPPED_SHARE)],
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def short_kind(kind: str) -> str:
    """The name of an operator type for a small box: `Conv`, `Resize Nearest Neighbor`."""
    words = kind.removesuffix("_2D").replace("_", " ")
    return SHORT.get(kind) or (words.title() if words.isupper() else words)


def _blocks(graph: Graph, members: Sequence[tuple[int, ...]]) -> list[dict[str, str]]:
    names = block_names(graph, members)
    return [
        {
            "name": name or (f"{orders[0]}–{orders[-1]}" if len(orders) > 1 else str(orders[0])),
            "kinds": kinds_text([graph.ops[order].kind for order in orders]),
        }
        for name, orders in zip(names, members, strict=True)
    ]
