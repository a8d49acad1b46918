"""`qviz what-if`: the keys it promises, its table and CSV, and what it refuses."""

from __future__ import annotations

import csv
import io

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


def test_sets_of_ones_own(run: Run, sample: Sample) -> None:
    models = sample.models["float32"], sample.models["int8_wrong_range"]
    sets = ("--float", "0-1", "--float", "3, 5-6")
    call = ("what-if", *models, "--images", sample.images / "hens.jpg", "--workers", "1", *sets)
    found = run(*call, "--json")
    assert (found.status, keys.missing(keys.WHAT_IF, found.json)) == (0, [])
    assert [row["orders"] for row in found.json["sets"]] == [[0, 1], [3, 5, 6]]
    rows = list(csv.DictReader(io.StringIO(run(*call, "--csv").out)))
    assert [row["orders"] for row in rows] == ["0-1", "3,5-6"]
    assert [float(row["agreement"]) for row in rows] == [row["agreement"] for row in found.json["sets"]]
    assert f"has an agreement of {found.json['base']:.3f} with {models[0].name}" in run(*call).out


@pytest.mark.parametrize(
    ("orders", "sentence"),
    [
        ("conv", "'conv' does not name operators; give operators by order, e.g. 0-12,40."),
        ("7-3", "'7-3' is not a range of operators; give ranges from the lower to the higher order."),
        ("0-999999999999", "'0-999999999999' is not a range of operators; give ranges"),
        ("158", "has no operator 158: its 158 operators are numbered from 0 to 157."),
    ],
)
def test_refusals(run: Run, sample: Sample, orders: str, sentence: str) -> None:
    models = sample.models["float32"], sample.models["int8"]
    found = run("what-if", *models, "--images", sample.images / "hens.jpg", "--workers", "1", "--float", orders)
    assert (found.status, found.out) == (2, "")
    assert sentence in found.err
