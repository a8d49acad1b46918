"""Outputs of other tools are read as recordings exactly, and refused in a sentence where they do not fit."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import RecordingError
from qviz.features.backends.device import DeviceResults, device_pack, device_read, device_run
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from qviz.tflite.schema import read_graph
from tests.cli.conftest import Run, run
from tests.conftest import Sample

__all__ = ["run"]
NAMES = ("hens.jpg", "berlin_street.jpg")


@dataclass(frozen=True)
class Recorded:
    """A packed folder that was run here, its arrays with all images along the first axis, and what they decode to."""

    folder: Path
    outputs: list[np.ndarray]
    inputs: np.ndarray
    signature: list[str]
    results: DeviceResults

    @property
    def by_name(self) -> dict[str, np.ndarray]:
        return dict(zip(self.signature, self.outputs, strict=True))


@pytest.fixture(scope="module")
def context(engine: LocalEngine) -> Context:
    return Context(engine)


@pytest.fixture(scope="module")
def recorded(
    sample: Sample, loaded: dict[str, LoadedModel], context: Context, tmp_path_factory: pytest.TempPathFactory
) -> Recorded:
    folder = tmp_path_factory.mktemp("tools") / "folder"
    images = [EncodedImage(name, (sample.images / name).read_bytes()) for name in NAMES]
    device_pack(context, loaded["int8"], images, folder)
    device_run(context, folder)
    graph = read_graph((folder / "model.tflite").read_bytes())
    names = {index: name for name, index in graph.signature.items()}
    outputs = [
        np.concatenate([np.load(folder / f"outputs/{n:05d}-{k}.npy") for n in range(2)])
        for k in range(len(graph.outputs))
    ]
    inputs = np.concatenate([np.load(folder / f"inputs/{n:05d}.npy") for n in range(2)])
    signature = [names[index] for index in graph.outputs]
    return Recorded(folder, outputs, inputs, signature, device_read(context, folder))


def savez(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def st_arrays(recorded: Recorded) -> dict[str, np.ndarray]:
    """As ST writes them: padded to four axes, with the original model's outputs beside them."""
    four = [values.reshape(2, *([1] * (4 - values.ndim)), *values.shape[1:]) for values in recorded.outputs]
    return {
        "m_inputs_1": recorded.inputs,
        **{f"c_outputs_{k + 1}": values for k, values in enumerate(four)},
        **{f"m_outputs_{k + 1}": values.astype(np.float64) + 1 for k, values in enumerate(recorded.outputs)},
    }


def write_hub(path: Path, arrays: dict[str, np.ndarray], **attributes: Any) -> Path:
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        for k, (name, values) in enumerate(arrays.items()):
            for n, row in enumerate(values):
                file.create_dataset(f"data/{k}/batch_{n}", data=row[None], compression="gzip")
            file[f"data/{k}"].attrs.update({"order": k, "name": name, "batch_count": len(values), **attributes})
    return path


def write_raw(folder: Path, recorded: Recorded) -> Path:
    for n in range(2):
        (folder / f"Result_{n}").mkdir(parents=True)
        for name, values in recorded.by_name.items():
            (folder / f"Result_{n}" / f"{name}.raw").write_bytes(values[n].astype(np.float32).tobytes())
    return folder


WRITERS: dict[str, Callable[[Recorded, Path], Path]] = {
    "NumPy archive": lambda r, p: savez(p / "phone.npz", **r.by_name),
    "ST Edge AI": lambda r, p: savez(p / "network_val_io.npz", **st_arrays(r)),
    "Qualcomm AI Hub": lambda r, p: write_hub(p / "dataset.h5", r.by_name),
    "Qualcomm runner": lambda r, p: write_raw(p / "output", r),
}


@pytest.mark.parametrize("tool", WRITERS)
def test_each_format_gives_the_same_results_as_the_runner(
    tool: str, recorded: Recorded, context: Context, tmp_path: Path
) -> None:
    result = device_read(context, recorded.folder, outputs=WRITERS[tool](recorded, tmp_path))
    assert result.results == recorded.results.results
    assert len(result.results) > 10
    assert result.device.runtime == tool
    assert result.model.ran_sha256 == "" and result.images[0].ms is None
    assert ("the order of its images could not be checked" in " ".join(result.skipped)) == (tool != "ST Edge AI")


