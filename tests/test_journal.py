"""A journal returns complete lines after a crash and appends behind them."""

from __future__ import annotations

import os
from pathlib import Path

from qviz.store.journal import MAX_JOURNALS, Journal


def test_written_lines_are_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.jsonl"
    Journal(path).add({"a": 1})
    Journal(path).add({"b": [2.5, None]})
    assert list(Journal(path).rows()) == [{"a": 1}, {"b": [2.5, None]}]


def test_an_incomplete_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    Journal(path).add({"a": 1})
    with path.open("ab") as stream:
        stream.write(b'{"b": "\xff\xfe')
    Journal(path).add({"c": 3})
    assert list(Journal(path).rows()) == [{"a": 1}, {"c": 3}]


def test_lines_that_are_not_json_objects_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"[1]\n3\nnull\n" + b"[" * 100_000 + b'\n{"a": 1}\n')
    assert list(Journal(path).rows()) == [{"a": 1}]


def test_an_unwritable_journal_is_not_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "a.jsonl")
    journal.add({"a": 1})
    journal.add({"b": 1})
    assert len(journal.remarks) == 1 and "cannot be used" in journal.remarks[0]
    assert list(Journal(None).rows()) == []


def test_only_the_latest_journals_of_a_folder_remain(tmp_path: Path) -> None:
    for number in range(MAX_JOURNALS + 3):
        path = tmp_path / f"{number}.jsonl"
        path.write_text("{}")
        os.utime(path, (number, number))
    (tmp_path / "other.txt").write_text("")
    Journal(tmp_path / "0.jsonl").add({"a": 1})  # the oldest, but used again
    names = {path.name for path in tmp_path.glob("*.jsonl")}
    assert len(names) == MAX_JOURNALS
    assert {"0.jsonl", f"{MAX_JOURNALS + 2}.jsonl"} <= names and not names & {"1.jsonl", "2.jsonl", "3.jsonl"}
    assert (tmp_path / "other.txt").exists()
