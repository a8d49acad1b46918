"""Input preparation and class names that a .tflite file states outside its graph. The first of three sources counts:

TFLite metadata   the buffer named TFLITE_METADATA: normalisation of the input (on pixel values 0..255) and its colours
exporter's notes  a zip archive that Ultralytics appends, with a dict of names, task, imgsz, stride, ...; in YOLOv5 as
                  `meta.txt` and up to 8.3 as `temp_meta.txt`, both the text of a Python dict, later as `metadata.json`.
                  These models read RGB divided by 255, letterboxed
quantized input   the real range that its integers represent: -1..1, 0..1 or 0..255

Label files are in the appended archive, too ("associated files"). Sources: tflite-support's metadata_schema.fbs,
version 1.1.0; ultralytics/engine/exporter.py. All of it is untrusted: what cannot be read is ignored.
"""

from __future__ import annotations

import ast
import io
import json
import lzma
import math
import struct
import zipfile
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as fb
from flatbuffers import number_types
from flatbuffers.table import Table

from qviz.errors import ModelError
from qviz.structures import Settings, Tensor
from qviz.structures.archive import open_zip

MAX_FILE = 1 << 20
"""Maximum bytes of an associated file; larger ones are ignored."""
MAX_NOTES = 256 << 10
MAX_ENTRIES = 16
"""Maximum entries read from a list in the metadata."""
BUFFER, IDENTIFIER = b"TFLITE_METADATA", b"M001"

SUBGRAPHS, INPUTS, PROCESS_UNITS, CONTENT = 3, 2, 4, 3
"""Field numbers: ModelMetadata.subgraph_metadata, SubGraphMetadata.input_tensor_metadata, TensorMetadata.process_units
and .content."""
MEAN, STD = 0, 1
"""Field numbers of NormalizationOptions."""
UNION_TYPE, UNION = 0, 1
"""ProcessUnit.options and Content.content_properties: a union takes two fields, its type and its value."""
NORMALIZATION, IMAGE, COLOR_SPACE, RGB = 1, 2, 0, 1
"""ProcessUnitOptions.NormalizationOptions; ContentProperties.ImageProperties, its field color_space; ColorSpaceType."""

_RANGES = {(127.5, 127.5): (-1.0, 1.0), (0.0, 255.0): (0.0, 1.0), (0.0, 1.0): (0.0, 255.0)}
"""(mean, std) -> range of the normalised pixels."""
DETECTING_TASKS = ("detect", "segment", "pose", "obb")
"""Tasks of models that find boxes."""


def own_settings(data: bytes, tensor: Tensor, notes: dict[str, Any] | None = None) -> Settings:
    """The settings that the file states for its image input `tensor`; fields that it does not state are None.

    Args:
        notes: The exporter's notes, if the caller has read them already.

    Raises:
        ModelError: The file states a task other than finding boxes.
    """
    notes = exporter_notes(data) if notes is None else notes
    _check_task(notes.get("task"))
    settings = Settings()
    if "stride" in notes or {"author", "version"} <= set(notes):  # written by Ultralytics or in its format
        settings = Settings(mean=(0.0,) * 3, std=(255.0,) * 3, channels="rgb", resize="letterbox")
    settings = _from_buffer(data).with_defaults(settings)
    ranged = _from_range(tensor)
    raw = settings.mean == (0.0,) * 3 and settings.std == (1.0,) * 3
    if pixels := raw_pixels(tensor).given():
        return replace(settings, **pixels)  # before the metadata, which describe the float model
    if tensor.dtype not in ("float32", "float16") and raw and ranged.given():
        # an integer input receives unchanged pixels, and its scale says which real values they stand for
        settings = Settings(channels=settings.channels, resize=settings.resize)
    return settings.with_defaults(ranged)


def raw_pixels(tensor: Tensor) -> Settings:
    """Mean and std if the input is an integer without a scale, which can only receive raw pixels; else empty settings.

    uint8 holds pixels 0..255; int8 holds them minus 128.
    """
    if tensor.dtype in ("float32", "float16") or tensor.quantized:
        return Settings()
    return Settings(mean=(128.0 if tensor.dtype == "int8" else 0.0,) * 3, std=(1.0,) * 3)


def _check_task(task: Any) -> None:
    if isinstance(task, str) and task not in DETECTING_TASKS:
        kind = "a classification model" if task == "classify" else "no detector"
        raise ModelError(
            f"is {kind} (its metadata says task {task[:40]!r}), and it finds no boxes: export one trained for the task"
            " 'detect'."
        )


def _from_range(tensor: Tensor) -> Settings:
    """The usual normalisation whose pixels fill the range of a quantized input; empty settings if none does."""
    if not tensor.quantized or tensor.quantization is None:
        return Settings()
    low, high = tensor.quantization.real_range(tensor.dtype)
    for (mean, std), span in _RANGES.items():
        if abs(low - span[0]) + abs(high - span[1]) < 0.05 * (high - low):
            return Settings(mean=(mean,) * 3, std=(std,) * 3)
    return Settings()


# ---- files appended as a zip --------------------------------------------------------------------------------------


