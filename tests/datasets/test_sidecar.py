from __future__ import annotations

from pathlib import Path

import pytest

from qviz.datasets.sidecar import MAX_SIDECAR, parse_sidecar, read_sidecar
from qviz.errors import LabelsError, SettingsError
from qviz.structures import Settings


def beside(folder: Path, text: str) -> Path:
    (folder / "m.tflite.qviz.json").write_text(text)
    return folder / "m.tflite"


def test_a_missing_sidecar_sets_nothing(tmp_path: Path) -> None:
    assert read_sidecar(tmp_path / "m.tflite") == Settings()


def test_labels_are_read_from_the_sidecars_folder(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    (tmp_path / "models").mkdir()
    model = beside(tmp_path / "models", '{"mean": 127.5, "labels": "../names.txt"}')
    assert read_sidecar(model) == Settings(mean=(127.5,) * 3, labels=("cat", "dog"))


def test_an_uploaded_sidecar_cannot_read_local_files(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("password\n")
    data = f'{{"mean": 1, "labels": "{(tmp_path / "secret.txt").as_posix()}"}}'.encode()
    assert parse_sidecar(data, "up.json") == Settings(mean=(1.0,) * 3)
    assert parse_sidecar(b'{"labels": ["cat"]}', "up.json") == Settings(labels=("cat",))


REFUSED = [
    (b"{", "is not valid JSON"),
    (b"", "is not valid JSON"),
    (b"\xff\xfe\x00", "is not valid JSON"),
    (b"[" * 100_000, "is not valid JSON"),
    (b"[127.5]", "is not a JSON object"),
    (b'{"scale": 2}', "has an unknown setting, 'scale'"),
    (b" " * (MAX_SIDECAR + 1), "is 1024 KB"),
]


@pytest.mark.parametrize(("data", "sentence"), REFUSED)
def test_malformed_sidecars_are_refused(data: bytes, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "m.tflite.qviz.json").write_bytes(data)
    for read in (lambda: parse_sidecar(data, "m.tflite.qviz.json"), lambda: read_sidecar(tmp_path / "m.tflite")):
        with pytest.raises(SettingsError) as caught:
            read()
        assert str(caught.value).startswith("m.tflite.qviz.json ")
        assert sentence in str(caught.value)


def test_a_missing_label_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match=r"names\.txt does not exist"):
        read_sidecar(beside(tmp_path, '{"labels": "names.txt"}'))
