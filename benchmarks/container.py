"""Carries out the Dockerfile's steps and the services of compose.yml on a machine without a container runtime.

    sudo .venv/bin/python -m benchmarks container

This checks the steps, not the images of a registry: in place of `python:3.11-slim`, it uses this machine's own files
below an overlay, with a new virtual environment first on PATH. Each stage gets its own overlay, in which RUN is carried
out by chroot; COPY copies the last commit. Then the file system is made read-only except /tmp and the volumes. As the
user of the Dockerfile, the entry point is started, the health check must pass, and a command must run on the Dask
scheduler and workers of compose.yml. Needs root, Linux, some GB of memory, and a few minutes.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
INSIDE = "QVIZ_CONTAINER_NAMESPACE"
BASE_PYTHON = str(Path(sys.base_prefix) / "bin" / "python3")
VENV = "/usr/local/qviz_venv"
DEMO = "from qviz.ui.demo import FOLDER; print(FOLDER)"


def instructions(text: str) -> list[tuple[str, str]]:
    """(instruction, arguments) of each instruction of a Dockerfile; continued lines are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0].upper(), line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


@dataclass
class Stage:
    """One stage: the root of its file system, and the settings that its instructions made."""

    root: Path
    folder: str = "/"
    user: str = "0"
    variables: dict[str, str] = field(default_factory=dict)
    entry: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)

    def call(self, words: list[str], user: str | None = None) -> list[str]:
        """The command line that runs a command in this stage's file system."""
        who = self.user if user is None else user
        inner = ["env", "-C", self.folder, *(f"{name}={value}" for name, value in self.variables.items()), *words]
        return ["chroot", f"--userspec={who}:{who}", str(self.root), *inner]

    def run(self, words: list[str], user: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.call(words, user), capture_output=True, text=True)


def mounted(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def new_stage(folder: Path, number: int) -> Stage:
    base = folder / str(number)
    for name in ("upper", "work", "root"):
        (base / name).mkdir(parents=True)
    root = base / "root"
    mounted("-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={base}/upper,workdir={base}/work", str(root))
    for name in ("proc", "dev", "sys"):
        mounted("--rbind", f"/{name}", str(root / name))
    for parent in Path(BASE_PYTHON).resolve().parents:  # in the overlay: this machine's Python may lie in /root
        inside = root / str(parent).lstrip("/")
        inside.chmod(inside.stat().st_mode | 0o011)
    stage = Stage(root, variables={"PATH": f"{VENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"})
    subprocess.run(stage.call([BASE_PYTHON, "-m", "venv", VENV]), check=True)
    return stage


def copy(stage: Stage, stages: dict[str, Stage], arguments: str, context: Path) -> None:
    words = arguments.split()
    source = context
    if words[0].startswith("--from="):
        source = stages[words.pop(0).removeprefix("--from=")].root
    target = stage.root / str(Path(stage.folder) / words[1]).lstrip("/")
    shutil.copytree(source / words[0].lstrip("/"), target, dirs_exist_ok=True, symlinks=True)


def build(folder: Path, context: Path) -> Stage:
    """Carry out the Dockerfile, and return its last stage."""
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for instruction, arguments in instructions((ROOT / "Dockerfile").read_text()):
        start = time.monotonic()
        if instruction == "FROM":
            stage = new_stage(folder, len(stages))
            stages[arguments.split()[-1]] = stage
        assert stage is not None, "a Dockerfile begins with FROM"
        if instruction == "COPY":
            copy(stage, stages, arguments, context)
        elif instruction == "RUN":
            ended = stage.run(["sh", "-c", arguments])
            assert ended.returncode == 0, ended.stderr[-2000:]
        elif instruction in ("ENV", "ARG"):
            stage.variables |= dict(word.split("=", 1) for word in shlex.split(arguments))
        elif instruction == "WORKDIR":
            stage.folder = arguments
            (stage.root / arguments.lstrip("/")).mkdir(parents=True, exist_ok=True)
        elif instruction == "USER":
            stage.user = arguments
        elif instruction in ("ENTRYPOINT", "CMD"):
            stage.entry += json.loads(arguments)
        elif instruction == "VOLUME":
            stage.volumes = json.loads(arguments)
        elif instruction == "HEALTHCHECK":
            stage.health = json.loads(arguments.partition(" CMD ")[2])
        print(f"{time.monotonic() - start:6.1f} s  {instruction} {arguments[:90]}", flush=True)
    assert stage is not None
    return stage


def make_read_only(stage: Stage) -> None:
    """Make the file system read-only except for /tmp and the volumes, as compose.yml does."""
    mounted("-o", "remount,ro", str(stage.root))
    for name in ("/tmp", *stage.volumes):
        owner = "mode=1777" if name == "/tmp" else f"uid={stage.user},gid={stage.user},mode=755"
        mounted("-t", "tmpfs", "-o", owner, "tmpfs", str(stage.root / name.lstrip("/")))


def services(stage: Stage) -> list[subprocess.Popen[bytes]]:
    """Start the dashboard, and the scheduler and workers of compose.yml, all on this machine."""
    rows = yaml.safe_load((ROOT / "compose.yml").read_text())["services"]
    calls = [stage.entry]
    for name in ("scheduler", *["worker"] * rows["worker"]["deploy"]["replicas"]):
        calls.append([word.replace("scheduler:", "127.0.0.1:") for word in rows[name]["entrypoint"]])
    return [subprocess.Popen(stage.call(call), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for call in calls]


def until_healthy(stage: Stage) -> float:
    start = time.monotonic()
    while stage.run(stage.health).returncode:
        assert time.monotonic() - start < 120, "the health check does not pass"
        time.sleep(1)
    return time.monotonic() - start


def check(stage: Stage) -> None:
    make_read_only(stage)
    assert stage.run(["id", "-u"]).stdout.strip() == stage.user != "0"
    for path in ("/here", f"{VENV}/here"):
        refused = stage.run(["touch", path])
        assert "Read-only file system" in refused.stderr, refused
    print(f"user {stage.user}; / is read-only, also for root: {stage.run(['touch', '/here'], '0').stderr.strip()}")
    running = services(stage)
    try:
        print(f"health check passes after {until_healthy(stage):.0f} s")
        demo = stage.run(["python", "-c", DEMO]).stdout.strip()
        pair = [f"{demo}/squares_{name}.tflite" for name in ("float32", "int8")]
        for workers in ("2", "tcp://127.0.0.1:8786"):
            ended = stage.run(["qviz", "compare", *pair, "--images", f"{demo}/images", "--workers", workers, "--json"])
            assert ended.returncode == 0, ended.stderr[-2000:]
            print(
                f"compare with --workers {workers}: {json.loads(ended.stdout)['variants'][0]['summary']['lost']} lost"
            )
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(20)


def main() -> None:
    if INSIDE not in os.environ:
        call = ["unshare", "--mount", "--propagation", "private", sys.executable, "-m", "benchmarks.container"]
        raise SystemExit(subprocess.run(call, cwd=ROOT, env=os.environ | {INSIDE: "1"}).returncode)
    with tempfile.TemporaryDirectory(prefix="qviz_container_") as name:
        folder, context = Path(name) / "stages", Path(name) / "context"
        folder.mkdir()
        mounted("-t", "tmpfs", "tmpfs", str(folder))  # an overlay's upper folder must lie outside of its lower one
        archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(context, filter="data")
        try:
            check(build(folder, context))
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", str(folder)], check=False)


if __name__ == "__main__":
    main()
