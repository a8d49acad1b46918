"""Layer errors as custom node data for Google's Model Explorer, which colours its graph of the .tflite file by them.

The format is that of `GraphNodeData` in its `node_data_builder.py`: {"results": {node id: {"value": number}},
"gradient": [{"stop": 0..1, "bgColor": "#rrggbb"}]}, where stop 0 is the smallest value and 1 the largest. A file
without a graph's name around it is taken for the graph on the screen, so a subgraph's name in the .tflite file need
not be known. A node's id in its reader of .tflite files is the operator's index in the file: `LayerError.order`.
(A key may be the name of an output tensor too, but such names are not unique in every file.)
"""

from __future__ import annotations

import json
from typing import Any

from qviz.errors import SettingsError
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import CUMULATIVE, METRICS

FIELDS = {metric.field: metric for metric in METRICS}
"""What can be shown."""

BAD, MIDDLE, GOOD = "#c0392b", "#f2c36b", "#e8eef2"


def node_data(errors: LayerErrors, field: str = CUMULATIVE.field) -> dict[str, Any]:
    """One figure of every layer that has it; bad values are red. Raises SettingsError for an unknown field."""
    if field not in FIELDS:
        raise SettingsError(f"Model Explorer can be given {', '.join(FIELDS)}; {field!r} is none of them.")
    values = {layer.order: value for layer in errors.layers if (value := getattr(layer, field)) is not None}
    colours = (BAD, MIDDLE, GOOD) if FIELDS[field].higher_is_better else (GOOD, MIDDLE, BAD)
    return {
        "results": {str(order): {"value": float(f"{value:.6g}")} for order, value in values.items()},
        "gradient": [{"stop": i / 2, "bgColor": colour} for i, colour in enumerate(colours)],
    }


def node_data_json(errors: LayerErrors, field: str = CUMULATIVE.field) -> str:
    """`node_data` as the text of a file."""
    return json.dumps(node_data(errors, field), indent=1)
