"""Files of other formats: what is said about them, and bundles that contain a model."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from qviz.errors import ModelError
from qviz.features.detection.models import read_source
from qviz.tflite.other_formats import NEXT_STEPS, SAME, refusal_of, unbundled
from tests.tflite.files import relu


def bundle(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}.tflite", content)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [*NEXT_STEPS, *SAME, ".PT"])
def test_each_format_gets_its_next_step(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.features.detection.models.is_available", lambda: False)  # ONNX Runtime
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"anything")
    with pytest.raises(ModelError) as caught:
        read_source(path)
    assert str(caught.value).startswith(f"model{suffix} is ") and "qviz does not run: " in str(caught.value)
    assert len(str(caught.value)) < 200


def test_other_names_are_not_judged() -> None:
    assert refusal_of("model.tflite") == refusal_of("model") == refusal_of("pt") == ""


def test_a_bundle_gives_its_detector(tmp_path: Path) -> None:
    model = relu()
    path = tmp_path / "detector.task"
    path.write_bytes(bundle(model=model))
    assert read_source(path).data == model
    both = bundle(face_landmarks=b"x", face_detector=model)
    assert unbundled("face.task", both) == model
    assert unbundled("other.zip", both) == both


def test_a_bundle_without_one_detector_is_refused() -> None:
    with pytest.raises(ModelError, match=r"a.task contains 'one.tflite', 'two.tflite'; a bundle with one detector"):
        unbundled("a.task", bundle(one=b"", two=b""))
    with pytest.raises(ModelError, match=r"contains no .tflite file"):
        unbundled("a.task", bundle())
    with pytest.raises(ModelError, match=r"a.task is damaged"):
        unbundled("a.task", bundle(model=b"x" * 100)[:-30])
