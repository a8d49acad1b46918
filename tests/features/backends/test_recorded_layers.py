"""Tensors that a device recorded are compared with FP32's and with those of the kernels here, or are refused."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import RecordingError, SettingsError
from qviz.features.backends.device import device_pack, device_read, device_run
from qviz.features.backends.inner import InnerTensor, inner_tensors
from qviz.features.backends.noise import noise_budget
from qviz.features.backends.recorded_layers import RecordedLayers, recorded_layers
from qviz.features.backends.text import recorded_sentence
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import layers
from qviz.structures import EncodedImage
from qviz.structures.graph import Graph
from qviz.tflite.schema import read_graph
from tests.cli.conftest import Run, run
from tests.conftest import Sample
from tests.features.backends.test_tool_outputs import write_hub

__all__ = ["run"]
NAMES = ("hens.jpg", "berlin_street.jpg")
Models = dict[str, LoadedModel]
CALL = "interpreter = module.Interpreter("


@pytest.fixture(scope="module")
def context(engine: LocalEngine) -> Context:
    return Context(engine)


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return [EncodedImage(name, (sample.images / name).read_bytes()) for name in NAMES]


@pytest.fixture(scope="module")
def folder(
    loaded: Models, context: Context, images: list[EncodedImage], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A packed folder with all inner tensors, recorded by its runner on the reference kernels: another device."""
    folder = tmp_path_factory.mktemp("layers") / "folder"
    device_pack(context, loaded["int8"], images[:1], folder, inner="all")
    runner = folder / "run_on_device.py"
    text = runner.read_text()
    assert text.count(CALL) == 1
    kernels = f"{CALL}experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF, "
    other = folder.parent / "folder" / "other.py"
    other.write_text(text.replace(CALL, kernels))
    done = subprocess.run(
        [sys.executable, "-I", str(other), "--name", "phone"], check=True, capture_output=True, text=True
    )
    assert "Recorded 157 of 157 inner tensors." in done.stdout
    other.unlink()
    return folder


@pytest.fixture(scope="module")
def recording(folder: Path, context: Context) -> bytes:
    path = folder.parent / "phone.zip"
    result = device_read(context, folder, tensors=path)
    assert not result.skipped
    return path.read_bytes()


@pytest.fixture(scope="module")
def full(recording: bytes, loaded: Models, context: Context, images: list[EncodedImage]) -> RecordedLayers:
    return recorded_layers(context, loaded["float32"], loaded["int8"], images, recording, "phone.zip")


def test_figures_are_those_of_layers_and_of_the_noise_budget(
    full: RecordedLayers, loaded: Models, context: Context, images: list[EncodedImage]
) -> None:
    result = full
    assert (result.images, result.covered, result.operators) == (1, 157, 157)
    here = {row.order: row for row in layers(context, loaded["float32"], loaded["int8"], images[:1]).layers}
    rows = {row.order: row for row in result.layers}
    assert len(here.keys() & rows.keys()) > 100
    assert all(rows[order].here_sqnr_db == here[order].cumulative_sqnr_db for order in here.keys() & rows.keys())
    (noise,) = noise_budget(context, loaded["int8"], images[:1], kernels=["reference"]).sets
    for row in noise.layers:
        figures = rows[row.order]
        assert (figures.steps, figures.differing_share, figures.max_abs) == (
            row.steps,
            row.differing_share,
            pytest.approx(row.max_abs),
        )
    assert any(row.recorded_sqnr_db != row.here_sqnr_db for row in result.layers)
    text = recorded_sentence(result)
    assert text.startswith("The recording of phone (ai_edge_litert ")
    assert "covers 157 of 157 operators of ssdlite_mobilenet_v2_int8.tflite on 1 image." in text
    assert "Given the same inputs, no operator differs from the kernels here beyond rounding" in text
    lines = {line.name: list(line.y) for line in result.plot().data}
    assert lines["device against FP32"] == [row.recorded_sqnr_db for row in result.layers]
    assert lines["device against kernels here"] == [row.kernel_sqnr_db for row in result.layers]
    assert list(result.to_frame()["order"]) == [row.order for row in result.layers]


def test_a_recording_made_here_is_equal_bit_for_bit(
    loaded: Models, context: Context, images: list[EncodedImage], tmp_path: Path
) -> None:
    device_pack(context, loaded["int8"], images, tmp_path / "folder", inner="0-3")
    device_run(context, tmp_path / "folder")
    device_read(context, tmp_path / "folder", tensors=tmp_path / "here.zip")
    data = (tmp_path / "here.zip").read_bytes()
    result = recorded_layers(context, loaded["float32"], loaded["int8"], images[1:], data, "here.zip")
    assert [row.order for row in result.layers] == [0, 1, 2, 3]
    assert result.kernels.equal and "bit for bit equal" in recorded_sentence(result)
    assert result.skipped == ("1 recorded image of here.zip is not given.",)
    remarks = device_read(context, tmp_path / "folder").skipped
    assert remarks == ("The recording has 4 inner tensors; --tensors FILE.zip writes them for qviz layers.",)


