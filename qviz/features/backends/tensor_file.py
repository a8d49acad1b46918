"""The tensors of a recording in one zip archive, written by `qviz device read --tensors` and read by `recorded_layers`.

recording.json    the model, the device, the images and the tensors: a `TensorRecording`
00000/00012.npy   tensor 12 of image 0: in the type of the .tflite file, or as float32 if its values are not on the
                  steps of that file

The archive is not trusted when it is read. The document is checked field by field. Arrays are read without pickle and
must have the type and shape of the model's tensor.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qviz.context import Context
from qviz.engine import Blob
from qviz.errors import RecordingError
from qviz.features.backends.inner import DAMAGED, inner_tensors, member
from qviz.features.backends.recording import (
    HEADER,
    MAX_DOCUMENT,
    MAX_IMAGES,
    RECORDING,
    Device,
    array_bytes,
    byte_size,
    read_array,
    read_document,
)
from qviz.limits import limits
from qviz.result import encode
from qviz.structures import Graph
from qviz.structures.archive import open_zip

FORMAT = 1
NAME, SHAPE = "name", "shape"
"""The ways to recognise an array: values of `RecordedTensor.matched_by`."""


@dataclass(frozen=True, slots=True)
class RecordedTensor:
    """One tensor. index: its index in the model; matched_by: how it was recognised, `name` or `shape`."""

    index: int
    name: str
    dtype: str
    matched_by: str


@dataclass(frozen=True, slots=True)
class RecordedInput:
    """One image, and the sha256 of its prepared input as an .npy file."""

    name: str
    input_sha256: str


@dataclass(frozen=True, slots=True)
class TensorRecording:
    """The document that describes a file of recorded tensors.

    Attributes:
        model_sha256: Hash of the .tflite file that was packed.
        ignored: Names of arrays that belong to no tensor of the model.
    """

    format: int
    model: str
    model_sha256: str
    device: Device
    images: tuple[RecordedInput, ...]
    tensors: tuple[RecordedTensor, ...]
    ignored: tuple[str, ...] = ()


class TensorWriter:
    """Writes recorded arrays image by image. matched_by_shape: indices of tensors that were recognised by shape."""

    def __init__(self, archive: zipfile.ZipFile, graph: Graph, matched_by_shape: Sequence[int] = ()) -> None:
        self._archive, self._by_shape = archive, frozenset(matched_by_shape)
        self._facts = {row.index: row.facts for row in inner_tensors(graph)}
        self.tensors: tuple[RecordedTensor, ...] = ()
        self._images = 0

    def add(self, arrays: Mapping[int, np.ndarray]) -> None:
        """Write the next image. arrays: index of the tensor -> values. Raises RecordingError if tensors are missing."""
        rows = tuple(
            RecordedTensor(index, self._facts[index].name, arrays[index].dtype.name, self._matched_by(index))
            for index in sorted(arrays)
            if index in self._facts
        )
        if self._images and rows != self.tensors:
            raise RecordingError(
                f"The recording of image {self._images} has other tensors than that of image 0; record it again."
            )
        self.tensors = rows
        for row in rows:
            self._archive.writestr(member_name(self._images, row.index), array_bytes(arrays[row.index]))
        self._images += 1

    def _matched_by(self, index: int) -> str:
        return SHAPE if index in self._by_shape else NAME

    def finish(self, header: TensorRecording) -> None:
        """Write the document that describes the arrays."""
        document = encode(replace(header, tensors=self.tensors))
        self._archive.writestr(RECORDING, json.dumps(document, ensure_ascii=False, allow_nan=False))


@contextmanager
def writing(path: Path, graph: Graph, matched_by_shape: Sequence[int] = ()) -> Iterator[TensorWriter]:
    """A writer for a new file that replaces `path` when all is written. Raises RecordingError."""
    part = path.with_name(f"{path.name}.part")
    try:
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                yield TensorWriter(archive, graph, matched_by_shape)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise RecordingError(f"{path} cannot be written ({error.strerror}).") from error


def member_name(image: int, tensor: int) -> str:
    """Name of the archive's file for one tensor of one image."""
    return f"{image:05d}/{tensor:05d}.npy"


# ---- read -----------------------------------------------------------------------------------------------------------


def read_recording(path: Path) -> bytes:
    """The bytes of a file of recorded tensors. Raises RecordingError if there is no such file, or it is too large."""
    if not path.is_file():
        raise RecordingError(f"{path} is not a file; give one that `qviz device read --tensors` has written.")
    if path.stat().st_size > limits().archive_mb << 20:
        raise RecordingError(
            f"{path.name} has more than {limits().archive_mb:,} MB (archive_mb); record fewer images or tensors."
        )
    return path.read_bytes()


def described(context: Context, blob: Blob, name: str) -> TensorRecording:
    """The document of a file of recorded tensors. name: name of the file, for messages. Raises RecordingError."""
    try:
        return context.wait(context.engine.submit(header_job, blob))
    except RecordingError as error:
        raise RecordingError(f"{name} {error}") from error


def header_job(blob: Blob) -> TensorRecording:
    """The document of a file; runs in a worker. Raises RecordingError; its message continues the file's name."""
    try:
        with open_zip(blob.read()) as archive:
            data = member(archive, archive.getinfo(RECORDING), MAX_DOCUMENT, "The archive")
    except KeyError as error:
        raise RecordingError(
            f"has no {RECORDING}; give a file that `qviz device read --tensors` has written."
        ) from error
    except DAMAGED as error:
        raise RecordingError("is not a complete archive of recorded tensors; copy it again.") from error
    try:
        header = read_document(TensorRecording, data, RECORDING)
    except RecordingError as error:
        raise RecordingError(f"is not usable: {error}") from error
    names = [row.name for row in header.images]
    if not 0 < len(names) <= MAX_IMAGES or len(set(names)) < len(names):
        raise RecordingError(f"names {len(names)} images; 1 to {MAX_IMAGES} of different names are expected.")
    return header


def image_tensors(blob: Blob, header: TensorRecording, number: int, graph: Graph) -> dict[int, np.ndarray]:
    """Index of each tensor -> its values on one image; runs in a worker.

    Raises RecordingError if a tensor does not fit the model.
    """
    facts = {row.index: row.facts for row in inner_tensors(graph)}
    arrays: dict[int, np.ndarray] = {}
    try:
        with open_zip(blob.read()) as archive:
            for row in header.tensors:
                if row.index not in facts or facts[row.index].name != row.name or row.index in arrays:
                    raise RecordingError(f"The recording has a tensor {row.name[:80]!r} that the model does not have.")
                tensor = facts[row.index]
                if row.dtype == "float32":
                    tensor = replace(tensor, dtype="float32")
                name = member_name(number, row.index)
                data = member(archive, archive.getinfo(name), byte_size(tensor) + HEADER, "The recording")
                arrays[row.index] = read_array(data, tensor, name)
    except KeyError as error:
        raise RecordingError(
            f"The recording lacks a tensor of image {number}; read it from the device again."
        ) from error
    except DAMAGED as error:
        raise RecordingError("The recording is not a complete archive; copy it again.") from error
    return arrays