def test_floats_are_rounded_to_the_steps_of_an_integer_output() -> None:
    from qviz.features.backends.recording import TensorFacts
    from qviz.features.backends.tool_arrays import typed

    facts = TensorFacts("scores", (1, 3), "int8", 0.5, -128)
    values, remark = typed("scores", np.array([[0.0, 0.5, 1000.0]], np.float32), facts)
    assert values.dtype == np.int8 and values.tolist() == [[-128, -127, 127]]
    assert remark == "scores was float32 and is rounded to the steps of int8."
    with pytest.raises(RecordingError, match="holds int32 in 'scores'; output 'scores' is int8"):
        typed("scores", np.zeros((1, 3), np.int32), facts)


def bomb(path: Path, recorded: Recorded) -> Path:
    """Two gigabytes of zeros in two megabytes, under the name of an output."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2, 1 << 30)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in list(recorded.by_name.items())[1:]:
            archive.writestr(f"{name}.npy", as_npy(values))
        with archive.open(f"{recorded.signature[0]}.npy", "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(64):
                stream.write(bytes(1 << 20))
    return path


def as_npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def members(path: Path, entries: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return path


def npz(path: Path, recorded: Recorded, **changes: np.ndarray) -> Path:
    return savez(path, **{**recorded.by_name, **changes})


def without(recorded: Recorded, position: int) -> dict[str, np.ndarray]:
    return {name: values for k, (name, values) in enumerate(recorded.by_name.items()) if k != position}


def first(recorded: Recorded, values: Any) -> dict[str, np.ndarray]:
    return {recorded.signature[0]: values}


def pickled(path: Path, recorded: Recorded) -> Path:
    rows = [(f"{name}.npy", as_npy(values)) for name, values in recorded.by_name.items()]
    rows[0] = (rows[0][0], as_npy(np.array([{"a": 1}, None], object)))
    return members(path, rows)


def twice(path: Path, recorded: Recorded) -> Path:
    with pytest.warns(UserWarning, match="Duplicate name"):
        return members(path, [("a.npy", as_npy(recorded.outputs[0]))] * 2)


CASES: list[tuple[str, Callable[[Path, Recorded], Path], str]] = [
    ("truncated", lambda p, r: cut(npz(p, r)), "is not a complete .npz archive"),
    ("foreign", lambda p, r: savez(p, other=r.outputs[0]), "has no output "),
    ("extra", lambda p, r: npz(p, r, masks=r.outputs[0]), "has the array 'masks', which is no output of the model"),
    ("missing", lambda p, r: savez(p, **without(r, 1)), "has no output "),
    ("fewer images", lambda p, r: npz(p, r, **first(r, r.outputs[0][:1])), "has 1 image in "),
    (
        "other shape",
        lambda p, r: npz(p, r, **first(r, np.zeros((2, 3, 4), np.float32))),
        "has the shape [3, 4] for each",
    ),
    ("other type", lambda p, r: npz(p, r, **first(r, r.outputs[0].astype(np.int64))), "holds int64 in "),
    ("nan", lambda p, r: npz(p, r, **first(r, r.outputs[0] * np.nan)), "holds NaN or infinite values"),
    ("reordered", lambda p, r: savez(p, **st_arrays(r) | {"m_inputs_1": r.inputs[::-1]}), "in another order"),
    ("other inputs", lambda p, r: savez(p, **st_arrays(r) | {"m_inputs_1": r.inputs + 1}), "other inputs than those"),
    ("fewer of ST", lambda p, r: savez(p, c_outputs_1=r.outputs[0]), "c_outputs_2"),
    ("pickle", pickled, "which is not a complete array of numbers"),
    ("pickle file", lambda p, r: write(p, pickle.dumps([1])), "is not a complete .npz archive"),
    ("same name", twice, "holds two arrays of the same name"),
    ("no array", lambda p, r: members(p, [("../../evil.sh", b"x")]), "holds files that are no arrays"),
    ("bomb", bomb, "of more than "),
]


def cut(path: Path) -> Path:
    return write(path, path.read_bytes()[:-60])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("damage", "sentence"), [row[1:] for row in CASES], ids=[row[0] for row in CASES])
def test_an_archive_that_does_not_fit_is_refused(
    damage: Callable[[Path, Recorded], Path], sentence: str, recorded: Recorded, context: Context, tmp_path: Path
) -> None:
    path = damage(tmp_path / "phone.npz", recorded)
    with pytest.raises(RecordingError) as refusal:
        device_read(context, recorded.folder, outputs=path)
    assert str(refusal.value).startswith("phone.npz ")
    assert sentence in str(refusal.value)


def test_a_file_of_ai_hub_that_does_not_fit_is_refused(recorded: Recorded, context: Context, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "dataset.h5"

    def refusal() -> str:
        with pytest.raises(RecordingError) as error:
            device_read(context, recorded.folder, outputs=path)
        return str(error.value)

    cut(write_hub(path, recorded.by_name))
    assert "is not a complete HDF5 file of Qualcomm AI Hub" in refusal()
    write_hub(path, {name: values[:1] for name, values in recorded.by_name.items()})
    assert refusal() == "dataset.h5 has 1 image, but 2 were packed."
    write_hub(path, recorded.by_name, name="other")
    assert "names two outputs alike" in refusal()
    write_hub(path, recorded.by_name, batch_count=2**40)
    assert "but 2 were packed" in refusal()
    write_hub(path, recorded.by_name)
    for name, link in (("link", h5py.ExternalLink("/etc/passwd", "/x")), ("soft", h5py.SoftLink("/data/1/batch_0"))):
        with h5py.File(path, "a") as file:
            del file["data/0/batch_0"]
            file["data/0/batch_0"] = link
        assert "has a link 'batch_0' to another place or file" in refusal(), name
    with h5py.File(path, "a") as file:
        del file["data/0/batch_0"]
        (tmp_path / "secret").write_bytes(bytes(4096))
        shape, external = recorded.outputs[0][:1].shape, [(str(tmp_path / "secret"), 0, 4096)]
        file.create_dataset("data/0/batch_0", shape, "f4", external=external)
    assert "stores its arrays in other files" in refusal()
    with h5py.File(path, "a") as file:
        del file["data/0/batch_0"]
        file.create_dataset("data/0/batch_0", (1 << 30,), "f4", compression="gzip", fillvalue=0)
    assert "bytes for one image of" in refusal()


def test_raw_files_that_do_not_fit_are_refused(recorded: Recorded, context: Context, tmp_path: Path) -> None:
    folder = write_raw(tmp_path / "output", recorded)
    path = folder / "Result_1" / f"{recorded.signature[0]}.raw"
    data = path.read_bytes()
    path.write_bytes(data[:-4])
    with pytest.raises(RecordingError, match=f"has {len(data) - 4} bytes"):
        device_read(context, recorded.folder, outputs=folder)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(RecordingError, match="is a link that leads out of"):
        device_read(context, recorded.folder, outputs=folder)
    shutil.rmtree(folder / "Result_1")
    with pytest.raises(RecordingError, match="has 1 folder Result_N, but 2 images were packed"):
        device_read(context, recorded.folder, outputs=folder)
    with pytest.raises(RecordingError, match=r"has no outputs to read: it is no \.npz or \.h5 file"):
        device_read(context, recorded.folder, outputs=tmp_path / "none.bin")


def test_on_the_command_line(run: Run, recorded: Recorded, tmp_path: Path) -> None:
    path = savez(tmp_path / "phone.npz", **recorded.by_name)
    call = ("device", "read", recorded.folder, "--outputs", path, "-o", tmp_path / "phone.json", "--workers", "1")
    read = run(*call, "--json")
    assert read.status == 0
    assert json.loads((tmp_path / "phone.json").read_text())["device"]["name"] == "phone.npz"
    cut(path)
    refused = run(*call)
    assert (refused.status, refused.err.startswith("qviz: phone.npz is not a complete .npz archive")) == (2, True)
