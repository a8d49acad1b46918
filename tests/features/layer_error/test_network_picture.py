"""The network as the page's picture takes it: every operator with its figures, edges upwards, blocks with names."""

from __future__ import annotations

import json

from qviz.features.layer_error.outliers import Outliers, outliers
from qviz.features.layer_error.picture import network_picture, short_kind
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.features.layer_error.test_outliers import layer
from tests.graphs import graph, op, tensor

NONE = Outliers(frozenset(), frozenset())


def test_operators_have_their_figures_and_others_have_none(sample: Sample) -> None:
    read = read_graph(sample.models["int8"].read_bytes())
    layers = [layer(o, local=60.0 - o / 10, cumulative=30.0 if o == 10 else None) for o in range(20)]
    picture = network_picture(read, layers, Outliers(frozenset({9}), frozenset()))
    rows = {row["order"]: row for row in picture["ops"]}
    assert rows[10]["values"] == [30.0, 59.0] and rows[11]["values"] == [None, 58.9]
    assert [metric["name"] for metric in picture["metrics"]] == ["cumulative", "local"]
    assert [order for order, row in rows.items() if row["outlier"]] == [9]
    assert rows[19]["measured"] and not rows[20]["measured"] and rows[20]["values"] == [None, None]
    assert rows[10]["name"] == "Operator 10 (CONV_2D)"
    assert all(a < b for a, b in picture["edges"])
    json.dumps(picture)


def test_blocks_of_the_sample_have_distinct_names(sample: Sample) -> None:
    picture = network_picture(read_graph(sample.models["float32"].read_bytes()), (), outliers([]))
    names = [block["name"] for block in picture["blocks"]]
    assert len(set(names)) == len(names) and "expanded_conv_2" in names
    first = next(row for row in picture["ops"] if "expanded_conv_2/" in row["tensor"])
    assert picture["blocks"][first["block"]]["name"] == "expanded_conv_2"


def test_generated_scopes_are_not_block_names() -> None:
    names = ["image", "model_3/tf.math.add_2/Add", "StatefulPartitionedCall/x/y"]
    unnamed = graph(
        [tensor(i, name) for i, name in enumerate(names)], (2,), [op("CONV_2D", (0,), (1,)), op("RELU", (1,), (2,))]
    )
    assert network_picture(unnamed, (), NONE)["blocks"] == [{"name": "0–1", "kinds": "Conv, RELU"}]


def test_kinds_are_short() -> None:
    kinds = ["DEPTHWISE_CONV_2D", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR", "TFLite_Detection_PostProcess"]
    assert [short_kind(kind) for kind in kinds] == [
        "DwConv",
        "Max Pool",
        "Resize Nearest Neighbor",
        "TFLite Detection PostProcess",
    ]
