"""The coloured graph: each block shows its worst layer and the common part of its tensor names."""

from __future__ import annotations

from qviz.features.layer_error.graph import error_graph
from qviz.features.layer_error.metrics import LOCAL
from qviz.features.layer_error.outliers import Outliers, outliers
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.features.layer_error.test_outliers import layer
from tests.graphs import graph, op, tensor

NONE = Outliers(frozenset(), frozenset())


def test_a_block_shows_its_worst_layer(sample: Sample) -> None:
    read = read_graph(sample.models["int8"].read_bytes())
    layers = [layer(o, local=60.0 - o / 10, cumulative=30.0 if o == 10 else 50.0) for o in range(20)]
    result = error_graph(read, layers, outliers(layers))
    block = result.node_of(10)
    assert block is not None and block.orders == tuple(range(8, 15)) and block.folded
    assert (block.name, block.worst, block.worst_value) == ("expanded_conv_2", 10, 30.0)
    assert block.kinds.startswith("2 Conv, DwConv") and block.layers == 7
    by_local = error_graph(read, layers, NONE, LOCAL).node_of(10)
    assert by_local is not None and by_local.worst == 14
    end = result.node_of(157)
    assert end is not None and (end.worst, end.worst_value, end.layers) == (None, None, 0)
    assert result.node_of(1000) is None and result.node_of(None) is None


def test_outliers_belong_to_a_folded_block_or_to_the_opened_operators(sample: Sample) -> None:
    read = read_graph(sample.models["int8"].read_bytes())
    unusual = Outliers(frozenset({9}), frozenset({12}))
    folded = error_graph(read, [], unusual).node_of(9)
    opened = error_graph(read, [], unusual, opened=(9,)).node_of(9)
    assert folded is not None and folded.outliers == (9, 12)
    assert opened is not None and opened.outliers == (9,) and opened.orders == (9,)


def test_blocks_of_the_sample_have_distinct_names(sample: Sample) -> None:
    read = read_graph(sample.models["float32"].read_bytes())
    names = [node.name for node in error_graph(read, [], NONE).nodes if node.name]
    assert len(names) >= 34 and len(set(names)) == len(names)


def test_generated_scopes_are_not_block_names() -> None:
    names = ["image", "model_3/tf.math.add_2/Add", "StatefulPartitionedCall/x/y"]
    unnamed = graph(
        [tensor(i, name) for i, name in enumerate(names)], (2,), [op("CONV_2D", (0,), (1,)), op("RELU", (1,), (2,))]
    )
    (node,) = error_graph(unnamed, [], NONE).nodes
    assert (node.name, node.kinds) == ("", "Conv, RELU")
