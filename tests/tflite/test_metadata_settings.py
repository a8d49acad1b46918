"""Settings stored in a .tflite file: metadata buffers and export notes, written here by their formats' rules."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.detector import inspect
from qviz.errors import ModelError
from qviz.structures import Quantization, Settings, Tensor
from qviz.tflite.metadata import MAX_NOTES, exporter_notes, label_file, own_settings
from tests.conftest import Sample
from tests.tflite.files import relu

FLOAT_INPUT = Tensor(0, "image", (1, 64, 64, 3), "float32", None, False)


def integer_input(low: float | None, high: float = 0.0, dtype: str = "uint8") -> Tensor:
    """An integer input whose quantization covers low..high, or without quantization."""
    if low is None:
        return Tensor(0, "image", (1, 64, 64, 3), dtype, None, False)
    scale = (high - low) / 255
    zero = round(-low / scale) + np.iinfo(dtype).min
    quantization = Quantization(np.array([scale], np.float32), np.array([zero], np.int64))
    return Tensor(0, "image", (1, 64, 64, 3), dtype, quantization, False)


# ---- TFLite metadata ----------------------------------------------------------------------------------------------


def floats(builder: flatbuffers.Builder, values: list[float]) -> int:
    builder.StartVector(4, len(values), 4)
    for value in reversed(values):
        builder.PrependFloat32(value)
    return int(builder.EndVector())


def table(builder: flatbuffers.Builder, fields: int, **slots: Any) -> int:
    """A table of that many fields; f3=... is the offset in field 3, b0=... the byte in field 0."""
    builder.StartObject(fields)
    for slot, value in slots.items():
        if slot.startswith("b"):
            builder.PrependUint8Slot(int(slot[1:]), value, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(int(slot[1:]), value, 0)
    return int(builder.EndObject())


def vector(builder: flatbuffers.Builder, *offsets: int) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def metadata(mean: list[float], std: list[float], color: int = 1, unit: int = 1, identifier: bytes = b"M001") -> bytes:
    """ModelMetadata of one image input, laid out as metadata_schema.fbs says; another unit stands before."""
    builder = flatbuffers.Builder(256)
    name = builder.CreateString("model")
    options = table(builder, 2, f0=floats(builder, mean), f1=floats(builder, std))
    units = vector(builder, table(builder, 2, b0=3, f1=table(builder, 1)), table(builder, 2, b0=unit, f1=options))
    content = table(builder, 3, b0=2, f1=table(builder, 2, b0=color))
    tensor = table(builder, 7, f3=content, f4=units)
    graph = table(builder, 7, f2=vector(builder, tensor))
    builder.Finish(table(builder, 8, f0=name, f3=vector(builder, graph)), identifier)
    return bytes(builder.Output())


def with_buffer(model: bytes, content: bytes, name: str = "TFLITE_METADATA") -> bytes:
    whole = fb.ModelT.InitFromPackedBuf(model, 0)
    buffer, entry, other = fb.BufferT(), fb.MetadataT(), fb.MetadataT()
    buffer.data = np.frombuffer(content, np.uint8)
    entry.name, entry.buffer = name, len(whole.buffers)
    other.name, other.buffer = "min_runtime_version", 0
    whole.buffers = [*whole.buffers, buffer]
    whole.metadata = [other, entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


IMAGENET = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
BUFFERS = [
    (metadata([127.5], [127.5]), (127.5,) * 3, (127.5,) * 3, "rgb"),
    (metadata(*IMAGENET), tuple(IMAGENET[0]), tuple(IMAGENET[1]), "rgb"),
    (metadata([0.0], [255.0], color=2), (0,) * 3, (255,) * 3, None),
    (metadata([127.5], [127.5], color=0), (127.5,) * 3, (127.5,) * 3, None),
    (metadata([127.5], [58.0, 57.0, 56.0]), (127.5,) * 3, (58, 57, 56), "rgb"),
    (metadata([127.5], [127.5], unit=2), None, None, "rgb"),  # a score calibration, which has other fields
    (metadata([], []), None, None, "rgb"),
    (metadata([1.0, 2.0], [1.0, 2.0]), None, None, "rgb"),  # neither one value nor one per channel
    (metadata([0.0], [0.0]), None, None, "rgb"),
    (metadata([float("nan")], [1.0]), None, None, "rgb"),
    (metadata([127.5], [127.5], identifier=b"M999"), None, None, None),
    (b"", None, None, None),
    (b"M001M001", None, None, None),
]


@pytest.mark.parametrize(("content", "mean", "std", "channels"), BUFFERS, ids=range(len(BUFFERS)))
def test_normalization_from_the_metadata_buffer(content: bytes, mean: Any, std: Any, channels: str | None) -> None:
    settings = own_settings(with_buffer(relu(), content), FLOAT_INPUT)
    assert settings.channels == channels
    if mean is None:
        assert (settings.mean, settings.std) == (None, None)
    else:
        assert np.allclose([settings.mean, settings.std], [mean, std], atol=1e-4)


def test_a_buffer_with_another_name_is_ignored() -> None:
    data = with_buffer(relu(), metadata([127.5], [127.5]), name="CONVERSION_METADATA")
    assert own_settings(data, FLOAT_INPUT) == Settings()


def test_a_damaged_buffer_never_raises() -> None:
    content, rng = metadata(*IMAGENET), random.Random(0)
    readable = 0
    for _ in range(1000):
        damaged = bytearray(content)
        for _ in range(rng.choice([1, 3])):
            damaged[rng.randrange(8, len(damaged))] = rng.choice([0, 255, rng.randrange(256)])
        damaged = damaged if rng.random() < 0.8 else damaged[: rng.randrange(len(damaged))]
        settings = own_settings(with_buffer(relu(), bytes(damaged)), FLOAT_INPUT)
        readable += settings.mean is not None
    assert 100 < readable < 900


# ---- quantized inputs ---------------------------------------------------------------------------------------------

HALF = ((127.5,) * 3, (127.5,) * 3)
RANGES = [
    (integer_input(-1, 1), None, HALF),
    (integer_input(0, 1, "int8"), None, ((0.0,) * 3, (255.0,) * 3)),
    (integer_input(0, 255), None, ((0.0,) * 3, (1.0,) * 3)),
    (integer_input(-2.1, 2.6), None, (None, None)),  # no range in use
    (integer_input(-2.1, 2.6), metadata([127.5], [127.5]), HALF),
    (integer_input(0, 1), metadata([127.5], [127.5]), HALF),  # the metadata is explicit; lint warns about the range
    (integer_input(-1, 1), metadata([0.0], [1.0]), HALF),  # raw pixels: the scale determines the normalization
    (integer_input(-2.1, 2.6), metadata([0.0], [1.0]), ((0.0,) * 3, (1.0,) * 3)),
    (integer_input(None), metadata([127.5], [127.5]), ((0.0,) * 3, (1.0,) * 3)),  # no quantization for -1..1
    (integer_input(None), None, ((0.0,) * 3, (1.0,) * 3)),
    (integer_input(None, 0, "int8"), None, ((128.0,) * 3, (1.0,) * 3)),
]


@pytest.mark.parametrize(("tensor", "content", "expected"), RANGES, ids=range(len(RANGES)))
def test_normalization_of_integer_inputs(tensor: Tensor, content: bytes | None, expected: Any) -> None:
    settings = own_settings(relu() if content is None else with_buffer(relu(), content), tensor)
    assert (settings.mean, settings.std) == expected


# ---- what Ultralytics appends -------------------------------------------------------------------------------------

NOTES = {
    "description": "Ultralytics YOLOv8n model trained on coco.yaml",
    "date": "2024-01-01T00:00:00",
    "stride": 32,
    "task": "detect",
    "batch": 1,
    "imgsz": [640, 640],
    "names": {0: "person", 1: "driver's seat"},
}
YOLOV5 = {"stride": 32, "names": {0: "person", 1: "driver's seat"}}


def appended(model: bytes, name: str, content: str) -> bytes:
    buffer = io.BytesIO(model)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


WAYS = [
    ("temp_meta.txt", str(NOTES)),
    ("metadata.json", json.dumps(NOTES, indent=2)),
    ("meta.txt", str(YOLOV5)),
    ("meta.txt", str({**YOLOV5, "names": ["person", "driver's seat"]})),
]


@pytest.mark.parametrize(("name", "content"), WAYS)
def test_export_notes_become_settings(name: str, content: str, sample: Sample) -> None:
    result = inspect(appended(sample.models["float32"].read_bytes(), name, content), Settings(), Settings())
    assert result.labels == ("person", "driver's seat")
    settings = result.settings
    assert (settings.mean, settings.std, settings.channels, settings.resize) == (
        (0.0,) * 3,
        (255.0,) * 3,
        "rgb",
        "letterbox",
    )
    assert {result.sources[field] for field in ("mean", "std", "channels", "resize", "labels")} == {"file"}


def test_explicit_settings_override_export_notes(sample: Sample) -> None:
    data = appended(sample.models["float32"].read_bytes(), *WAYS[0])
    result = inspect(data, Settings(resize="stretch"), Settings(mean=(1.0, 2.0, 3.0)))
    assert (result.settings.resize, result.settings.mean, result.settings.std) == ("stretch", (1, 2, 3), (255,) * 3)


TASKS = [
    ("classify", "is a classification model"),
    ("depth", "is no detector (its metadata says task 'depth')"),
]


@pytest.mark.parametrize(("task", "sentence"), TASKS)
def test_a_model_of_another_task_is_refused(task: str, sentence: str, sample: Sample) -> None:
    data = appended(sample.models["float32"].read_bytes(), "temp_meta.txt", str({**NOTES, "task": task}))
    with pytest.raises(ModelError) as caught:
        inspect(data, Settings(), Settings())
    assert str(caught.value).startswith(sentence)
    assert "trained for the task 'detect'" in str(caught.value)


NO_NOTES = [
    "one\ntwo",
    "{'stride': 32, 'names': open('/etc/passwd')}",
    "{'stride': 32, 'names': __import__('os').getcwd()}",
    "{'stride': 32, 'names': {0: 'a'}} or 1",
    "{" * 1000,
    "{" + "-" * 100_000 + "1: 2}",
    "{0: " + "(" * 150 + ")" * 150 + "}",
    "{'stride': 32, 'names': {0: '" + "a" * MAX_NOTES + "'}}",
    "{'stride': 32, 'names': {[]: 1}}",
]


@pytest.mark.parametrize("content", NO_NOTES, ids=range(len(NO_NOTES)))
def test_other_texts_are_not_export_notes(content: str) -> None:
    data = appended(relu(), "temp_meta.txt", content)
    assert exporter_notes(data) == {}
    assert own_settings(data, FLOAT_INPUT) == Settings()


def test_notes_without_a_stride_name_the_classes_only(sample: Sample) -> None:
    """Any exporter may append names; only Ultralytics' notes imply how images are prepared."""
    data = appended(sample.models["float32"].read_bytes(), "temp_meta.txt", "{'names': {0: 'hen', 1: 'cock'}}")
    result = inspect(data, Settings(), Settings())
    assert (result.labels, result.sources["labels"]) == (("hen", "cock"), "file")
    assert "file" not in {result.sources[name] for name in ("mean", "std", "channels")}


def test_export_notes_are_not_a_label_file() -> None:
    data = appended(relu(), *WAYS[0])
    assert label_file(data) is None
    assert label_file(appended(data, "labels.txt", "a\nb")) == b"a\nb"


@pytest.mark.parametrize("names", [{0: "a", 30_000: "b"}, {"a": "b"}, 7, {-1: "a"}, []])
def test_invalid_class_names_are_ignored(names: Any, sample: Sample) -> None:
    data = appended(sample.models["float32"].read_bytes(), "temp_meta.txt", str({**NOTES, "names": names}))
    result = inspect(data, Settings(), Settings())
    assert (result.sources["labels"], result.settings.std) == ("class count", (255.0,) * 3)
