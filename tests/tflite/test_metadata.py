from __future__ import annotations

import io
import random
import zipfile

import pytest

from qviz.detector import inspect
from qviz.structures import Settings
from qviz.tflite.metadata import MAX_FILE, associated_files, label_file
from qviz.tflite.schema import read_graph
from tests.conftest import Sample
from tests.tflite.files import relu

NAMES = "\n".join(f"thing {i}" for i in range(90)).encode()


def with_files(model: bytes, method: int = zipfile.ZIP_DEFLATED, **files: bytes) -> bytes:
    """The model with a zip archive appended, as exporters write it."""
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", method) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def test_a_model_without_appended_files() -> None:
    assert associated_files(relu()) == {}
    assert label_file(relu()) is None


def test_the_label_file_is_the_text_file_with_the_most_lines() -> None:
    data = with_files(relu(), licence_txt=b"free\nfor all", labels_txt=NAMES, model_json=b"\n" * 500)
    assert set(associated_files(data)) == {"licence.txt", "labels.txt", "model.json"}
    assert label_file(data) == NAMES
    assert len(read_graph(data).ops) == 1  # the model itself is as readable as before


def test_a_huge_appended_file_is_ignored() -> None:
    assert associated_files(with_files(relu(), labels_txt=bytes(MAX_FILE + 1), notes_txt=b"x")) == {"notes.txt": b"x"}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_appended_archive_is_ignored(method: int) -> None:
    whole, rng = with_files(relu(), method, labels_txt=NAMES * 3), random.Random(0)
    lost = 0
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[rng.randrange(len(relu()), len(whole))] ^= rng.randrange(1, 256)
        lost += "labels.txt" not in associated_files(bytes(damaged))
    assert lost > 50


@pytest.mark.parametrize(
    ("files", "sidecar", "label", "source"),
    [
        ({}, Settings(), "person", "class count"),
        ({"labels_txt": NAMES}, Settings(), "thing 0", "file"),
        ({"labels_txt": NAMES}, Settings(labels=("mine",)), "mine", "sidecar"),
        ({"labels_txt": b"\xff\xfe\x00"}, Settings(), "person", "class count"),  # unreadable labels are ignored
    ],
)
def test_sources_of_labels(files: dict[str, bytes], sidecar: Settings, label: str, source: str, sample: Sample) -> None:
    data = with_files(sample.models["int8"].read_bytes(), **files)
    result = inspect(data, Settings(), sidecar)
    assert (result.label(0), result.sources["labels"]) == (label, source)
