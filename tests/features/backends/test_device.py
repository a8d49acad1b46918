"""Device recordings: pack, run and read equal a direct run exactly; whatever else comes back is refused."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import ImageError, InputError, ModelError, RecordingError
from qviz.features.backends.device import device_pack, device_read, device_run
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.structures import digest_of
from tests.cli.conftest import Run, run
from tests.conftest import ROOT, Sample

__all__ = ["run"]
NAMES = ("astronaut.jpg", "berlin_street.jpg", "hens.jpg")


@pytest.fixture(scope="module")
def recorded(sample: Sample, engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that was packed, and run on this machine."""
    folder = tmp_path_factory.mktemp("device") / "folder"
    images = [sample.images / name for name in NAMES]
    with Session(sample.models["int8"], images=images, engine=engine, cache=False) as session:
        session.device_pack(folder)
        device_run(session.context, folder)
    return folder


@pytest.fixture
def folder(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(recorded, tmp_path / "copy"))


@pytest.fixture
def context(engine: LocalEngine) -> Iterator[Context]:
    yield Context(engine)


def test_results_equal_a_direct_run_exactly(
    recorded: Path, context: Context, sample: Sample, engine: LocalEngine, tmp_path: Path
) -> None:
    results = device_read(context, recorded).save(tmp_path / "phone.json")
    images = [sample.images / name for name in NAMES]
    with Session(sample.models["int8"], results, images=images, engine=engine, cache=False) as session:
        detected = session.detect(score=0.001)
        direct, read = (detected[model.name] for model in session.models)
        for name in NAMES:
            assert len(direct[name]) > 3
            for part in ("boxes", "scores", "class_ids"):
                assert np.array_equal(getattr(direct[name], part), getattr(read[name], part)), (name, part)
        assert session.compare().variants[0].summary.agreement == 1
    document = json.loads(results.read_text())
    assert document["model"]["name"] == sample.models["int8"].name
    assert set(document["device"]) == {"name", "runtime", "version", "delegate"}
    assert [row["image"] for row in document["images"]] == list(NAMES)


def test_the_runner_alone_writes_the_same_outputs(folder: Path, recorded: Path, context: Context) -> None:
    shutil.rmtree(folder / "outputs")
    (folder / "recording.json").unlink()
    with pytest.raises(RecordingError, match=r"has no file recording\.json: start run_on_device\.py on the device"):
        device_read(context, folder)
    # -I: nothing of this repository can be imported by it
    command = [sys.executable, "-I", str(folder / "run_on_device.py"), "--name", "a phone"]
    subprocess.run(command, check=True, capture_output=True, cwd="/")
    for path in (recorded / "outputs").iterdir():
        assert (folder / "outputs" / path.name).read_bytes() == path.read_bytes()
    assert device_read(context, folder).device.name == "a phone"


def test_the_runner_parses_as_python_3_7(recorded: Path) -> None:
    import ast

    ast.parse((recorded / "run_on_device.py").read_text(), feature_version=(3, 7))


def test_code_in_the_folder_is_never_executed(folder: Path, context: Context, tmp_path: Path) -> None:
    for name in ("run_on_device.py", "numpy.py", "sitecustomize.py", "conftest.py"):
        (folder / name).write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    device_run(context, folder)
    device_read(context, folder)
    assert not (tmp_path / "executed").exists()


# ---- what is refused -----------------------------------------------------------------------------------------------


def change(folder: Path, name: str, edit: Callable[[dict], None]) -> None:  # type: ignore[type-arg]
    document = json.loads((folder / name).read_text())
    edit(document)
    (folder / name).write_text(json.dumps(document))


def replace_output(folder: Path, data: bytes) -> None:
    """Another file in the place of the second output of the first image, with its right hash."""
    (folder / "outputs/00000-1.npy").write_bytes(data)
    change(folder, "recording.json", lambda d: d["images"][0]["outputs"][1].update(sha256=digest_of(data)))


def npy(values: np.ndarray, folder: Path) -> bytes:
    path = folder.parent / "array.npy"
    np.save(path, values, allow_pickle=True)
    return path.read_bytes()


def truncated_array(folder: Path) -> None:
    replace_output(folder, (folder / "outputs/00000-1.npy").read_bytes()[:-40])


