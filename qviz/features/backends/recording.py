"""A device recording: a folder that `qviz device pack` writes and to which a device adds its outputs.

manifest.json       what was packed: model, input, outputs, settings, and one entry per image
model.tflite        the model
inputs/00000.npy    the prepared input tensor of each image
run_on_device.py    the runner, to be started on the device
recording.json      written by the runner: the device, and the hashes of the files that it wrote
outputs/00000-0.npy the output tensors of each image, in the order of the file
inner/00000.npz     tensors inside the network, if they were to be recorded: `qviz.features.backends.inner`

The folder is not trusted when it comes back. Both documents are checked field by field. Files have fixed names, so no
path from a document is opened; links that lead out of the folder are refused. Arrays are read without pickle, are not
larger than the manifest says, and must have the recorded hashes. No code in the folder is executed.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from qviz.errors import RecordingError
from qviz.formatting import plural
from qviz.limits import limits
from qviz.result import Misfit, decode
from qviz.structures import Tensor, digest_of
from qviz.structures.json_document import NotJson, parse_json

FORMAT = 1
MANIFEST, RECORDING, MODEL, RUNNER = "manifest.json", "recording.json", "model.tflite", "run_on_device.py"
MAX_DOCUMENT = 64 << 20
"""Maximum size of a JSON document, in bytes."""
MAX_ARRAY = 256 << 20
"""Maximum size of an output tensor with open dimensions, in bytes."""
MAX_IMAGES = 20_000
HEADER = 4096
"""Maximum size of an .npy file's header, in bytes."""
DTYPES = frozenset({"float32", "float16", "int8", "uint8", "int16", "int32", "int64", "bool"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """Facts about a tensor. shape: -1 for an open dimension; scale, zero_point: None unless quantized per tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True, slots=True)
class PackedModel:
    """The model's name and file in the folder."""

    name: str
    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PackedImage:
    """One image. Its prepared input is `file`; a pixel (x, y) lies in the input at pixel * scale + offset."""

    name: str
    width: int
    height: int
    file: str
    sha256: str
    scale: tuple[float, ...]
    offset: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The contents of a packed folder.

    Attributes:
        settings: The complete settings of the model, with its labels.
        inner: Tensors inside the network that the device should also record.
    """

    format: int
    model: PackedModel
    input: TensorFacts
    outputs: tuple[TensorFacts, ...]
    settings: dict[str, Any]
    images: tuple[PackedImage, ...]
    inner: tuple[TensorFacts, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """The device that computed the outputs. delegate: empty if none was chosen; the runtime may still use a default."""

    name: str
    runtime: str
    version: str
    delegate: str


@dataclass(frozen=True, slots=True)
class OutputFile:
    """A file with one output tensor of an image, or with all inner tensors of an image."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RecordedImage:
    """The outputs of one image, in the order of the file. inner: None if no inner tensor was recorded."""

    name: str
    input_sha256: str
    milliseconds: float
    outputs: tuple[OutputFile, ...]
    inner: OutputFile | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """The document that the runner writes. model_sha256: hash of the file that ran, which may be a compiled one."""

    format: int
    manifest_sha256: str
    model_sha256: str
    device: Device
    images: tuple[RecordedImage, ...]


def input_name(number: int) -> str:
    """Name of the file with an image's prepared input."""
    return f"inputs/{number:05d}.npy"


def output_name(number: int, position: int) -> str:
    """Name of the file with one output of an image."""
    return f"outputs/{number:05d}-{position}.npy"


def inner_name(number: int) -> str:
    """Name of the file with the inner tensors of an image."""
    return f"inner/{number:05d}.npz"


def tensor_facts(tensor: Tensor, shape: tuple[int, ...]) -> TensorFacts:
    """The facts of a tensor, with the shape that it had in a run. Dimensions that are open in the file stay open."""
    is_open = len(tensor.shape) == len(shape) and -1 in tensor.shape
    sides = tuple(-1 if is_open and tensor.shape[axis] == -1 else side for axis, side in enumerate(shape))
    quantization = tensor.per_tensor
    scale = None if quantization is None else float(quantization.scales[0])
    zero_point = None if quantization is None else int(quantization.zero_points[0])
    return TensorFacts(tensor.name, sides, tensor.dtype, scale, zero_point)


def array_bytes(values: np.ndarray) -> bytes:
    """An array as the bytes of an .npy file."""
    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(values) if values.ndim else values, allow_pickle=False)
    return stream.getvalue()


def input_digest(values: np.ndarray) -> str:
    """sha256 of a prepared input, stored as an .npy file; the manifest has the same hash."""
    return digest_of(array_bytes(values))


def read_array(data: bytes, facts: TensorFacts, name: str) -> np.ndarray:
    """The values of an .npy file. Raises RecordingError unless they are finite and have this shape and dtype."""
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError, TypeError, SyntaxError, MemoryError, RecursionError, KeyError) as error:
        raise RecordingError(
            f"{name} is not a complete .npy array of numbers; record it again with {RUNNER}."
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.name != facts.dtype:
        dtype = getattr(getattr(values, "dtype", None), "name", "an archive")
        raise RecordingError(f"{name} holds {dtype}; output {facts.name!r} of the model is {facts.dtype}.")
    sides = zip(values.shape, facts.shape, strict=False)
    if values.ndim != len(facts.shape) or any(expected not in (-1, side) for side, expected in sides):
        raise RecordingError(f"{name} has the shape {list(values.shape)}; the model gives {list(facts.shape)}.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise RecordingError(f"{name} holds NaN or infinite values; the device has computed no usable output.")
    return values


class RecordingFolder:
    """Reads and writes the files of one folder. Raises RecordingError for files that are missing or do not fit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise RecordingError(f"{path} is not a folder; give the one that `qviz device pack` has written.")

    @classmethod
    def create(cls, path: Path) -> RecordingFolder:
        """Create the folder, or use it if it exists and is empty."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise RecordingError(f"{path} is not empty; name a new folder, so that no recording is overwritten.")
        except OSError as error:
            raise RecordingError(f"{path} cannot be created ({error.strerror}).") from error
        return cls(path)

    def write(self, name: str, data: bytes) -> None:
        """Write one file."""
        target = self._inside(name)
        try:
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(data)
        except OSError as error:
            raise RecordingError(f"{target} cannot be written ({error.strerror}).") from error

    def read(self, name: str, max_bytes: int) -> bytes:
        """The bytes of a file of at most this size."""
        path = self._inside(name)
        if not path.is_file():
            raise RecordingError(f"{self.path} has no file {name}{_how_to_get(name)}.")
        if (size := path.stat().st_size) > max_bytes:
            raise RecordingError(f"{name} has {size} bytes; at most {max_bytes} are expected.")
        return path.read_bytes()

    def manifest(self) -> tuple[Manifest, str]:
        """(manifest, sha256 of its document)."""
        data = self.read(MANIFEST, MAX_DOCUMENT)
        manifest = read_document(Manifest, data, MANIFEST)
        if not 0 < len(manifest.images) <= MAX_IMAGES:
            raise RecordingError(f"{MANIFEST} names {len(manifest.images)} images; 1 to {MAX_IMAGES} are expected.")
        _check_names(MANIFEST, [(manifest.model.file, MODEL)])
        _check_names(MANIFEST, ((row.file, input_name(number)) for number, row in enumerate(manifest.images)))
        for tensor in (manifest.input, *manifest.outputs, *manifest.inner):
            if tensor.dtype not in DTYPES or len(tensor.shape) > 8 or any(side < -1 for side in tensor.shape):
                raise RecordingError(f"{MANIFEST} describes a tensor of {tensor.dtype[:20]} that no model has.")
        for row in manifest.images:
            if len(row.scale) != 2 or len(row.offset) != 2 or min(*row.scale, row.width, row.height) <= 0:
                raise RecordingError(f"{MANIFEST} does not say where {row.name[:80]} lies in the input.")
        return manifest, digest_of(data)

    def model(self, manifest: Manifest) -> bytes:
        """The bytes of the model."""
        data = self.read(MODEL, limits().model_mb << 20)
        if digest_of(data) != manifest.model.sha256:
            raise RecordingError(f"{MODEL} is not the model that was packed: its hash differs from the manifest's.")
        return data

    def input(self, manifest: Manifest, number: int) -> bytes:
        """The prepared input of one image, as an .npy file."""
        row = manifest.images[number]
        data = self.read(row.file, byte_size(manifest.input) + HEADER)
        if digest_of(data) != row.sha256:
            raise RecordingError(f"{row.file} is not the input that was packed: its hash differs from the manifest's.")
        return data

    def recording(self, manifest: Manifest, manifest_sha256: str) -> Recording:
        """The document that the runner wrote, with the images in the manifest's order."""
        recording = read_document(Recording, self.read(RECORDING, MAX_DOCUMENT), RECORDING)
        if recording.manifest_sha256 != manifest_sha256:
            raise RecordingError(
                f"{RECORDING} was made with another manifest, so with other inputs; run {RUNNER} of this folder."
            )
        if len(recording.images) != len(manifest.images):
            raise RecordingError(
                f"{RECORDING} has {plural(len(recording.images), 'image')}, but {len(manifest.images)}"
                f" {'was' if len(manifest.images) == 1 else 'were'} packed; run {RUNNER} to its end."
            )
        for number, (row, packed) in enumerate(zip(recording.images, manifest.images, strict=True)):
            if (row.input_sha256, row.name) != (packed.sha256, packed.name):
                raise RecordingError(
                    f"{RECORDING} has {row.name[:80]} as image {number}, where {packed.name[:80]} was packed; its"
                    " images are in another order."
                )
            if len(row.outputs) != len(manifest.outputs):
                raise RecordingError(
                    f"{RECORDING} has {plural(len(row.outputs), 'output')} of {row.name[:80]}; the model"
                    f" has {len(manifest.outputs)}."
                )
        self._check_output_names(recording)
        return recording

    def outputs(self, manifest: Manifest, recording: Recording, number: int) -> list[bytes]:
        """The outputs of one image, each as an .npy file; to be read with `read_array`."""
        arrays = []
        for file, facts in zip(recording.images[number].outputs, manifest.outputs, strict=True):
            data = self.read(file.file, byte_size(facts) + HEADER)
            if digest_of(data) != file.sha256:
                raise RecordingError(f"{file.file} has changed since it was recorded: its hash differs; record again.")
            arrays.append(data)
        return arrays

    def inner(self, manifest: Manifest, recording: Recording, number: int) -> bytes | None:
        """The inner tensors of one image as an .npz file, to be read with `inner.read_inner`; None if it has none."""
        file = recording.images[number].inner
        if file is None:
            return None
        size = sum(byte_size(facts) + 2 * HEADER for facts in manifest.inner)
        data = self.read(file.file, min(size, limits().archive_mb << 20))
        if digest_of(data) != file.sha256:
            raise RecordingError(f"{file.file} has changed since it was recorded: its hash differs; record again.")
        return data

    def _check_output_names(self, recording: Recording) -> None:
        files = [
            (file.file, output_name(number, position))
            for number, row in enumerate(recording.images)
            for position, file in enumerate(row.outputs)
        ]
        _check_names(RECORDING, files)
        rows = [(number, row.inner) for number, row in enumerate(recording.images) if row.inner is not None]
        _check_names(RECORDING, ((file.file, inner_name(number)) for number, file in rows))
        listed = {name for name, _ in files}
        folder = self._inside("outputs")
        present = {f"outputs/{entry.name}" for entry in folder.iterdir()} if folder.is_dir() else set()
        if extra := sorted(present - listed):
            raise RecordingError(
                f"{extra[0][:80]} is not part of the recording; delete outputs and {RECORDING}, then run {RUNNER}."
            )

    def _inside(self, name: str) -> Path:
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise RecordingError(f"{name} is a link that leads out of {self.path}; copy the file itself.")
        return path


def read_document(hint: type[T], data: bytes, name: str) -> T:
    """Read a JSON document of the current format and check each field. Raises RecordingError."""
    try:
        content = parse_json(data)
        version = content.get("format") if isinstance(content, dict) else None
        if version != FORMAT:
            raise Misfit(f"its format is {str(version)[:20]}; {FORMAT} is expected")
        document: T = decode(hint, content, name)
        return document
    except Misfit as error:
        raise RecordingError(f"{name} cannot be used: {error}. Pack and record again with this version.") from error
    except NotJson as error:
        raise RecordingError(
            f"{name} is not complete JSON: {error}. Copy it from the device again, or record again."
        ) from error


def _check_names(document: str, names: Iterable[tuple[str, str]]) -> None:
    for name, expected in names:
        if name != expected:
            raise RecordingError(f"{document} names the file {name[:80]!r}; {expected} is expected in its place.")


def byte_size(facts: TensorFacts) -> int:
    """Size of a tensor in bytes; MAX_ARRAY if its shape is open or it is larger."""
    if -1 in facts.shape:
        return MAX_ARRAY
    return min(math.prod(facts.shape) * np.dtype(facts.dtype).itemsize, MAX_ARRAY)


def _how_to_get(name: str) -> str:
    if name == RECORDING:
        return f": start {RUNNER} on the device, or `qviz device run` here"
    return "; copy the whole folder" if name != MANIFEST else "; give the one that `qviz device pack` has written"
