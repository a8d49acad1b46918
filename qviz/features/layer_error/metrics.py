"""The error of one layer, and the table of metrics that the chart, tables, graph, command line and exports read.

Google's Model Explorer colours its graph of a .tflite file by custom node data. A figure is exported for it in the
format of `GraphNodeData` in its `node_data_builder.py`: {"results": {node id: {"value": number}}, "gradient": [{"stop":
0..1, "bgColor": "#rrggbb"}]}, where stop 0 is the smallest value and 1 the largest. The data contain no name of a graph
and therefore apply to the graph on the screen, so the name of the subgraph in the .tflite file need not be known. Model
Explorer's id of a node in a .tflite file is the operator's index, `LayerError.order`. (A key may also be the name of an
output tensor, but such names are not unique in every file.)

To add a metric, add one field to `LayerError` and one row to `METRICS`. `local`, `cumulative` and the units are defined
in `qviz.features.layer_error` and `tensor_error`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qviz.formatting import UNKNOWN
from qviz.structures.operators import operator_name

MAX_CLIPPED = 0.05
"""If a layer clips more than this share of its values, it is named instead of a layer with a large fall."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """The error of one operator of the variant, over all images.

    A figure is None if nothing was compared, or if the compared tensors are equal.

    Attributes:
        order: Index of the operator in the variant's file, from 0.
        tensor: Name of its first output.
        elements: Number of elements of that output.
        fall_db: Cumulative SQNR before the operator (its worst input) minus after it.
        unused_share: Part of the variant's range, in [0, 1], that the reference's values do not reach on any image.
        seconds: Time spent in the operator over all images.
        worst_image: Name of the image with the largest cumulative MSE.
        reference_order: Index of its partner in the reference's file; None for an inserted QUANTIZE.
        weight_channel, weight_channel_sqnr_db: Output channel whose weights have the lowest SQNR, and that SQNR in dB.
            Channels that are all zero in the reference do not count.
        column, column_sqnr_db: Column of a joined tensor with the lowest cumulative SQNR, and that SQNR in dB.
        fixed_range: Whether the kernel prescribes the range of its output, so that no calibration can clip it.
    """

    order: int
    tensor: str
    op_kind: str
    elements: int
    local_mse: float | None
    local_sqnr_db: float | None
    local_rmse_over_scale: float | None
    cumulative_mse: float | None
    cumulative_sqnr_db: float | None
    fall_db: float | None
    cumulative_cosine: float | None
    max_abs: float | None
    clipped_share: float | None
    unused_share: float | None
    clipping_mse: float | None
    rounding_mse: float | None
    weight_sqnr_db: float | None
    seconds: float
    worst_image: str
    reference_order: int | None = None
    weight_channel: int | None = None
    weight_channel_sqnr_db: float | None = None
    column: int | None = None
    column_sqnr_db: float | None = None
    fixed_range: bool = False

    @property
    def name(self) -> str:
        """`operator 12 (CONV_2D; 11 in the reference)`."""
        return operator_name(self.order, self.op_kind, self.reference_order)

    @property
    def clips(self) -> bool:
        """Whether a calibrated range clips more than MAX_CLIPPED, and clipping costs at least as much as rounding."""
        costs = (self.clipping_mse or 0.0) >= (self.rounding_mse or 0.0)
        return not self.fixed_range and (self.clipped_share or 0.0) > MAX_CLIPPED and costs


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a layer and how it is shown.

    Attributes:
        field: The field of `LayerError`.
        label: Header of its column on the page, and the term in the glossary, if there is one.
        name: Short name in tables of the command line, in charts and in hover texts.
        unit: `dB`, `%` (the field holds a share in [0, 1]), `s`, or nothing.
        higher_is_better: Whether a higher value is better.
        decimals: Decimals of the shown value.
        signed: Whether a plus sign is shown.
        in_tables: Whether it is a column of the tables.
    """

    field: str
    label: str
    name: str
    unit: str
    higher_is_better: bool
    decimals: int = 1
    signed: bool = False
    in_tables: bool = False

    def value(self, layer: LayerError) -> float | None:
        """The figure of a layer as it is shown: per cent where the field is a share."""
        value: float | None = getattr(layer, self.field)
        return 100 * value if value is not None and self.unit == "%" else value

    def text(self, layer: LayerError) -> str:
        """The figure as text, e.g. `28.5 dB` or `12.0%`; a dash if it is unknown."""
        value = self.value(layer)
        if value is None:
            return UNKNOWN
        unit = f" {self.unit}" if self.unit not in ("", "%") else self.unit
        return f"{value:.{self.decimals}f}{unit}"

    def number(self, layer: LayerError) -> str | None:
        """The same text without `dB`, for a column whose header names the unit; None if the figure is unknown."""
        return None if self.value(layer) is None else self.text(layer).removesuffix(f" {self.unit}")

    @property
    def number_format(self) -> str:
        """A printf format for number columns."""
        return f"%{'+' if self.signed else ''}.{self.decimals}f"