def associated_files(data: bytes) -> dict[str, bytes]:
    """Name -> content of the files in the appended archive; empty if there is none or it is damaged."""
    if not zipfile.is_zipfile(io.BytesIO(data)):
        return {}
    try:
        with open_zip(data) as archive:
            small = [entry for entry in archive.infolist() if entry.file_size <= MAX_FILE][:20]
            return {entry.filename: archive.read(entry) for entry in small}
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, RuntimeError, EOFError, ValueError):
        return {}  # the model itself is usable without the archive


def label_file(data: bytes) -> bytes | None:
    """The appended .txt file with the most lines that is not the exporter's notes; None if there is none."""
    texts = [content for name, content in associated_files(data).items() if name.endswith(".txt")]
    return max((text for text in texts if not _notes(text)), key=lambda content: content.count(b"\n"), default=None)


def exporter_notes(data: bytes) -> dict[str, Any]:
    """The exporter's notes, which contain `names` (Ultralytics: also `stride`); empty if the file has none."""
    files = associated_files(data)
    texts = (content for name, content in files.items() if name.endswith((".txt", ".json")))
    return next((notes for text in texts if (notes := _notes(text))), {})


def _notes(content: bytes) -> dict[str, Any]:
    if not content.lstrip().startswith(b"{") or len(content) > MAX_NOTES:
        return {}
    for parse in (json.loads, ast.literal_eval):  # literal_eval reads constants only and runs no code
        try:
            notes = parse(content.decode().strip())
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return notes if isinstance(notes, dict) and "names" in notes else {}
    return {}


# ---- the metadata buffer ------------------------------------------------------------------------------------------


def _from_buffer(data: bytes) -> Settings:
    """Normalisation and colours of the first input in the TFLite metadata; fields that are not stated are None."""
    try:
        root = metadata_root(data)
        if root is None:
            return Settings()
        inputs = [tensor for graph in children(root, SUBGRAPHS)[:1] for tensor in children(graph, INPUTS)[:1]]
        return _input_settings(inputs[0]) if inputs else Settings()
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError):
        return Settings()


def metadata_root(data: bytes) -> Table | None:
    """The root table of the TFLite metadata, or None. May raise what flatbuffers raise for damaged data."""
    content = _buffer(fb.Model.GetRootAs(data))
    return Table(content, struct.unpack_from("<I", content)[0]) if content[4:8] == IDENTIFIER else None


def _buffer(model: Any) -> bytes:
    for index in range(min(model.MetadataLength(), MAX_ENTRIES)):
        entry = model.Metadata(index)
        if entry.Name() == BUFFER and entry.Buffer() < model.BuffersLength():
            buffer = model.Buffers(entry.Buffer())
            return bytes(buffer.DataAsNumpy()) if buffer.DataLength() else b""
    return b""


def _input_settings(tensor: Table) -> Settings:
    units = [unit for unit in children(tensor, PROCESS_UNITS) if _byte(unit, UNION_TYPE) == NORMALIZATION]
    options = table_of(units[0], UNION) if units else None
    mean, std = (_triple(options, MEAN), _triple(options, STD)) if options else (None, None)
    if mean is None or std is None or 0 in std:
        mean = std = None
    return Settings(mean=mean, std=std, channels="rgb" if _is_rgb(tensor) else None)


def _is_rgb(tensor: Table) -> bool:
    content = table_of(tensor, CONTENT)
    if content is None or _byte(content, UNION_TYPE) != IMAGE:
        return False
    image = table_of(content, UNION)
    return image is not None and _byte(image, COLOR_SPACE) == RGB


def _triple(table: Table, field: int) -> tuple[float, float, float] | None:
    """Three numbers from a vector with one number for all channels or one per channel; None for any other vector."""
    at = offset(table, field)
    count = table.VectorLen(at) if at else 0
    if count not in (1, 3):
        return None
    values = np.frombuffer(table.Bytes, "<f4", count, table.Vector(at)).tolist() * (3 // count)
    return (values[0], values[1], values[2]) if all(math.isfinite(v) and abs(v) < 1e6 for v in values) else None


def offset(table: Table, field: int) -> int:
    """Offset of a field from the start of its table; 0 if the field is missing.

    The vtable stores two sizes of two bytes before the fields' offsets, hence the 4.
    """
    return int(table.Offset(4 + 2 * field))


def _byte(table: Table, field: int) -> int:
    at = offset(table, field)
    return int(table.Get(number_types.Uint8Flags, at + table.Pos)) if at else 0


def table_of(table: Table, field: int) -> Table | None:
    """The table that a field refers to; None if the field is missing."""
    at = offset(table, field)
    return Table(table.Bytes, table.Indirect(at + table.Pos)) if at else None


def children(table: Table, field: int, limit: int = MAX_ENTRIES) -> list[Table]:
    """The tables in a vector, at most `limit`; empty if the field is missing."""
    at = offset(table, field)
    count = min(table.VectorLen(at), limit) if at else 0
    start = table.Vector(at) if count else 0
    return [Table(table.Bytes, table.Indirect(start + 4 * index)) for index in range(count)]