# ---- recordings of other tools --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrays:
    """Arrays of the device with one image along the first axis: outputs by signature, inner tensors by index."""

    outputs: dict[str, np.ndarray]
    inner: dict[int, np.ndarray]
    tensors: dict[int, InnerTensor]

    def named(self) -> dict[str, np.ndarray]:
        """Two tensors by name, one of them dequantized, one by its shape alone, and an array of no tensor."""
        first, second = (index for index in list(self.inner)[:2])
        facts = self.tensors[second].facts
        assert facts.scale is not None and facts.zero_point is not None
        real = (self.inner[second].astype(np.float32) - facts.zero_point) * np.float32(facts.scale)
        names = [self.tensors[index].facts.name.split(";")[0] for index in (first, second)]
        return {
            names[0].replace("/", "_"): self.inner[first],
            f"{names[1].replace('/', '_').replace('.', '_')}_output": real,
            "conv_with_another_name": self.inner[self.only_shape],
            "foreign": np.zeros((1, 5, 7), np.float32),
        }

    @property
    def only_shape(self) -> int:
        """A tensor whose shape no other one has."""
        shapes = [tuple(side for side in row.facts.shape if side > 1) for row in self.tensors.values()]
        return [index for index, shape in zip(self.tensors, shapes, strict=True) if shapes.count(shape) == 1][-1]


@pytest.fixture(scope="module")
def arrays(folder: Path, loaded: Models) -> Arrays:
    graph: Graph = loaded["int8"].inspection.graph
    tensors = {row.index: row for row in inner_tensors(graph)}
    names = [row["name"] for row in json.loads((folder / "manifest.json").read_text())["inner"]]
    by_name = {row.facts.name: index for index, row in tensors.items()}
    with np.load(folder / "inner/00000.npz") as archive:
        inner = {by_name[name]: archive[str(position)] for position, name in enumerate(names)}
    signature = {index: name for name, index in graph.signature.items()}
    outputs = {signature[index]: np.load(folder / f"outputs/00000-{k}.npy") for k, index in enumerate(graph.outputs)}
    return Arrays(outputs, inner, tensors)


def write_npz(path: Path, values: dict[str, np.ndarray]) -> Path:
    np.savez(path, **values)  # type: ignore[arg-type]
    return path


def write_raw(folder: Path, values: dict[str, np.ndarray]) -> Path:
    (folder / "Result_0").mkdir(parents=True)
    for name, array in values.items():
        (folder / "Result_0" / f"{name}.raw").write_bytes(array.tobytes())
    return folder


TOOLS: dict[str, tuple[Callable[[Path, dict[str, np.ndarray]], Path], str]] = {
    "npz": (write_npz, "board.npz"),
    "hub": (write_hub, "board.h5"),
    "raw": (write_raw, "output"),  # raw files have no shapes
}


@pytest.mark.parametrize("tool", TOOLS)
def test_inner_tensors_of_other_tools_are_recognised(
    tool: str,
    arrays: Arrays,
    full: RecordedLayers,
    folder: Path,
    loaded: Models,
    context: Context,
    images: list[EncodedImage],
    tmp_path: Path,
) -> None:
    write, name = TOOLS[tool]
    named = arrays.named()
    path = write(tmp_path / name, arrays.outputs | named)
    read = device_read(context, folder, outputs=path, tensors=tmp_path / "board.zip")
    ignored = ["foreign"] if tool != "raw" else ["conv_with_another_name", "foreign"]
    assert any(all(one in sentence for one in ignored) and "ignored" in sentence for sentence in read.skipped)
    data = (tmp_path / "board.zip").read_bytes()
    result = recorded_layers(context, loaded["float32"], loaded["int8"], images, data, "board.zip")
    assert result.ignored == tuple(sorted(ignored)) and result.covered == 4 - len(ignored)
    by_shape = [row for row in result.layers if row.matched_by == "shape"]
    assert len(by_shape) == (tool != "raw")
    assert ("1 tensor recognised by shape alone." in recorded_sentence(result)) == (tool != "raw")
    whole = {row.order: row for row in full.layers}
    for row in result.layers:  # the second one was dequantized, and is on its steps again
        other = whole[row.order]
        assert (row.steps, row.differing_share) == (other.steps, other.differing_share)
        assert row.recorded_sqnr_db == pytest.approx(other.recorded_sqnr_db)