CUMULATIVE = Metric("cumulative_sqnr_db", "cumulative dB", "cumulative", "dB", True, in_tables=True)
LOCAL = Metric("local_sqnr_db", "local dB", "local", "dB", True, in_tables=True)
FALL = Metric("fall_db", "fall dB", "fall", "dB", False, signed=True, in_tables=True)
CLIPPED_SHARE = Metric("clipped_share", "clipped %", "clipped", "%", False, in_tables=True)

METRICS = (
    LOCAL,
    CUMULATIVE,
    FALL,
    Metric("local_rmse_over_scale", "RMSE/scale", "RMSE/scale", "", False, decimals=2, in_tables=True),
    CLIPPED_SHARE,
    Metric("weight_sqnr_db", "weights dB", "weights", "dB", True, in_tables=True),
    Metric("weight_channel_sqnr_db", "worst channel dB", "worst channel", "dB", True, in_tables=True),
    Metric("column_sqnr_db", "worst column dB", "worst column", "dB", True, in_tables=True),
    Metric("cumulative_cosine", "cosine", "cosine", "", True, decimals=4),
    Metric("local_mse", "local MSE", "local MSE", "", False, decimals=6),
    Metric("cumulative_mse", "cumulative MSE", "cumulative MSE", "", False, decimals=6),
    Metric("max_abs", "largest difference", "max |x−y|", "", False, decimals=4),
    Metric("unused_share", "unused %", "unused", "%", False),
    Metric("clipping_mse", "clipping MSE", "clipping MSE", "", False, decimals=6),
    Metric("rounding_mse", "rounding MSE", "rounding MSE", "", False, decimals=6),
    Metric("seconds", "seconds", "seconds", "s", False, decimals=3),
)
"""Every figure of a layer, in the order of tables."""
TABLE_METRICS = tuple(metric for metric in METRICS if metric.in_tables)
HOVER_METRICS = (LOCAL, CUMULATIVE, FALL, CLIPPED_SHARE)
BAD, MIDDLE, GOOD = "#c0392b", "#f2c36b", "#e8eef2"


def node_data(layers: Sequence[LayerError], metric: Metric = CUMULATIVE) -> dict[str, Any]:
    """One figure of every layer for which it is known, in Model Explorer's format; bad values are red.

    Values have the metric's unit. Model Explorer's sums are hidden, because sums of dB or of shares mean nothing.
    """
    values = {layer.order: value for layer in layers if (value := metric.value(layer)) is not None}
    colours = (BAD, MIDDLE, GOOD) if metric.higher_is_better else (GOOD, MIDDLE, BAD)
    return {
        "results": {str(order): {"value": float(f"{value:.6g}")} for order, value in values.items()},
        "gradient": [{"stop": i / 2, "bgColor": colour} for i, colour in enumerate(colours)],
        "hideAggregatedStats": [] if metric.unit == "s" else ["sum"],
        "hideInChildrenStatsTable": metric.unit != "s",
    }


def sync_mapping_json(pairs: Sequence[tuple[int, int]]) -> str:
    """The pairing as Model Explorer's mapping for synchronised navigation: the reference left, the variant right.

    Model Explorer numbers the nodes of a .tflite file by operator. If an operator without a partner is selected there,
    nothing is selected in the other model.
    """
    mapping = {str(reference): str(variant) for variant, reference in pairs}
    return json.dumps({"mapping": mapping, "disableMappingFallback": True}, indent=1)


def node_data_json(layers: Sequence[LayerError], metric: Metric = CUMULATIVE) -> str:
    """`node_data` as the text of a file."""
    return json.dumps(node_data(layers, metric), indent=1)
