"""`qviz layers --model-explorer FILE`: node data in addition to the table."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.conftest import Sample


def test_node_data_equals_the_layer_table(run: Run, sample: Sample, tmp_path: Path) -> None:
    file, mapping = tmp_path / "nodes.json", tmp_path / "sync.json"
    call = ("layers", sample.models["float32"], sample.models["int8"], "--images", sample.images / "hens.jpg")
    result = run(*call, "--workers", "1", "--json", "--model-explorer", file, "--model-explorer-sync", mapping)
    assert result.status == 0
    values = {int(key): row["value"] for key, row in json.loads(file.read_text())["results"].items()}
    expected = {layer["order"]: layer["cumulative_sqnr_db"] for layer in result.json["layers"]}
    assert values.keys() == {order for order, value in expected.items() if value is not None}
    assert all(abs(value - expected[order]) < 1e-3 for order, value in values.items())
    sync = json.loads(mapping.read_text())
    pairs = {str(row["reference_order"]): str(row["order"]) for row in result.json["pairs"]}
    assert sync == {"mapping": pairs, "disableMappingFallback": True}
    refused = run(*call, "--workers", "1", "--model-explorer", tmp_path / "nowhere" / "nodes.json")
    assert refused.status != 0 and "cannot be written" in refused.err