# ---- what is refused ------------------------------------------------------------------------------------------------


def rewritten(recording: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The file with other members."""
    with zipfile.ZipFile(io.BytesIO(recording)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def npy(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def document(change: Callable[[dict], None]) -> Callable[[dict[str, bytes]], None]:  # type: ignore[type-arg]
    def edit(members: dict[str, bytes]) -> None:
        content = json.loads(members["recording.json"])
        change(content)
        members["recording.json"] = json.dumps(content).encode()

    return edit


def first_array(values: np.ndarray) -> Callable[[dict[str, bytes]], None]:
    def edit(members: dict[str, bytes]) -> None:
        members[min(name for name in members if name.endswith(".npy"))] = npy(values)

    return edit


CASES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "no document": (lambda m: m.pop("recording.json") and None, "has no recording.json"),
    "other model": (document(lambda d: d.update(model_sha256="0" * 64)), "was recorded with"),
    "other inputs": (document(lambda d: d["images"][0].update(input_sha256="0" * 64)), "was another image when"),
    "other images": (document(lambda d: d["images"][0].update(name="x.jpg")), "has no recording of these images"),
    "other format": (document(lambda d: d.update(format=9)), "its format is 9"),
    "foreign tensor": (document(lambda d: d["tensors"][0].update(name="x")), "that the model does not have"),
    "missing array": (lambda m: m.pop(max(m, key=lambda name: name[0] == "0")) and None, "lacks a tensor of image 0"),
    "other shape": (first_array(np.zeros((1, 2, 3), np.int8)), "has the shape [1, 2, 3]"),
    "other type": (first_array(np.zeros((1, 2, 3), np.int64)), "holds int64"),
    "pickle": (first_array(np.array([{"a": 1}], object)), "is not a complete .npy array of numbers"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_tensors_that_does_not_fit_is_refused(
    case: str, recording: bytes, loaded: Models, context: Context, images: list[EncodedImage]
) -> None:
    change, sentence = CASES[case]
    data = rewritten(recording, change)
    with pytest.raises(RecordingError) as refusal:
        recorded_layers(context, loaded["float32"], loaded["int8"], images[:1], data, "phone.zip")
    assert str(refusal.value).startswith("phone.zip ") and sentence in str(refusal.value)


def test_damage_in_the_folder_is_refused(folder: Path, context: Context, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "inner/00000.npz"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(RecordingError, match="has changed since it was recorded"):
        device_read(context, copy, tensors=tmp_path / "phone.zip")
    path.unlink()
    with pytest.raises(RecordingError, match=r"has no file inner/00000\.npz"):
        device_read(context, copy, tensors=tmp_path / "phone.zip")
    assert not (tmp_path / "phone.zip").exists() and not (tmp_path / "phone.zip.part").exists()


def test_a_selection_names_tensors(loaded: Models) -> None:
    from qviz.features.backends.inner import selected

    graph = loaded["int8"].inspection.graph
    assert [facts.name for facts in selected(graph, "1-2")] == [
        graph.tensors[graph.ops[order].outputs[0]].name for order in (1, 2)
    ]
    assert all("BoxPredictor" in facts.name for facts in selected(graph, "BoxPredictor_[01]"))
    assert selected(graph, "") == ()
    for selection, sentence in (("nowhere", "selects no tensor"), ("(", "is not a regular expression")):
        with pytest.raises(SettingsError, match=sentence):
            selected(graph, selection)


def test_on_the_command_line(run: Run, sample: Sample, folder: Path, recording: bytes, tmp_path: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    path = tmp_path / "phone.zip"
    assert run("device", "read", folder, "-o", tmp_path / "phone.json", "--tensors", path, "--workers", "1").status == 0
    call = ("layers", *models, "--images", sample.images / "hens.jpg", "--recording", path, "--workers", "1")
    result = run(*call, "--json")
    assert result.status == 0
    row = result.json["recording"]
    assert (row["covered"], row["operators"], row["device"]["name"]) == (157, 157, "phone")
    assert {"order", "recorded_sqnr_db", "here_sqnr_db", "kernel_sqnr_db", "matched_by"} <= row["layers"][0].keys()
    path.write_bytes(recording[:-60])
    refused = run(*call)
    assert (refused.status, refused.err) == (
        2,
        "qviz: phone.zip is not a complete archive of recorded tensors; copy it again.\n",
    )


def test_unpacked_weights_are_not_recorded(sample: Sample) -> None:
    """XNNPACK does not compute them: a recording would hold what was in that memory before."""
    graph = read_graph(sample.models["float16"].read_bytes())
    recorded = {graph.ops[row.order].kind for row in inner_tensors(graph)}
    assert "CONV_2D" in recorded and "DEQUANTIZE" not in recorded
