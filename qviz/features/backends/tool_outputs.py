"""Outputs that other tools have recorded for a packed folder: .npz files, AI Hub's .h5, raw files of Qualcomm's tools.

FILE.npz              one array per output, with all images along the first axis, in the order of the manifest. An array
                      is named like the output in the file's signature, or like its tensor. ST Edge AI Core's validation
                      writes c_outputs_1, c_outputs_2, ... instead, and the original model's as m_outputs_1, ...
FILE.h5               Qualcomm AI Hub: data/K/batch_N, where K counts outputs and N images; the attribute `name` of
                      data/K is the output's name, `batch_count` the number of images (`dataset_entries_converters.py`
                      of the package qai_hub 0.56)
Result_N/NAME.raw     a folder as qnn-net-run and snpe-net-run write it: float32, or the type of the output

Other arrays are tensors inside the network if their names or shapes say so (`qviz.features.backends.inner`).

None of these formats names the images. If an .npz file also holds the inputs (under the input's name, or as
m_inputs_1), they must be the packed ones. Otherwise only the number of images, and the names, types and shapes of the
outputs can be checked. Files are not trusted: they are parsed in a worker, without pickle, and with limits on their
size that follow from the manifest.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from qviz import optional
from qviz.context import Context
from qviz.errors import RecordingError
from qviz.features.backends.inner import DAMAGED, InnerTensor, inner_tensors, plain
from qviz.features.backends.recording import (
    HEADER,
    Manifest,
    RecordingFolder,
    TensorFacts,
    array_bytes,
    byte_size,
)
from qviz.features.backends.tool_arrays import InnerArrays, inner_arrays, shaped, typed
from qviz.formatting import listed, plural
from qviz.limits import limits
from qviz.structures import Graph, digest_of
from qviz.structures.archive import open_zip

NPZ, HUB, ST, RAW = "NumPy archive", "Qualcomm AI Hub", "ST Edge AI", "Qualcomm runner"
ST_OUTPUT = re.compile(r"c_outputs(?:_(\d+))?")
ST_OTHER = re.compile(r"[mc]_(?:inputs|outputs|labels)(?:_\d+)?")
PLAIN_FILTERS = frozenset({1, 2, 3})
"""Filters that HDF5 contains: deflate, shuffle and checksum. Other filters would be loaded as plugins."""
MAX_MEMBERS = 4096
NO_INPUTS = "It holds no inputs, so the order of its images could not be checked."


@dataclass(frozen=True, slots=True)
class Expected:
    """What a file must or may hold.

    Attributes:
        images: Number of images.
        outputs: The outputs of the model, all of which must be in the file.
        names: For each output, the names that its array may have.
        input, input_names: The input, which may be in the file, and the names that its array may have.
        inputs: sha256 of the packed input of each image, as an .npy file.
        inner: Tensors inside the network, which may be in the file.
    """

    images: int
    outputs: tuple[TensorFacts, ...]
    names: tuple[tuple[str, ...], ...]
    input: TensorFacts
    input_names: tuple[str, ...]
    inputs: tuple[str, ...]
    inner: tuple[InnerTensor, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest, graph: Graph) -> Expected:
        """What a recording of a packed folder must hold. graph: the graph of the packed model."""
        names = {index: name for name, index in graph.signature.items()}
        outputs = tuple(
            tuple(filter(None, (names.get(index, ""), facts.name, f"output_{position}")))
            for position, (index, facts) in enumerate(zip(graph.outputs, manifest.outputs, strict=True))
        )
        inputs = tuple(filter(None, (names.get(graph.inputs[0], ""), manifest.input.name, "m_inputs_1", "m_inputs")))
        sha256 = tuple(row.sha256 for row in manifest.images)
        inner = tuple(row for row in inner_tensors(graph) if row.index not in graph.outputs)
        return cls(len(manifest.images), manifest.outputs, outputs, manifest.input, inputs, sha256, inner)


@dataclass(frozen=True, slots=True, eq=False)
class ToolOutputs:
    """The outputs in a file.

    Attributes:
        tool: The tool that wrote the file.
        outputs: (images, *shape) values of each output.
        remarks: Sentences on what was converted, ignored or could not be checked.
        inner: Tensors inside the network, if the file holds any.
    """

    tool: str
    outputs: tuple[np.ndarray, ...]
    remarks: tuple[str, ...] = ()
    inner: InnerArrays = field(default_factory=InnerArrays)


def tool_outputs(context: Context, path: Path, expected: Expected) -> ToolOutputs:
    """The outputs in a file or folder of one of the formats above. Raises RecordingError, InputError."""
    if path.is_dir():
        return _of_folder(RecordingFolder(path), expected)
    jobs: dict[str, Callable[..., ToolOutputs]] = {".npz": npz_job, ".h5": hub_job, ".hdf5": hub_job}
    job = jobs.get(path.suffix.lower())
    if job is None or not path.is_file():
        raise RecordingError(f"{path} has no outputs to read: it is no .npz or .h5 file, and no folder with Result_0.")
    if job is hub_job:
        optional.require("hub", f"Reading {path.name}")
    max_bytes = limits().archive_mb << 20
    needed = expected.images * sum(byte_size(facts) for facts in expected.outputs if -1 not in facts.shape)
    if max(needed, path.stat().st_size) > max_bytes:
        raise RecordingError(
            f"{path.name} and its {plural(expected.images, 'image')} take more than {limits().archive_mb:,} MB"
            " (archive_mb); pack and record fewer images at a time."
        )
    data = path.read_bytes()
    blob = context.engine.share(data, digest_of(data))
    try:
        return context.wait(context.engine.submit(job, blob, expected))
    except RecordingError as error:
        raise RecordingError(f"{path.name} {error}") from error


# ---- in a worker: the formats ---------------------------------------------------------------------------------------


def npz_job(blob: Any, expected: Expected) -> ToolOutputs:
    """The outputs in an .npz file, recognised by name or by ST Edge AI's numbers; runs in a worker.

    Raises RecordingError.
    """
    try:
        with open_zip(blob.read()) as archive:
            members = _members(archive)
            st = {name: match for name in members if (match := ST_OUTPUT.fullmatch(name))}
            if st:
                chosen = _numbered(st, expected)
                extra = [name for name in members if not ST_OTHER.fullmatch(name)]
            else:
                chosen = _named(members, expected)
                extra = [name for name in members if name not in chosen and name not in expected.input_names]
            read = {name: _read_member(archive, members[name], expected) for name in chosen}
            shapes = {name: _read_member(archive, members[name], expected).shape[1:] for name in extra}
            inner = inner_arrays(
                shapes,
                lambda name, facts: _read_member(archive, members[name], expected),
                expected.inner,
                expected.images,
            )
            if inner.ignored and not inner.arrays:
                raise RecordingError(
                    f"has the array {extra[0][:80]!r}, which is no output of the model and no tensor inside it."
                )
            remarks = _check_inputs(archive, members, expected)
    except DAMAGED as error:
        raise RecordingError("is not a complete .npz archive; copy it again.") from error
    return _converted(ST if st else NPZ, read, expected, inner, remarks)


def hub_job(blob: Any, expected: Expected) -> ToolOutputs:
    """The outputs in an .h5 file of Qualcomm AI Hub; runs in a worker. Raises RecordingError."""
    import h5py

    try:
        with h5py.File(io.BytesIO(blob.read()), "r") as file:
            groups = _hub_groups(h5py, file)

            def values(name: str, facts: TensorFacts) -> np.ndarray:
                return np.stack([_dataset(h5py, groups[name], n, facts) for n in _batches(groups[name], expected)])

            chosen = _named(groups, expected)
            read = {name: values(name, facts) for name, facts in zip(chosen, expected.outputs, strict=True)}
            shapes = {
                name: _hard(h5py, group, "batch_0", h5py.Dataset).shape
                for name, group in groups.items()
                if name not in chosen
            }
            inner = inner_arrays(shapes, values, expected.inner, expected.images)
    except RecordingError:
        raise
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        raise RecordingError(
            "is not a complete HDF5 file of Qualcomm AI Hub; download the job's output data again."
        ) from error
    return _converted(HUB, read, expected, inner)


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    rows = archive.infolist()
    names = [row.filename.removesuffix(".npy") for row in rows]
    if len(rows) > MAX_MEMBERS or any(not row.filename.endswith(".npy") for row in rows):
        raise RecordingError("holds files that are no arrays; numpy.savez writes what is expected.")
    if len(set(names)) < len(names):
        raise RecordingError("holds two arrays of the same name.")
    return dict(zip(names, rows, strict=True))


def _numbered(matches: Mapping[str, re.Match[str]], expected: Expected) -> list[str]:
    """The names of ST's arrays, in the order of the outputs. ST counts outputs from 1."""
    numbers = sorted((int(match[1] or 1), name) for name, match in matches.items())
    if [number for number, _ in numbers] != list(range(1, len(expected.outputs) + 1)):
        raise RecordingError(
            f"has {listed(sorted(matches))}; the model has {plural(len(expected.outputs), 'output')}:"
            f" {listed([f'c_outputs_{n + 1}' for n in range(len(expected.outputs))])} are expected."
        )
    return [name for _, name in numbers]


