"""What is wrong with a text that is not JSON, in words without Python's own; and each reader passes it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from qviz.datasets.labels import parse_labels
from qviz.datasets.recorded_results import read_results
from qviz.datasets.sidecar import parse_sidecar
from qviz.errors import QvizError
from qviz.features.accuracy.operating_at import read_at
from qviz.features.building import read_calibration
from qviz.features.reporting.study import read_study
from qviz.structures.json_document import NotJson, parse_json

TEXTS = [
    (b"", "it is empty"),
    (b" \n\xef\xbb\xbf"[:2], "it is empty"),
    (b'{"images": [\n{"id": 1', "it ends in the middle of a value (line 2), so it is incomplete"),
    (b'{"images": [\n', "it ends in the middle of a value (line 2), so it is incomplete"),
    (b'{"images": "a', "it ends in the middle of a value (line 1), so it is incomplete"),
    (b'{"a": 1}\n{"a": 2}', "more text follows behind the end of the value (line 2, column 1)"),
    (b"{'a': 1}", '"\'" is not expected at line 1, column 2'),
    (b'{"a": "b\nc"}', "a text is broken by a new line or a control character (line 1, column 9)"),
    (b"[1,\x00]", "U+0000 is not expected at line 1, column 4"),
    (b"[" * 100_000, "its lists and objects are nested too deeply"),
    (b"\xff\xd8\xff\xe0", "it is not text"),
    (b"[" + b"9" * 5000 + b"]", "it has a number of more than 4300 digits"),
    (b'{"score": NaN}', "it has NaN, which is not a number in JSON; write null or leave the value out"),
    (b"[-Infinity]", "it has -Infinity, which is not a number in JSON; write null or leave the value out"),
]


@pytest.mark.parametrize(("data", "sentence"), TEXTS)
def test_the_message_says_what_is_wrong(data: bytes, sentence: str) -> None:
    with pytest.raises(NotJson) as raised:
        parse_json(data)
    assert str(raised.value) == sentence


@pytest.mark.parametrize("text", ['{"a": [1, null, "ü"]}', "[]", "7"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_in_any_encoding(text: str, encoding: str) -> None:
    assert parse_json(text.encode(encoding)) == parse_json(text)


def test_numbers_that_the_caller_checks_may_be_nan() -> None:
    (value,) = parse_json(b"[NaN]", not_a_number=True)
    assert value != value


def from_file(read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    def reader(data: bytes, folder: Path) -> object:
        path = folder / "a.json"
        path.write_bytes(data)
        return read(path)

    return reader


READERS = [
    lambda data, folder: read_results(data),
    lambda data, folder: parse_sidecar(data, "a.json"),
    lambda data, folder: read_study(data, "a.json"),
    lambda data, folder: parse_labels(b"{" + data + b"}", "a.json"),
    from_file(lambda path: read_at(path)),
    from_file(lambda path: read_calibration([path])),
]


@pytest.mark.parametrize("data", [b"", b"[{", b"[" * 100_000, b"\xff\xd8", b"[" + b"9" * 5000 + b"]", b"{'a': 1}"])
@pytest.mark.parametrize("read", READERS)
def test_every_reader_says_it_without_pythons_words(
    read: Callable[[bytes, Path], object], data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(QvizError) as raised:
        read(data, tmp_path)
    assert not any(word in str(raised.value) for word in ("Expecting", "codec", "recursion", "delimiter", "char "))
