"""The comparer: what it reports, and which changes it permits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.golden.compare import Tally, compare, numbers
from tests.golden.reading import TABLE, TEXT, read_html, read_output, traces
from tests.golden.table import LOOKING, PARTS, steps_of

BASE = {
    "name": "int8",
    "ap": 0.1234567891,
    "seconds": 1.5,
    "message": "3 of 125 operators clip.",
    "rows": [{"label": "cell phone", "score": 0.5}, {"label": "cat", "score": None}],
}


def changed(**values: Any) -> Tally:
    """BASE beside a copy with other values."""
    return compare("sample/step/out", BASE, {**BASE, **values}, Tally())


def kinds(tally: Tally) -> list[str]:
    return [row.kind for row in tally.differences]


REPORTED = [
    ({"ap": 0.1234568}, ["number"]),
    ({"ap": None}, ["number"]),
    ({"ap": "0.1234567891"}, ["type"]),
    ({"name": "int16x8"}, ["name"]),
    ({"rows": BASE["rows"][::-1]}, ["name", "number", "name", "number"]),
    ({"rows": BASE["rows"][:1]}, ["rows"]),
    ({"rows": [{"label": "phone", "score": 0.5}, BASE["rows"][1]]}, ["name"]),
]
ALLOWED = [
    {},
    {"ap": 0.1234567891 + 1e-12},
    {"added": 5},
    {"seconds": 99.0},
    {"message": "Of 125 operators, 3 lose what lies outside of their range."},
]


@pytest.mark.parametrize(("values", "expected"), REPORTED)
def test_another_value_is_reported(values: dict[str, Any], expected: list[str]) -> None:
    assert kinds(changed(**values)) == expected


@pytest.mark.parametrize("values", ALLOWED)
def test_permitted_changes_are_not_differences(values: dict[str, Any]) -> None:
    tally = changed(**values)
    assert tally.differences == [] and tally.wording == []
    assert tally.left_out == {"a timing": 1}


def test_training_losses_are_compared_with_tolerance() -> None:
    assert kinds(compare("sample/qat/out/steps/2/loss", 4.7438583, 4.7438588, Tally())) == []
    assert kinds(compare("sample/qat/out/steps/2/loss", 4.74, 4.75, Tally())) == ["number"]


def test_a_missing_key_is_reported() -> None:
    tally = compare("sample", BASE, {key: value for key, value in BASE.items() if key != "ap"}, Tally())
    assert [str(row) for row in tally.differences] == ["sample/ap: missing: 0.1234567891 -> None"]


def test_a_sentence_with_other_numbers_is_listed_as_wording() -> None:
    tally = changed(message="4 of 125 operators clip.")
    assert tally.differences == []
    assert [row.kind for row in tally.wording] == ["wording"]


def test_only_numbers_of_a_phrase_are_compared() -> None:
    path = "pages/layers.py/opened/tables/0"
    assert kinds(compare(path, "5.0 [4.1 to 6.2]", "5.0 [4.1 to 6.3]", Tally())) == ["phrase"]
    assert kinds(compare(path, "5.0 [4.1 to 6.2]", "5.0 (from 4.1 to 6.2)", Tally())) == []


def test_a_number_missing_from_a_text_is_reported() -> None:
    base = {TEXT: ["AP 30.4 falls to 5.3.", "Made 2026-01-02 in 3.1 s."]}
    moved = {TEXT: ["Made 2027-01-02 in 9.9 s.", "From an AP of 30.4 to 5.3, measured on 80 images."]}
    assert compare("pages", base, moved, Tally()).differences == []
    (row,) = compare("pages", base, {TEXT: ["AP 30.4 falls to 5.4."]}, Tally()).differences
    assert "5.3 is gone" in row.kind and row.new == "AP 30.4 falls to 5.4."


def test_a_table_may_gain_a_column() -> None:
    base = {TABLE: {"columns": ["model", "AP"], "rows": [["int8", 5.3]]}}
    wider = {TABLE: {"columns": ["AP", "size", "model"], "rows": [[5.3, 1, "int8"]]}}
    renamed = {TABLE: {"columns": ["model", "mean AP"], "rows": [["int8", 5.3]]}}
    other = {TABLE: {"columns": ["model", "AP"], "rows": [["int8", 5.4]]}}
    assert [kinds(compare("pages", base, new, Tally())) for new in (wider, renamed, other)] == [[], [], ["number"]]


def test_hover_texts_may_be_joined() -> None:
    base, path = [["int8", 3, "43.7 dB", "9.5 dB"]], "report/charts/0/customdata"
    assert kinds(compare(path, base, [["int8", 3, "local 43.7 dB, cumulative 9.5 dB"]], Tally())) == []
    assert kinds(compare(path, base, [["int8", 3, "local 43.7 dB, cumulative 9.6 dB"]], Tally())) == [
        "text, 9.5 is gone"
    ]
    assert kinds(compare("sample/rows", base, [["int8", 3, "43.7 dB"]], Tally())) == ["columns"]


def test_digits_within_words_are_not_numbers() -> None:
    text = "int8 and MobileNetV2: \u22120.5, .85 of 1,234 (5%), 1e-05; 3f34165c5ba109ec 2.4.6"
    assert numbers([text]) == numbers(["-0.5 0.85 1234 5 0.00001"])


def test_every_output_format_is_read() -> None:
    assert read_output('name,box\nint8,"[1, 2.5]"\n', "csv") == [{"name": "int8", "box": [1, 2.5]}]
    assert read_output('{"a": 1}', "json") == {"a": 1}
    page = read_html("<p>AP <b>5</b></p><table><tr><th>model<th>AP</tr><tr><td>int8</td><td>5</td></tr></table>")
    assert page["text"] == {TEXT: ["AP", "5"]}
    assert traces([{"x": {"dtype": "f8", "bdata": "AAAAAAAA8D8="}, "line": {"width": 2}}]) == [{"x": [1.0]}]


def test_step_names_are_unique(tmp_path: Any) -> None:
    (tmp_path / "models").mkdir()
    for name in ("yolox_nano_float32", "yolox_nano_full_integer_quant"):
        (tmp_path / "models" / f"{name}.tflite").touch()
    for part in PARTS:
        names = [step.name for step in steps_of(part, tmp_path, quick=False)]
        assert len(set(names)) == len(names)
    assert all(row.out in ("json", "csv", "text") for row in LOOKING)