def _named(names: Iterable[str], expected: Expected) -> list[str]:
    """The name of each output's array in a file, in the model's order. Tools write _ for other characters in names."""
    present: dict[str, str] = {}
    for name in names:
        present.setdefault(plain(name), name)
    chosen: list[str] = []
    for candidates in expected.names:
        match = next((present[plain(one)] for one in candidates if plain(one) in present), None)
        if match is None:
            raise RecordingError(
                f"has no output {' or '.join(repr(one[:80]) for one in candidates)}; it has"
                f" {listed([one[:60] for one in sorted(present.values())[:6]]) or 'none'}."
            )
        chosen.append(match)
    if len(set(chosen)) < len(chosen):
        raise RecordingError(f"has one array, {chosen[0][:80]!r}, for two outputs of the model.")
    return chosen


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, expected: Expected) -> np.ndarray:
    """An array of the archive; it may have the size of the largest tensor for all images in float64.

    Raises RecordingError for a larger one.
    """
    inner = (row.facts for row in expected.inner)
    largest = max(map(byte_size, (*expected.outputs, expected.input, *inner)))
    max_bytes = min(8 * expected.images * largest + HEADER, limits().archive_mb << 20)
    with archive.open(info) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise RecordingError(f"has an array {info.filename[:80]!r} of more than {max_bytes:,} bytes.")
    try:
        values = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, TypeError, SyntaxError, MemoryError, RecursionError, KeyError) as error:
        raise RecordingError(f"has {info.filename[:80]!r}, which is not a complete array of numbers.") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        raise RecordingError(f"has {info.filename[:80]!r}, which is not an array of numbers.")
    return values


