"""An ONNX file as the reference. The files are written here byte by byte, as protocol buffers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qviz import onnx_model
from qviz.engine import LocalEngine
from qviz.errors import ModelError, QuantizeError
from qviz.features.detection.models import read_source
from qviz.onnx_model import OnnxRunner, is_onnx
from qviz.session import Session
from tests.conftest import Sample
from tests.decoders.heads import HEIGHT, WIDTH
from tests.features.settings.test_readings import head_file, strong

pytest.importorskip("onnxruntime")

FLOAT, EXTERNAL = 1, 1


def varint(value: int) -> bytes:
    low = value & 0x7F
    return bytes([low | 0x80]) + varint(value >> 7) if value > 0x7F else bytes([low])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


def port(name: str, shape: Sequence[int | str]) -> bytes:
    sides = b"".join(field(1, field(1, side) if isinstance(side, int) else field(2, side)) for side in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, sides)))


def onnx_file(values: np.ndarray, external: str = "", second: str = "", **notes: str) -> bytes:
    """A model that answers every image [batch, 3, h, w] with these values. second: name of a further input [1, 2]."""
    data = values.astype(np.float32)
    tensor = b"".join(field(1, side) for side in data.shape) + field(2, FLOAT) + field(8, "rows")
    if external:
        tensor += field(13, field(1, "location") + field(2, external)) + field(14, EXTERNAL)
    else:
        tensor += field(9, data.tobytes())
    node = field(1, "rows") + field(2, "output") + field(4, "Identity")
    image, output = port("images", ("batch", 3, HEIGHT, WIDTH)), port("output", data.shape)
    graph = field(1, node) + field(2, "g") + field(5, tensor) + field(11, image) + field(12, output)
    graph += field(11, port(second, (1, 2))) if second else b""
    metadata = b"".join(field(14, field(1, key) + field(2, value)) for key, value in notes.items())
    return field(1, 8) + field(8, field(2, 17)) + field(7, graph) + metadata


@pytest.fixture
def session(tmp_path: Path, sample: Sample, engine: LocalEngine) -> Session:
    """An ONNX reference, and a .tflite file with the same outputs."""
    reference, variant = tmp_path / "net.onnx", tmp_path / "net.tflite"
    values = strong(corners=True)
    reference.write_bytes(onnx_file(values, names="{0: 'hen', 1: 'cock', 2: \"farmer's cat\"}", task="detect"))
    variant.write_bytes(head_file(values))
    return Session(reference, variant, images=sample.images / "hens.jpg", engine=engine, cache=False)


def test_it_is_compared_with_a_tflite_file(session: Session) -> None:
    reference = session.models_for(session.images_of())[0]
    assert reference.inspection.decoder == "yolov8_corners"  # found out from the values, as for a .tflite file
    assert reference.inspection.labels == ("hen", "cock", "farmer's cat")
    result = session.compare()
    assert result.variants[0].summary.agreement == 1
    assert result.variants[0].summary.kept > 10
    (warning,) = [w for w in result.warnings if w.code == "onnx_reference"]
    assert "net.onnx is run by ONNX Runtime, for boxes and AP only" in warning.message


def test_a_scale_factor_is_one(tmp_path: Path, sample: Sample, engine: LocalEngine) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_file(strong(corners=True), second="scale_factor"))
    with Session(path, images=sample.images / "hens.jpg", engine=engine, cache=False) as opened:
        (model,) = opened.models_for(opened.images_of())
        (image,) = opened.detect().images
    assert model.inspection.constant_inputs == "'scale_factor' is 1, 1" and len(image.detections) > 10


def test_what_reads_layers_is_refused(session: Session) -> None:
    with pytest.raises(ModelError, match=r"net.onnx is run by ONNX Runtime and has no layers to read"):
        session.layers()
    with pytest.raises(QuantizeError, match="is run by ONNX Runtime"):
        session.quantize("dynamic_range")


def test_without_the_runtime_its_install_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(onnx_file(np.zeros((1, 7, 126))))
    assert read_source(path).name == "net.onnx"
    monkeypatch.setattr("qviz.features.detection.models.is_available", lambda: False)
    with pytest.raises(ModelError, match=r"net.onnx is an ONNX model.*\(pip install \"qviz-tflite\[onnx\]\"\)"):
        read_source(path)
    monkeypatch.setattr(onnx_model, "is_available", lambda: False)
    with pytest.raises(ModelError, match=r'pip install "qviz-tflite\[onnx\]"'):
        OnnxRunner(path.read_bytes())


def test_weights_in_other_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(bytes(7 * 126 * 4))
    monkeypatch.chdir(tmp_path)
    for location in ("secret", str(tmp_path / "secret"), "../../etc/passwd"):
        with pytest.raises(ModelError, match="cannot be loaded by ONNX Runtime"):
            OnnxRunner(onnx_file(np.zeros((1, 7, 126)), external=location))


def test_damaged_files_are_refused_in_a_sentence() -> None:
    data = onnx_file(strong(corners=True))
    assert is_onnx(data) and not is_onnx(head_file(strong(corners=True))) and not is_onnx(b"\x08")
    for damaged in (data[:200], data[:10] + b"\xff" * 40 + data[50:]):
        with pytest.raises(ModelError, match="cannot be loaded by ONNX Runtime: it is damaged or incomplete; export"):
            OnnxRunner(damaged)
    with pytest.raises(ModelError, match="No Op registered for Idontkno") as raised:
        OnnxRunner(data.replace(b"Identity", b"Idontkno"))
    assert "ONNXRuntimeError" not in str(raised.value)
    with pytest.raises(ModelError, match="a name in it is not text"):
        OnnxRunner(data.replace(b"images", b"ima\xf4es"))
    with pytest.raises(ModelError, match="failed while it ran"):
        OnnxRunner(data).run([np.zeros((1, 3, 5, 5), np.float32)])
