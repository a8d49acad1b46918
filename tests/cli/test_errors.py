"""Bad input: exit status 2, one sentence that says what to do, no traceback, nothing on standard output."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from qviz.cli import COMMANDS
from tests.cli.conftest import Run
from tests.conftest import ROOT, Sample


@pytest.fixture
def folder(tmp_path: Path, sample: Sample) -> Path:
    """A folder with a valid model and image, and with files that cannot be read."""
    shutil.copy(sample.models["int8"], tmp_path / "good.tflite")
    (tmp_path / "good.tflite.qviz.json").write_text('{"mean": 127.5, "std": 127.5, "channels": "rgb"}')
    shutil.copy(sample.images / "astronaut.jpg", tmp_path / "good.jpg")
    (tmp_path / "text.tflite").write_text("this is no model, it is a text")
    (tmp_path / "cut.tflite").write_bytes((tmp_path / "good.tflite").read_bytes()[:100_000])
    shutil.copy(sample.models["int8"], tmp_path / "odd.tflite")
    (tmp_path / "odd.tflite.qviz.json").write_text('{"maen": 127.5}')
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.jpg").write_bytes(b"<html>")
    (tmp_path / "bad.zip").write_bytes(b"PK but no more")
    (tmp_path / "bad.json").write_text('{"images": [')
    (tmp_path / "other.json").write_text('{"name": "no annotations"}')
    (tmp_path / "labels.txt").write_bytes(b"\xff\xd8\xff")
    return tmp_path


BAD = [
    ("info nowhere.tflite", "nowhere.tflite does not exist; give a"),
    ("info text.tflite", "text.tflite is not a TensorFlow Lite file"),
    ("info cut.tflite", "cut.tflite is damaged"),
    ("info odd.tflite", "odd.tflite.qviz.json has an unknown setting, 'maen'. Possible settings: anchors"),
    ("info good.tflite --decoder yolo99", "good.tflite: decoder is 'yolo99'; choose one of"),
    ("info good.tflite --decoder ssd_raw", "good.tflite does not fit the decoder 'ssd_raw'"),
    ("info good.tflite --mean grey", "mean is ['grey']; give one number, or three"),
    ("info good.tflite --std 0", "std is 0 for a channel"),
    ("info good.tflite --resize crop", "resize is 'crop'; choose one of stretch, letterbox"),
    ("info good.tflite --nms-iou 60", "--nms-iou: '60' is not a number between 0 and 1"),
    ("info good.tflite --labels labels.txt", "labels.txt is not UTF-8 text"),
    ("info good.tflite --labels none.txt", "none.txt does not exist"),
    ("info good.tflite --workers 0", "--workers is 0; give a number between 1 and 256."),
    ("detect good.tflite --images nowhere.jpg", "nowhere.jpg does not exist"),
    ("detect good.tflite --images empty", "has no images; their names end in .jpg"),
    ("detect good.tflite --images bad.zip", "bad.zip is a damaged or password-protected zip archive"),
    ("detect good.tflite --images bad.jpg", "bad.jpg is not a JPEG, PNG, WebP"),
    ("detect good.tflite --images good.jpg --score 25", "--score: '25' is not a number between 0 and 1"),
    ("detect empty --images good.jpg", "empty is "),
    ("compare good.tflite text.tflite --images good.jpg", "text.tflite is not a TensorFlow Lite file"),
    ("compare good.tflite good.tflite --images bad.jpg", "bad.jpg is not a JPEG, PNG, WebP"),
    ("compare good.tflite good.tflite --images good.jpg --iou 50", "--iou: '50' is not a number between 0 and 1"),
    ("compare good.tflite good.tflite --images good.jpg --iou 0", "--iou: 0 is not above 0; give a number up to 1"),
    ("compare good.tflite good.tflite --images good.jpg --iou nan", "--iou: 'nan' is not a number between 0 and 1"),
    ("trace good.tflite good.tflite --image good.jpg --object 99", "There is no object 99: the reference finds"),
    ("trace good.tflite good.tflite --image good.jpg --score 1", "finds no object in good.jpg at a confidence of 1.00"),
    ("trace good.tflite good.tflite --image empty", "has no images; their names end in .jpg"),
    ("trace good.tflite good.tflite --image good.jpg --score 25", "--score: '25' is not a number between 0 and 1"),
    ("evaluate good.tflite good.tflite --dataset none.json", "none.json does not exist; give"),
    ("evaluate good.tflite good.tflite --dataset bad.json", "bad.json is not valid JSON"),
    ("evaluate good.tflite good.tflite --dataset other.json", "it needs the lists images, annotations, categories"),
    ("evaluate good.tflite good.tflite --dataset bad.json --images none", "A dataset has its own images"),
    (
        "evaluate good.tflite good.tflite --dataset bad.json --max-ap-loss 5",
        "--max-ap-loss: '5' is not a number between -1 and 1",
    ),
    ("app nowhere.tflite", "nowhere.tflite does not exist"),
    ("app --port 99999", "--port: '99999' is not a number between 1 and 65535"),
]


@pytest.mark.parametrize(("line", "sentence"), BAD, ids=[line for line, _ in BAD])
def test_bad_input(line: str, sentence: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith("app") and not (ROOT / "app.py").is_file():
        pytest.skip("the dashboard is not there yet")
    monkeypatch.chdir(folder)
    result = run(*line.split())
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
    assert "Traceback" not in result.err
    assert all(message.startswith("qviz: ") for message in result.err.splitlines())


def test_a_port_in_use_is_named_before_anything_starts(run: Run) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        result = run("app", "--port", str(other.getsockname()[1]))
    assert result.status == 2 and "is a dashboard running already at http://127.0.0.1:" in result.err
    assert "Traceback" not in result.err


USAGE = [
    ("", "qviz: COMMAND is missing. qviz --help lists"),
    ("frobnicate", "qviz: 'frobnicate' is not a command; qviz --help lists"),
    ("comapre a b", "qviz: 'comapre' is not a command; did you mean compare?"),
    ("detect good.tflite", "qviz detect: --images is missing. qviz detect --help lists"),
    ("compare --images good.jpg", "qviz compare: REF and VARIANT are missing."),
    ("info x --bogus", "--bogus is not an option of it."),
    ("info x --json --csv", "--csv"),
]


@pytest.mark.parametrize(("line", "sentence"), USAGE)
def test_bad_usage(line: str, sentence: str, run: Run) -> None:
    result = run(*line.split())
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err and result.err.startswith("qviz") and len(result.err.splitlines()) == 1


def test_info_shows_readable_models_and_lists_unreadable_ones(run: Run, folder: Path) -> None:
    result = run("info", folder / "text.tflite", folder / "good.tflite", "--json", "--workers", "1")
    assert result.status == 2
    assert [model["name"] for model in result.json["models"]] == ["good.tflite"]
    assert result.json["errors"][0].startswith("text.tflite is not a TensorFlow Lite file")


def test_an_unreadable_image_is_only_a_warning_if_others_can_be_read(run: Run, folder: Path) -> None:
    call = ("detect", folder / "good.tflite", "--images", folder / "bad.jpg", folder / "good.jpg", "--json")
    result = run(*call, "--workers", "1")
    assert (result.status, [image["image"] for image in result.json["images"]]) == (0, ["good.jpg"])
    assert "qviz: bad.jpg is not a JPEG, PNG, WebP" in result.err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux allows file names that are not UTF-8")
@pytest.mark.parametrize("form", ["--json", "--csv", None])
def test_a_file_name_that_is_not_utf8(form: str | None, folder: Path) -> None:
    name = os.fsencode(folder) + b"/caf\xe9.jpg"
    shutil.copy(folder / "good.jpg", name)
    call = [sys.executable, "-m", "qviz", "detect", str(folder / "good.tflite"), "--images", name]
    shown = subprocess.run([*call, *([form] if form else [])], cwd=ROOT, capture_output=True, check=False)
    assert (shown.returncode, b"Traceback" in shown.stderr) == (0, False)
    assert "person" in shown.stdout.decode()  # it is valid UTF-8


def shell(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "qviz", *map(str, arguments)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_exit_status_and_output_in_a_shell(folder: Path) -> None:
    bad = shell("info", folder / "text.tflite")
    assert (bad.returncode, bad.stdout, bad.stderr.count("\n")) == (2, "", 1)
    assert bad.stderr.startswith("qviz: text.tflite is not a TensorFlow Lite file")
    good = shell("detect", folder / "good.tflite", "--images", folder / "good.jpg", "--json")
    assert (good.returncode, good.stderr) == (0, "")
    assert json.loads(good.stdout)["images"][0]["detections"][0]["label"] == "person"
    assert shell("--version").stdout.startswith("qviz 0.")


def test_a_closed_pipe_is_not_an_error(folder: Path) -> None:
    call = f'"{sys.executable}" -m qviz detect good.tflite --images {"good.jpg " * 40} --csv | head -n 1'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    shown = subprocess.run(call, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert (shown.stdout, shown.stderr) == ("image,label,class_id,score,x1,y1,x2,y2\n", "")


def test_compare_never_loads_tensorflow(folder: Path) -> None:
    code = """
import sys
from qviz.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"tensorflow", "keras", "tf_keras", "streamlit", "plotly"} & set(sys.modules)
    print(sorted(heavy), file=sys.stderr)
"""
    models = (folder / "good.tflite",) * 2
    call = [sys.executable, "-c", code, "compare", *models, "--images", folder / "good.jpg", "--json"]
    shown = subprocess.run([str(part) for part in call], cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stderr.splitlines()[-1] == "[]"
    assert json.loads(shown.stdout)["variants"][0]["summary"]["agreement"] == 1


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, run: Run) -> None:
    assert f"qviz {name}" in (ROOT / "README.md").read_text()
    shown = run(name, "--help")
    assert (shown.status, shown.out.startswith(f"usage: qviz {name}")) == (0, True)