def _check_inputs(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], expected: Expected
) -> tuple[str, ...]:
    """Check that inputs in an archive, if it has any, are the packed ones. Returns remarks. Raises RecordingError."""
    name = next((name for name in expected.input_names if name in members), None)
    if name is None:
        return (NO_INPUTS,)
    values = _read_member(archive, members[name], expected)
    if values.dtype.name != expected.input.dtype:
        return (f"Its inputs are {values.dtype.name}, not {expected.input.dtype} as packed; they were not compared.",)
    rows = shaped(name, values, expected.input, expected.images)
    sha256 = [digest_of(array_bytes(row)) for row in rows]
    if sha256 == list(expected.inputs):
        return ()
    if sorted(sha256) == sorted(expected.inputs):
        raise RecordingError("has the packed images in another order; record them in the order of the manifest.")
    wrong = next(n for n, (one, other) in enumerate(zip(sha256, expected.inputs, strict=True)) if one != other)
    raise RecordingError(f"was recorded with other inputs than those packed, from image {wrong} on.")


def _hub_groups(h5py: Any, file: Any) -> dict[str, Any]:
    """Name of an output -> its group; links are not followed, because they may lead to other files."""
    data = _hard(h5py, file, "data", h5py.Group)
    groups: dict[str, Any] = {}
    for key in list(data)[:MAX_MEMBERS]:
        group = _hard(h5py, data, key, h5py.Group)
        groups[str(group.attrs["name"])] = group
    if len(groups) < len(data):
        raise RecordingError("names two outputs alike, or too many.")
    return groups


def _batches(group: Any, expected: Expected) -> range:
    count = int(group.attrs["batch_count"])
    if count != expected.images:
        were = "was" if expected.images == 1 else "were"
        raise RecordingError(f"has {plural(count, 'image')}, but {expected.images} {were} packed.")
    return range(count)


def _hard(h5py: Any, parent: Any, key: str, hint: type) -> Any:
    if not isinstance(parent.get(key, getlink=True), h5py.HardLink):
        raise RecordingError(f"has a link {key[:80]!r} to another place or file, which is not followed.")
    child = parent[key]
    if not isinstance(child, hint):
        raise RecordingError(f"does not have {key[:80]!r} where Qualcomm AI Hub writes it.")
    return child


