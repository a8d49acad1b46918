"""`qviz what-if`: JSON keys, table, CSV and refusals."""

from __future__ import annotations

import csv
import io

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


def test_user_defined_sets(run: Run, sample: Sample) -> None:
    models = sample.models["float32"], sample.models["int8_wrong_range"]
    sets = ("--float", "0-1", "--float", "3, 5-6")
    call = ("what-if", *models, "--images", sample.images / "hens.jpg", "--workers", "1", *sets)
    result = run(*call, "--json")
    assert (result.status, keys.missing(keys.WHAT_IF, result.json)) == (0, [])
    assert [row["orders"] for row in result.json["sets"]] == [[0, 1], [3, 5, 6]]
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [row["orders"] for row in rows] == ["0-1", "3,5-6"]
    assert [float(row["agreement"]) for row in rows] == [row["agreement"] for row in result.json["sets"]]
    assert f"has an agreement of {result.json['base']:.3f} with {models[0].name}" in run(*call).out


@pytest.mark.parametrize(
    ("orders", "sentence"),
    [
        ("conv", "'conv' does not name operators; give operators by order, e.g. 0-12,40."),
        ("7-3", "'7-3' is not a range of operators; give ranges from the lower to the higher order."),
        ("0-999999999999", "There is no operator 999999999999: qviz reads networks of up to 10000 operators."),
        ("158", "has no operator 158: its 158 operators are numbered from 0 to 157."),
    ],
)
def test_refusals(run: Run, sample: Sample, orders: str, sentence: str) -> None:
    models = sample.models["float32"], sample.models["int8"]
    result = run("what-if", *models, "--images", sample.images / "hens.jpg", "--workers", "1", "--float", orders)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