def changed_array(folder: Path) -> None:
    path = folder / "outputs/00000-1.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")


def missing_array(folder: Path) -> None:
    (folder / "outputs/00001-2.npy").unlink()


def extra_array(folder: Path) -> None:
    shutil.copy(folder / "outputs/00000-1.npy", folder / "outputs/00099-1.npy")


def other_shape(folder: Path) -> None:
    replace_output(folder, npy(np.zeros((1, 24, 4), np.float32), folder))


def other_dtype(folder: Path) -> None:
    replace_output(folder, npy(np.zeros((1, 25, 4), np.int8), folder))


def not_finite(folder: Path) -> None:
    replace_output(folder, npy(np.full((1, 25, 4), np.nan, np.float32), folder))


class Hostile:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("open('/tmp/qviz_was_unpickled', 'w')",)


def pickled_npy(folder: Path) -> None:
    values = np.empty(1, object)
    values[0] = Hostile()
    replace_output(folder, npy(values, folder))


def plain_pickle(folder: Path) -> None:
    replace_output(folder, pickle.dumps(Hostile()))


def too_large(folder: Path) -> None:
    replace_output(folder, npy(np.zeros((100, 25, 4), np.float32), folder))


def reordered(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"].reverse())


def swapped_names(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"][0]["outputs"].reverse())


def fewer_images(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"].pop())


def more_images(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"].append(d["images"][0]))


def fewer_outputs(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"][1]["outputs"].pop())


def foreign(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d.update(manifest_sha256="0" * 64))


def other_model(folder: Path) -> None:
    with (folder / "model.tflite").open("ab") as file:
        file.write(b"0")


def path_outside(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"][0]["outputs"][0].update(file="../../etc/passwd"))


def link_outside(folder: Path) -> None:
    (folder / "outputs/00000-1.npy").unlink()
    (folder / "outputs/00000-1.npy").symlink_to("/etc/passwd")


def cut_document(folder: Path) -> None:
    path = folder / "recording.json"
    path.write_bytes(path.read_bytes()[:-20])


def later_format(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d.update(format=2))


def not_a_number(folder: Path) -> None:
    change(folder, "recording.json", lambda d: d["images"][0].update(milliseconds="soon"))


CORRUPTIONS = [
    (truncated_array, "00000-1.npy is not a complete .npy array"),
    (changed_array, "00000-1.npy has changed since it was recorded"),
    (missing_array, "has no file outputs/00001-2.npy; copy the whole folder"),
    (extra_array, "outputs/00099-1.npy is not part of the recording"),
    (other_shape, "has the shape [1, 24, 4]; the model gives [1, 25, 4]"),
    (other_dtype, "holds int8; output 'StatefulPartitionedCall_1:0' of the model is float32"),
    (not_finite, "holds NaN or infinite values"),
    (pickled_npy, "is not a complete .npy array of numbers"),
    (plain_pickle, "is not a complete .npy array of numbers"),
    (too_large, "outputs/00000-1.npy has 40128 bytes; at most 4496 are expected"),
    (reordered, "has hens.jpg as image 0, where astronaut.jpg was packed; its images are in another order"),
    (swapped_names, "names the file 'outputs/00000-3.npy'; outputs/00000-0.npy is expected"),
    (fewer_images, "has 2 images, but 3 were packed"),
    (more_images, "has 4 images, but 3 were packed"),
    (fewer_outputs, "has 3 outputs of berlin_street.jpg; the model has 4"),
    (foreign, "was made with another manifest"),
    (other_model, "model.tflite is not the model that was packed"),
    (path_outside, "names the file '../../etc/passwd'; outputs/00000-0.npy is expected"),
    (link_outside, "is a link that leads out of"),
    (cut_document, "recording.json is not complete JSON"),
    (later_format, "recording.json cannot be used: its format is 2; 1 is expected"),
    (not_a_number, "is 'soon'; a number is expected"),
]


@pytest.mark.parametrize(("damage", "sentence"), CORRUPTIONS, ids=[row[0].__name__ for row in CORRUPTIONS])
def test_a_damaged_recording_is_refused(
    damage: Callable[[Path], None], sentence: str, folder: Path, context: Context
) -> None:
    damage(folder)
    with pytest.raises(RecordingError) as refusal:
        device_read(context, folder)
    assert sentence in str(refusal.value)
    assert not Path("/tmp/qviz_was_unpickled").exists()


def test_random_damage_is_refused_or_harmless(folder: Path, context: Context) -> None:
    """A few bytes of a document changed: a QvizError, or the same results."""
    rng = random.Random(0)
    for name in ("manifest.json", "recording.json"):
        original = (folder / name).read_bytes()
        for _ in range(60):
            data = bytearray(original)
            for _ in range(rng.randint(1, 4)):
                position = rng.randrange(len(data))
                data[position : position + rng.randint(0, 3)] = rng.choice([b"", b"-1", b"null", b"{", b"9" * 30, b'"'])
            (folder / name).write_bytes(bytes(data))
            try:
                device_read(context, folder)
            except InputError as error:
                assert len(str(error)) < 700
        (folder / name).write_bytes(original)


def test_inputs_that_changed_are_not_run(folder: Path, context: Context) -> None:
    path = folder / "inputs/00000.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RecordingError, match="is not the input that was packed"):
        device_run(context, folder)


def test_what_cannot_be_packed(
    loaded: dict[str, LoadedModel], context: Context, sample: Sample, tmp_path: Path
) -> None:
    from qviz.datasets.files import ImageFiles
    from qviz.structures import EncodedImage

    image = (sample.images / NAMES[0]).read_bytes()
    twice = [EncodedImage("a.jpg", image), EncodedImage("a.jpg", image)]
    with pytest.raises(ImageError, match=r"2 images are called a\.jpg"):
        device_pack(context, loaded["int8"], twice, tmp_path / "twice")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(RecordingError, match="is not empty"):
        device_pack(context, loaded["int8"], ImageFiles.of([sample.images / NAMES[0]]), tmp_path / "full")
    results = tmp_path / "results.json"
    results.write_text('{"images": [{"image": "astronaut.jpg"}], "results": []}')
    with (
        pytest.raises(ModelError, match=r"is not a \.tflite file"),
        Session(results, images=[sample.images / NAMES[0]], engine=context.engine, cache=False) as session,
    ):
        session.device_pack(tmp_path / "new")


def test_an_image_without_objects_was_run_all_the_same(recorded: Path, context: Context, tmp_path: Path) -> None:
    """At a confidence that nothing reaches, the results are empty; they still belong to these images."""
    result = device_read(context, recorded, score=1.0)
    assert result.results == ()
    path, image = result.save(tmp_path / "phone.json"), ROOT / "sample_data/images" / NAMES[0]
    with Session(path, images=[image], engine=context.engine, cache=False) as session:
        assert [len(row.objects) for row in session.detect().images] == [0]
        assert session.models_for(session.images_of())[0].inspection.remark == ""


def test_on_the_command_line(run: Run, sample: Sample, tmp_path: Path) -> None:
    folder, results = tmp_path / "folder", tmp_path / "phone.json"
    image = ("--images", sample.images / NAMES[0])
    packed = run("device", "pack", sample.models["int8"], *image, "-o", folder, "--json", "--workers", "1")
    assert (packed.status, packed.json["images"]) == (0, 1)
    assert run("device", "run", folder, "--workers", "1").status == 0
    read = run("device", "read", folder, "-o", results, "--json", "--workers", "1")
    assert read.status == 0
    assert json.loads(results.read_text()) == read.json
    foreign(folder)
    refused = run("device", "read", folder, "-o", results, "--workers", "1")
    assert (refused.status, refused.out) == (2, "")
    assert refused.err.startswith("qviz: recording.json was made with another manifest")
    compared = run("compare", sample.models["int8"], results, *image, "--json", "--workers", "1")
    assert compared.json["variants"][0]["summary"]["agreement"] == 1


def test_results_are_documented_and_short(recorded: Path) -> None:
    result = qviz.device_read(recorded, workers=1)
    assert len(repr(result)) <= 500
    assert list(result.to_frame().columns) == ["file_name", "label", "score"]
    assert "astronaut.jpg" in result._repr_html_()
