from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from qviz import formatting
from qviz.cli import output

VALUES = [
    (math.nan, None),
    (math.inf, None),
    (-math.inf, None),
    (np.float32(math.nan), None),
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (0.1 + 0.2, 0.30000000000000004),  # numbers are not rounded
    ((1, math.nan), [1, None]),
    ({"a": {1: math.nan}}, {"a": {"1": None}}),
    ("Füße \udce9", "Füße ?"),  # a lone surrogate, as Python decodes a file name that is not UTF-8
    (None, None),
]


@pytest.mark.parametrize(("value", "expected"), VALUES)
def test_json(value: Any, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"value": value})
    assert json.loads(capsys.readouterr().out) == {"value": expected}


def test_csv_leaves_missing_values_empty_and_quotes_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_csv(["name", "ap"], [["a,b", None], ['say "x"', 0.25], ["plain", math.nan]])
    assert capsys.readouterr().out == 'name,ap\n"a,b",\n"say ""x""",0.25\nplain,\n'


def test_a_table_right_aligns_numbers_and_left_aligns_names(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "AP"], [["float32", "31.5"], ["int8", None], ["evil\x1b[2J\nname", "-0.5"]])
    assert capsys.readouterr().out.splitlines() == [
        "name             AP",
        "float32        31.5",
        "int8              –",
        "evil�[2J�name  -0.5",
    ]


SHOWN = [
    (formatting.points, 0.31461, "31.5"),
    (formatting.points, None, "–"),
    (formatting.signed_points, -0.0312, "-3.1"),
    (formatting.signed_points, 0.0312, "+3.1"),
    (formatting.score, 0.876, "0.88"),
    (formatting.signed_score, 0.1, "+0.10"),
    (formatting.megabytes, 17_812_345, "17.8 MB"),
]


@pytest.mark.parametrize(("form", "value", "expected"), SHOWN)
def test_numbers_are_rounded_for_display(form: Any, value: float | None, expected: str | None) -> None:
    assert form(value) == expected
