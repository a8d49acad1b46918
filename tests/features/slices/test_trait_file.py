"""CSV files of traits: separators, encodings and numbers; rows are found by name or id; hostile files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qviz.datasets import trait_file
from qviz.datasets.trait_file import parse_traits, read_trait_file, with_traits
from qviz.errors import DatasetError
from qviz.formatting import csv_text
from qviz.structures import Dataset, DatasetImage


def columns(text: str | bytes) -> dict[str, list[object]]:
    file = parse_traits(text if isinstance(text, bytes) else text.encode(), "traits.csv")
    return {name: list(values) for name, values in file.columns.items()}


READ = [
    ("image,weather,mm\na.jpg,rain,3.2\nb.jpg,,4\n", {"weather": ["rain", None], "mm": [3.2, 4.0]}),
    ("image;mm\r\na.jpg;3,2\r\nb.jpg;-4\r\n", {"mm": [3.2, -4.0]}),
    ("mm\timage\n1\ta.jpg\n", {"mm": [1.0]}),
    ("file_name,x\na,1e999\nb,2", {"x": ["1e999", "2"]}),  # not a finite number
    ("image,x\na,NA\nb,-\nc,nan\nd,7", {"x": [None, None, None, 7.0]}),
    ("image,x\na\nb,5\n,6\n", {"x": [None, 5.0]}),  # a short row; a row without an image
    ("image,x\na,one\na,two\n", {"x": ["one"]}),
    ("\ufeffimage,x\na,ü\n", {"x": ["ü"]}),
    ("image,x\na,ü\n".encode("utf-16"), {"x": ["ü"]}),
    ('image,"x\ny"\na,"line\x07\n two"\n', {"x y": ["line\ufffd two"]}),
]


@pytest.mark.parametrize(("text", "values"), READ)
def test_cells_are_numbers_or_text(text: str | bytes, values: dict[str, list[object]]) -> None:
    assert columns(text) == values


REFUSED = [
    (b"", "is empty"),
    (b"\x89PNG\r\n\x1a\n\0\0", "is not text in UTF-8"),
    (b"image,x\na\0b,1", "is not text"),
    (b"image\na.jpg\n", "has no column beside the one with the images"),
    (b"image,x,x\na,1,2", "has two columns 'x'"),
    (b"image," + b",".join(b"c%d" % n for n in range(41)), "has 41 columns; the limit is 40"),
    (b'image,x\na,"' + b"z" * 200_000, "is not a CSV file (field larger than field limit (131072))"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_what_is_no_table_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(DatasetError) as error:
        parse_traits(data, "traits.csv")
    assert sentence in str(error.value)


def test_size_and_rows_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trait_file, "MAX_ROWS", 3)
    with pytest.raises(DatasetError, match="more than 3 rows"):
        parse_traits(b"image,x\n" + b"a,1\n" * 5, "traits.csv")
    monkeypatch.setattr(trait_file, "MAX_BYTES", 10)
    (tmp_path / "big.csv").write_text("image,x\na,1")
    with pytest.raises(DatasetError, match="is larger than"):
        read_trait_file(tmp_path / "big.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        read_trait_file(tmp_path / "none.csv")


def dataset() -> Dataset:
    empty = np.empty(0)
    names = ("val/a.jpg", "val/b.jpg", "c.jpg")
    images = (
        DatasetImage(n, name, b"", np.empty((0, 4)), empty, empty, empty, source_id=10 * n, fields={"old": 1.0})
        for n, name in enumerate(names, start=1)
    )
    return Dataset("d", tuple(images), ())


def test_rows_name_images_by_path_or_id() -> None:
    file = parse_traits(b"image,x\na,1\n20,2\nz.jpg,3\nC.JPG,4\nc.jpg,5", "t.csv")
    result, remarks = with_traits(dataset(), file)
    assert [image.fields for image in result.images] == [{"old": 1.0, "x": x} for x in (1.0, 2.0, 4.0)]
    assert remarks == ["1 row of t.csv is about an image that is not here, e.g. 'z.jpg'."]
    with pytest.raises(DatasetError, match=r"No row of t\.csv is about an image of d: the file has 'y.jpg', the"):
        with_traits(dataset(), parse_traits(b"image,x\ny.jpg,1", "t.csv"))


def test_formulas_are_text_in_an_exported_table() -> None:
    rows = [["=cmd|' /C calc'!A0", -1.5], ["@x", None], ["a", float("nan")], ["+1", "\t=1"]]
    assert csv_text(["name", "-x"], rows) == ("name,'-x\n'=cmd|' /C calc'!A0,-1.5\n'@x,\na,\n'+1,'\t=1\n")
