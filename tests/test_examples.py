"""The examples work: the notebook's cells run in turn, the workflow's commands pass the parser."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import yaml

from qviz.cli import build_parser
from tests.conftest import ROOT

NOTEBOOK = ROOT / "examples/notebook.ipynb"
WORKFLOW = ROOT / "examples/github-actions/quantization-gate.yml"
AFTERWARDS = """
import json
print(json.dumps({
    "models": [str(model.scheme) for model in session.models],
    "lost": [variant.summary.lost for variant in compared.variants],
    "worst": worst.iloc[0]["op_kind"],
    "cause": traced.culprits[0].cause,
    "loss": [loss.ap.value for loss in evaluation.losses],
    "images": evaluation.to_json()["dataset"]["images"],
    "agreement": [variant.summary.agreement for variant in cured.variants],
    "cured_loss": [loss.ap.value for loss in cured_evaluation.losses],
    "rescued": rescued.within_budget,
    "charts": [len(result.plot().data) for result in (compared, evaluation, layers, traced)],
}))
"""


def cells(kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.mark.slow
def test_the_notebook_runs_and_finds_the_planted_fault() -> None:
    script = "\n".join("".join(cell["source"]) for cell in cells("code")) + AFTERWARDS
    ended = subprocess.run([sys.executable, "-c", script], cwd=NOTEBOOK.parent, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    facts = json.loads(ended.stdout.splitlines()[-1])
    assert facts["models"] == ["float32", "int8", "int8"]
    assert facts["lost"][1] > facts["lost"][0]
    assert (facts["worst"], facts["cause"]) == ("QUANTIZE", "input_range")
    assert facts["loss"][1] > 0.05
    assert facts["images"] == 27
    broken, cured = facts["agreement"]
    assert cured > broken + 0.3
    assert facts["cured_loss"] == [facts["loss"][1], pytest.approx(facts["loss"][0], abs=0.02)]
    assert facts["rescued"]
    assert min(facts["charts"]) > 0


def test_the_notebook_has_explanations_and_no_output() -> None:
    assert len(cells("markdown")) >= 6
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells("code"))


def commands() -> list[list[str]]:
    """The `qviz` calls of the workflow, with its variables filled in."""
    flow = yaml.safe_load(WORKFLOW.read_text())
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    lines = "\n".join(step.get("run", "") for step in steps).replace("\\\n", " ").splitlines()
    environment = {**flow["env"], "GITHUB_STEP_SUMMARY": "summary.md"}
    commands = [re.sub(r"\$(\w+)", lambda match: str(environment[match[1]]), line) for line in lines]
    return [shlex.split(line) for line in commands if line.startswith("qviz ")]


def test_the_workflow_uses_options_that_exist() -> None:
    parsed = [build_parser().parse_args(command[1:]) for command in commands()]
    assert [args.command for args in parsed] == ["evaluate", "report"]
    gate = parsed[0]
    assert (gate.max_ap_loss, gate.confident, str(gate.markdown)) == (0.02, "lower", "summary.md")
    assert [path.name for path in (gate.reference, *gate.variants)] == [
        "detector_float32.tflite",
        "detector_int8.tflite",
    ]
