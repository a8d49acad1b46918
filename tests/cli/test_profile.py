"""`qviz profile`: JSON keys, the same numbers in table and CSV, refusals in one sentence."""

from __future__ import annotations

import csv
import io

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


def test_profile(run: Run, sample: Sample) -> None:
    models = [sample.models["float32"], sample.models["int8"]]
    result = run("profile", *models, "--threads", "1,2", "--runs", "3", "--json")
    assert (result.status, keys.missing(keys.PROFILE, result.json)) == (0, [])
    rows = result.json["models"]
    assert [(row["name"], row["threads"]) for row in rows] == [(path.name, n) for path in models for n in (1, 2)]
    assert [row["bytes"] for row in rows] == [path.stat().st_size for path in models for _ in (1, 2)]
    assert {row["runs"] for row in rows} == {3}


def test_tables(run: Run, sample: Sample) -> None:
    call = ("profile", sample.models["int8"], "--runs", "2")
    operators = list(csv.DictReader(io.StringIO(run(*call, "--csv", "--operators").out)))
    assert (operators[0]["order"], operators[0]["op_kind"]) == ("0", "QUANTIZE")
    shown = run(*call).out.splitlines()
    assert " ".join(shown[0].split()) == "model scheme size threads runs mean ms p50 ms p95 ms CPU ms peak MB"
    assert shown[1].split()[:5] == [sample.models["int8"].name, "int8", "5.37", "MB", "1"]
    assert shown[4].split() == ["operator", "steps", "ms"]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--threads", "two"), "--threads: 'two' is not a list of thread counts from 1 to 256; give e.g. 1,2"),
        (("--threads", "1,"), "--threads: '1,' is not a list of thread counts"),
        (("--threads", "0"), "--threads: '0' is not a list of thread counts from 1 to 256"),
        (("--runs", "0"), "--runs: '0' is not a number between 1 and 10000"),
    ],
)
def test_refusals(more: tuple[str, ...], sentence: str, run: Run, sample: Sample) -> None:
    result = run("profile", sample.models["int8"], *more)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