def _dataset(h5py: Any, group: Any, number: int, facts: TensorFacts) -> np.ndarray:
    """One output of one image. Its size is checked before it is unpacked."""
    dataset = _hard(h5py, group, f"batch_{number}", h5py.Dataset)
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(n)[0] for n in range(properties.get_nfilters())}
    if dataset.external or dataset.is_virtual or not filters <= PLAIN_FILTERS:
        raise RecordingError("stores its arrays in other files or with filters that Qualcomm AI Hub does not use.")
    chunk = int(np.prod(dataset.chunks or (1,), dtype=object)) * dataset.dtype.itemsize
    if max(dataset.nbytes, chunk) > 8 * byte_size(facts):
        raise RecordingError(f"has {dataset.nbytes:,} bytes for one image of {facts.name[:80]!r}.")
    if dataset.dtype.kind not in "fiub":
        raise RecordingError(f"holds {str(dataset.dtype)[:40]} where numbers are expected.")
    return np.asarray(dataset[()])


# ---- folders of raw files -------------------------------------------------------------------------------------------


def _of_folder(folder: RecordingFolder, expected: Expected) -> ToolOutputs:
    """The outputs in a folder that qnn-net-run wrote, Result_0/NAME.raw and so on.

    Raw bytes need no parser, so they are not read in a worker.
    """
    results = [path.name for path in folder.path.glob("Result_*")]
    if len(results) != expected.images:
        raise RecordingError(
            f"{folder.path} has {plural(len(results), 'folder')} Result_N, but {plural(expected.images, 'image')}"
            f" {'was' if expected.images == 1 else 'were'} packed."
        )
    rows: list[list[np.ndarray]] = [[] for _ in expected.outputs]
    others: dict[str, list[str]] = {}
    for number in range(expected.images):
        names = [path.name for path in (folder.path / f"Result_{number}").glob("*.raw")]
        files = {name.removesuffix(".raw").removesuffix("_native"): name for name in names}
        try:
            chosen = _named(files, expected)
        except RecordingError as error:
            raise RecordingError(f"{folder.path / f'Result_{number}'} {error}") from error
        for position, (name, facts) in enumerate(zip(chosen, expected.outputs, strict=True)):
            rows[position].append(_raw(folder, f"Result_{number}/{files[name]}", facts))
        for name in sorted(files.keys() - set(chosen)):
            others.setdefault(name, []).append(f"Result_{number}/{files[name]}")
    read = {str(position): np.stack(arrays) for position, arrays in enumerate(rows)}
    inner = inner_arrays(
        dict.fromkeys(others),
        lambda name, facts: np.stack([_raw(folder, path, facts) for path in others[name]]),
        expected.inner,
        expected.images,
    )
    return _converted(RAW, read, expected, inner, (NO_INPUTS,))


def _raw(folder: RecordingFolder, name: str, facts: TensorFacts) -> np.ndarray:
    if -1 in facts.shape:
        raise RecordingError(f"{name} has no shape, and output {facts.name[:80]!r} has no fixed one; record an .npz.")
    size = byte_size(facts)
    count = size // np.dtype(facts.dtype).itemsize
    data = folder.read(name, 4 * count + size)
    dtype = {size: np.dtype(facts.dtype), 4 * count: np.dtype(np.float32)}.get(len(data))
    if dtype is None:
        raise RecordingError(f"{name} has {len(data)} bytes; {size} or {4 * count} are expected.")
    return np.frombuffer(data, dtype).reshape(facts.shape[1:] if facts.shape[:1] == (1,) else facts.shape)


# ---- types and shapes -----------------------------------------------------------------------------------------------


def _converted(
    tool: str,
    read: Mapping[str, np.ndarray],
    expected: Expected,
    inner: InnerArrays,
    remarks: tuple[str, ...] = (NO_INPUTS,),
) -> ToolOutputs:
    arrays = []
    for (name, values), facts in zip(read.items(), expected.outputs, strict=True):
        converted, remark = typed(name, values, facts)
        arrays.append(shaped(name, converted, facts, expected.images))
        remarks = (*remarks, remark) if remark else remarks
    return ToolOutputs(tool, tuple(arrays), (*remarks, *inner.remarks), inner)
