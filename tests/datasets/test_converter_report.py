"""The report of onnx2tf beside a file: read where it is about this file, ignored where it is anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qviz.cli import main
from qviz.datasets.converter_report import parse_report, read_converter_report
from tests.conftest import Sample

METRICS = {"max_abs": 0.0012, "ref_max_abs": 640.0, "mean_abs": 1e-5, "rmse": 2e-5, "cosine_similarity": 0.9999991}
REPORT: dict[str, Any] = {
    "schema_version": 1,
    "seed": 0,
    "num_samples": 10,
    "rtol": 0.0001,
    "atol": 0.0001,
    "compare_mode": "raw",
    "inputs_source": "seeded_random",
    "onnx_output_names": ["output0", "mask"],
    "tflite_path": "saved_model/net_float32.tflite",
    "overall_metrics": METRICS,
    "evaluation_pass": True,
    "per_output_metrics": {
        "output0": {"tflite_output_name": "Identity", "status": "compared", "reason": "", **METRICS},
        "mask": {"tflite_output_name": "Identity_1", "status": "skipped", "reason": "random", **METRICS},
    },
}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    content = copy.deepcopy(REPORT)
    change(content)
    return json.dumps(content).encode()


def test_info_shows_its_lines(tmp_path: Path, sample: Sample, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "net_float32.tflite"
    model.write_bytes(sample.models["float32"].read_bytes())
    (tmp_path / "net_accuracy_report.json").write_bytes(changed(lambda report: None))
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(model)])
    lines = capsys.readouterr().out
    assert (
        "against the ONNX file on 10 samples of random numbers: within its limits (net_accuracy_report.json)" in lines
    )
    assert "output0: largest error 0.0012, RMSE 2e-05, cosine similarity 0.999999" in lines and "mask" not in lines
    with pytest.raises(SystemExit, match="0"):
        main(["info", str(model), "--json"])
    (described,) = json.loads(capsys.readouterr().out)["models"]
    assert described["converter_report"]["outputs"][0]["max_abs"] == 0.0012
    assert read_converter_report(tmp_path / "net_int8.tflite") is None  # the report is about another file


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        changed(lambda report: report.update(schema_version=2)),
        changed(lambda report: report.update(tflite_path=7)),
        changed(lambda report: report.update(num_samples=True)),
        changed(lambda report: report.pop("evaluation_pass")),
        changed(lambda report: report.update(per_output_metrics=[1])),
        changed(lambda report: report.update(per_output_metrics={})),
        changed(lambda report: report["per_output_metrics"]["output0"].update(rmse="high")),
        changed(lambda report: report["per_output_metrics"]["output0"].update(rmse=10**400)),
        changed(lambda report: report["per_output_metrics"]["output0"].update(rmse=float("inf"))),
    ],
)
def test_anything_else_is_ignored(data: bytes) -> None:
    assert parse_report(data, "net_accuracy_report.json", "net_float32.tflite") is None


def test_names_and_their_number_are_bounded() -> None:
    row = REPORT["per_output_metrics"]["output0"]
    data = changed(
        lambda report: report.update(per_output_metrics={f"{i}\x1b[2J" + "a" * 500: row for i in range(200)})
    )
    report = parse_report(data, "a", "net_float32.tflite")
    assert report is not None and len(report.outputs) == 64
    assert all(len(output.name) <= 100 and output.name.isprintable() for output in report.outputs)
