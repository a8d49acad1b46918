"""The composite action: its shell script calls `qviz evaluate` with the inputs as they are, whatever they contain."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from qviz.cli import build_parser
from tests.conftest import ROOT

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
GATE = next(step for step in ACTION["runs"]["steps"] if step.get("name") == "Gate")
PRINTS_ITS_ARGUMENTS = '#!/bin/sh\nfor argument; do printf "%s\\n" "$argument"; done\n'


def words_of(folder: Path, **inputs: str) -> list[str]:
    """The arguments that `qviz` gets for these inputs; the others have their defaults."""
    (folder / "qviz").write_text(PRINTS_ITS_ARGUMENTS)
    (folder / "qviz").chmod(0o755)
    values = {name: row.get("default", "") for name, row in ACTION["inputs"].items()} | inputs
    environment = {
        variable: values[text.removeprefix("${{ inputs.").removesuffix(" }}")] for variable, text in GATE["env"].items()
    }
    environment |= {"PATH": f"{folder}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": "summary.md"}
    environment |= {"RUNNER_TEMP": str(folder), "GITHUB_OUTPUT": str(folder / "outputs")}
    bash = shutil.which("bash") or pytest.skip("there is no bash")
    ended = subprocess.run(
        [bash, "-euo", "pipefail", "-c", GATE["run"]], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_script_calls_evaluate(tmp_path: Path) -> None:
    words = words_of(tmp_path, reference="a b.tflite", variants="c.tflite d.tflite", dataset="coco.json")
    args = build_parser("evaluate").parse_args(words)
    assert (str(args.reference), [str(path) for path in args.variants]) == ("a b.tflite", ["c.tflite", "d.tflite"])
    assert (args.max_ap_loss, args.confident, str(args.markdown)) == (0.02, "lower", "summary.md")
    outputs = dict(line.split("=", 1) for line in (tmp_path / "outputs").read_text().splitlines())
    assert outputs["sarif"] == str(args.sarif)
    assert args.worst_images.parent == args.sarif.parent and str(args.sarif.parent) == outputs["folder"]


def test_every_limit_reaches_evaluate(tmp_path: Path) -> None:
    limits = {f"max-{name}-loss": f"0.0{index}" for index, name in enumerate(("recall", "keypoint-ap", "mask-ap"), 1)}
    words = words_of(tmp_path, reference="a.tflite", variants="b.tflite", dataset="coco.json", **limits)
    args = build_parser("evaluate").parse_args(words)
    assert (args.max_recall_loss, args.max_keypoint_ap_loss, args.max_mask_ap_loss) == (0.01, 0.02, 0.03)


def test_inputs_are_never_run_as_shell(tmp_path: Path) -> None:
    hostile = f"$(touch {tmp_path}/ran) `touch {tmp_path}/ran`; touch {tmp_path}/ran *"
    words = words_of(tmp_path, reference=hostile, variants=hostile, dataset="d.json", options="--labels *")
    assert words[1] == hostile and not (tmp_path / "ran").exists()
    assert words[words.index("--labels") + 1] == "*"


def test_no_input_is_written_into_the_script() -> None:
    assert all("${{" not in step.get("run", "") for step in ACTION["runs"]["steps"])
