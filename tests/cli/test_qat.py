"""`qviz qat`: JSON keys, resuming after a kill, and refusals."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import ROOT, Sample

KEYS = {
    "file": str,
    "steps": [{"step": int, "loss": float}],
    "before": float,
    "after": float,
    "gain": {"value": float, "low": float, "high": float},
    "images": {"trained_on": int, "held_out": int},
    "scheme": str,
}
TIMEOUT = 240
STEPS = 60


@pytest.fixture
def photographs(sample: Sample) -> list[Path]:
    return sorted((sample.folder / "calibration").glob("*.jpg"))[:12]


def test_a_killed_run_resumes_from_its_checkpoint(
    run: Run, tiny_detector: Path, photographs: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "trained.tflite"
    checkpoint = tmp_path / "trained.tflite.checkpoint.npz"
    call = ["qat", tiny_detector, "--calibration", *photographs, "--steps", STEPS, "--workers", 1, "-o", out, "--json"]
    arguments = [str(part) for part in call]
    running = subprocess.Popen([sys.executable, "-m", "qviz", *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    end = time.monotonic() + TIMEOUT
    while not checkpoint.exists() and running.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert checkpoint.exists() and not out.exists()
    result = run(*arguments)
    assert (result.status, keys.missing(KEYS, result.json)) == (0, []), result.err
    assert [row["step"] for row in result.json["steps"]] == list(range(STEPS))
    assert 0 < result.json["resumed_at"] < STEPS
    assert result.json["images"] == {"trained_on": 9, "held_out": 3}
    assert 0 <= result.json["after"] <= 1
    assert out.read_bytes()[4:8] == b"TFL3" and not checkpoint.exists()
    origin = run("info", out, "--against", tiny_detector, "--json").json["models"][0]["made_from"]
    assert origin["value"] == "yes", origin


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--recipe", "int9"), "'int9' is not a recipe"),
        (("--recipe", "float16"), "float16 cannot be trained"),
        (("--steps", "0"), "0 training steps are not possible"),
        (("-o", "{folder}/no/out.tflite"), "its folder does not exist"),
    ],
)
def test_refusals(
    more: tuple[str, ...], sentence: str, run: Run, sample: Sample, photographs: list[Path], tmp_path: Path
) -> None:
    arguments = [part.format(folder=tmp_path) for part in more]
    call = (
        "qat",
        sample.models["float32"],
        "--calibration",
        *photographs,
        "--workers",
        "1",
        "-o",
        tmp_path / "out.tflite",
    )
    result = run(*call, *arguments)
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err and result.err.count("\n") == 1


def test_too_few_images_are_refused(run: Run, sample: Sample, photographs: list[Path], tmp_path: Path) -> None:
    call = ("qat", sample.models["float32"], "--images", *photographs[:9], "--workers", "1")
    result = run(*call, "-o", tmp_path / "out.tflite")
    assert (result.status, "at least 10 different images" in result.err) == (2, True)
    assert "--images is now called --calibration" in result.err
