"""`python -m tests.worker_kills [STAGE ...]`: kill a worker with SIGKILL in the middle of each stage, and compare.

Each command runs once undisturbed and once with a kill of the worker that computes most; both must write the same
result, except for measured times. Exit status 1 if one does not. It takes some minutes of processor time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from qviz.structures import digest_of

ROOT = Path(__file__).resolve().parents[1]
SAMPLE = ROOT / "sample_data"
FLOAT, INT8 = (str(SAMPLE / f"models/ssdlite_mobilenet_v2_{name}.tflite") for name in ("float32", "int8"))
IMAGES, FRAMES, CALIBRATION = (str(SAMPLE / name) for name in ("images", "scenes", "calibration"))
OUTPUT = "built.tflite"
TIMES = ("milliseconds", "seconds", "_ms", "_s", "per_second", "latency")
"""A key with one of these in its name is a measured time."""

STAGES: dict[str, tuple[list[str], float]] = {
    "compare": (["compare", FLOAT, INT8, "--images", IMAGES, FRAMES], 0.5),
    "verdict": (["diagnose", FLOAT, INT8, "--images", IMAGES], 2.0),
    "layers": (["layers", FLOAT, INT8, "--images", IMAGES], 1.0),
    "evaluate": (["evaluate", FLOAT, INT8, "--dataset", f"{SAMPLE}/annotations.json"], 0.3),
    "video": (["video", FLOAT, INT8, "--video", FRAMES], 0.3),
    "build": (["quantize", FLOAT, "--recipe", "int8", "--calibration", CALIBRATION, "-o", OUTPUT], 0.6),
    "rescue": (
        [
            "rescue",
            FLOAT,
            "--calibration",
            CALIBRATION,
            "--images",
            IMAGES,
            "--min-agreement",
            "0.9",
            "--tries",
            "3",
            "-o",
            OUTPUT,
        ],
        2.0,
    ),
}
"""Name -> (command, seconds of processor time of a worker after which it is killed)."""


def main() -> int:
    chosen = sys.argv[1:] or list(STAGES)
    failed = 0
    for name in chosen:
        command, after = STAGES[name]
        whole, _ = run(command, None)
        again, killed = run(command, after)
        same = whole == again and "result" in whole
        if "error" in whole:
            print(whole["error"], file=sys.stderr)
        outcome = "no worker was killed" if not killed else "same result" if same else "ANOTHER RESULT"
        print(f"{name}: killed after {killed:.1f} s of its processor time: {outcome}", flush=True)
        failed += not (same and killed)
    return 1 if failed else 0


def run(command: list[str], after: float | None) -> tuple[Any, float]:
    """(the result without measured times, processor seconds of the killed worker or 0)."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / OUTPUT
        environment = {**os.environ, "XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT)}  # an empty cache each time
        call = [sys.executable, "-m", "qviz", *command, "--json", "--workers", "2"]
        with (Path(folder) / "stdout").open("w+") as stdout, (Path(folder) / "stderr").open("w+") as stderr:
            process = subprocess.Popen(call, cwd=folder, stdout=stdout, stderr=stderr, env=environment)
            killed = kill_worker(process, after) if after is not None else 0.0
            status = process.wait(timeout=1200)
            stdout.seek(0)
            stderr.seek(0)
            text, errors = stdout.read(), stderr.read()
        if status > 1:
            return {"status": status, "error": errors[-2000:]}, killed
        built = digest_of(output.read_bytes()) if output.exists() else ""
        return {"status": status, "result": without_times(json.loads(text)), "built": built}, killed


def kill_worker(process: subprocess.Popen[bytes], after: float) -> float:
    """Kill the first worker that has used this many processor seconds; returns how many, or 0 if none did."""
    while process.poll() is None:
        for worker in workers_of(process.pid):
            try:
                spent = sum(worker.cpu_times()[:2])
                if spent >= after:
                    worker.kill()
                    return float(spent)
            except psutil.Error:  # it has just ended
                continue
        time.sleep(0.02)
    return 0.0


def workers_of(pid: int) -> list[psutil.Process]:
    """The processes below this one that have no children themselves."""
    try:
        return [row for row in psutil.Process(pid).children(recursive=True) if not row.children()]
    except psutil.Error:
        return []


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(row) for key, row in value.items() if not any(word in key for word in TIMES)}
    return [without_times(row) for row in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
