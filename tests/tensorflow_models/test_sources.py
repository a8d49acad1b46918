from __future__ import annotations

import io
import stat
import zipfile
from pathlib import Path

import pytest

from qviz.errors import ModelError
from qviz.tensorflow_models import SourceKind, holds_saved_model, kind_of, kind_of_bytes, read_packed
from qviz.tensorflow_models.sources import extract, unpack
from tests.conftest import Sample


def zipped(files: dict[str, bytes], mode: int = 0) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            archive.writestr(entry, data)
    return buffer.getvalue()


KINDS = [
    (["saved_model.pb"], SourceKind.SAVED_MODEL),
    (["exported/saved_model/saved_model.pb", "exported/pipeline.config"], SourceKind.SAVED_MODEL),
    (["a/b/c/saved_model.pb"], None),  # too deep: other folders are not searched recursively
    (["cat.jpg"], None),
    ([], None),
]


@pytest.mark.parametrize(("files", "expected"), KINDS)
def test_a_saved_model_is_recognized_by_its_graph(
    files: list[str], expected: SourceKind | None, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    archive = tmp_path / "folder.zip"
    archive.write_bytes(zipped(dict.fromkeys(files, b"x")))
    assert kind_of(folder) is kind_of(archive) is expected
    assert kind_of_bytes("folder.zip", archive.read_bytes()) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("m.keras", SourceKind.KERAS), ("m.H5", SourceKind.H5), ("m.tflite", None), ("m.zip", None), ("m", None)],
)
def test_a_file_is_recognized_by_its_extension(name: str, expected: SourceKind | None, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    assert kind_of(tmp_path / name) is kind_of_bytes(name, b"x") is expected


def test_a_folder_packs_to_the_same_bytes_and_unpacks_again(sample: Sample, tmp_path: Path) -> None:
    folder = sample.folder / "saved_model"
    packed = read_packed(folder)
    assert packed == read_packed(folder)
    assert holds_saved_model(packed)
    again = unpack(packed, tmp_path)
    assert (again / "saved_model.pb").read_bytes() == (folder / "saved_model.pb").read_bytes()
    assert sorted(p.name for p in (again / "variables").iterdir()) == sorted(
        p.name for p in (folder / "variables").iterdir()
    )


PB = {"saved_model.pb": b"x"}
UNSAFE = [
    (zipped({"../saved_model.pb": b"x"}), "is outside of it"),
    (zipped({"/saved_model.pb": b"x"}), "is outside of it"),
    (zipped({"a\\..\\saved_model.pb": b"x"}), "is outside of it"),
    (zipped({"C:/saved_model.pb": b"x"}), "is outside of it"),
    (zipped({"saved_model.pb": b"/etc/passwd"}, stat.S_IFLNK | 0o777), "a link or device"),
    (zipped({"variables/x": bytes(70 << 20)}), "would unpack to 1 files and 70 MB"),
    (zipped({f"assets/{i}": b"" for i in range(1001)}), "would unpack to 1001 files"),
    (zipped(PB)[:-30], "damaged or password-protected zip archive"),
    (b"PK\x03\x04", "damaged or password-protected zip archive"),
    (b"", "damaged or password-protected zip archive"),
]


@pytest.mark.parametrize(("data", "sentence"), UNSAFE, ids=range(len(UNSAFE)))
def test_an_unsafe_archive_is_refused(data: bytes, sentence: str, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(ModelError, match=sentence):
        extract(data, inside)
    assert list(inside.iterdir()) == []
    assert list(tmp_path.iterdir()) == [inside]


def test_a_zip_bomb_with_a_false_size_is_refused(tmp_path: Path) -> None:
    """Both headers claim 10 bytes; the unpacked data is cut there and then fails its checksum."""
    data = zipped({"variables/x": bytes(1 << 20)})
    lying = data.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert lying != data
    with pytest.raises(ModelError, match="damaged"):
        extract(lying, tmp_path)
    assert sum(file.stat().st_size for file in tmp_path.rglob("*") if file.is_file()) <= 10


def test_more_than_one_saved_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has 2 SavedModels \(a, b\)"):
        unpack(zipped({"a/saved_model.pb": b"x", "b/saved_model.pb": b"x"}), tmp_path)
    with pytest.raises(ModelError, match="has no saved_model"):
        unpack(zipped({"cat.jpg": b"x"}), tmp_path / "other")
