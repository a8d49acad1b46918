"""`assert_quantized` in a pytest run of its own: passes, fails, properties, summary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import pytest

from qviz.errors import SettingsError
from qviz.features.accuracy.power import images_to_decide, power_sentence
from qviz.pytest_plugin import assert_quantized
from qviz.structures import Loss
from tests.conftest import ROOT, Sample
from tests.features.exporting.sarif_schema import schema_errors

TESTS = """
import pytest
from qviz.pytest_plugin import assert_quantized

REFERENCE, INT8, WRONG, DATASET, IMAGES = {paths!r}

def test_good():
    limits = dict(max_ap_loss=0.9, max_recall_loss=0.9, slices="all")
    result = assert_quantized(REFERENCE, INT8, DATASET, dataset_images=IMAGES, **limits)
    assert result.images == 3 and result.slices.rows

def test_bad():
    assert_quantized(REFERENCE, WRONG, DATASET, dataset_images=IMAGES, max_ap_loss=0.01, max_recall_loss=0.01, at=0.3)

def test_undecided():
    assert_quantized(REFERENCE, INT8, DATASET, dataset_images=IMAGES, max_ap_loss=0.001, confident="upper")

def test_classes():
    result = assert_quantized(REFERENCE, INT8, DATASET, dataset_images=IMAGES, max_ap_loss=0.9, classes=["person"])
    assert [row.label for row in result.losses[0].per_class] == ["person"]

def test_session(qviz_session):
    session = qviz_session(REFERENCE, WRONG, images=[IMAGES + "/astronaut.jpg"])
    assert session.compare().variants[0].summary.lost > 0
"""
NAMES = ("astronaut.jpg", "berlin_street.jpg", "irish_session.jpg")


@pytest.fixture(scope="module")
def outcome(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """(folder with junit.xml and summary.md, output) of a run of `TESTS`."""
    folder = tmp_path_factory.mktemp("gate")
    document = json.loads(sample.annotations.read_text())
    document["images"] = [row for row in document["images"] if row["file_name"] in NAMES]
    numbers = {row["id"] for row in document["images"]}
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] in numbers]
    dataset = folder / "three.json"
    dataset.write_text(json.dumps(document))
    models = [sample.models[name] for name in ("float32", "int8", "int8_wrong_range")]
    (folder / "test_gate.py").write_text(TESTS.format(paths=[str(path) for path in (*models, dataset, sample.images)]))
    (folder / "pytest.ini").write_text("[pytest]\n")
    is_registered = any(entry.value == "qviz.pytest_plugin" for entry in entry_points(group="pytest11"))
    plugin = [] if is_registered else ["-p", "qviz.pytest_plugin"]  # qviz is not installed
    call = [sys.executable, "-m", "pytest", *plugin, "-p", "no:cacheprovider", "--junitxml=junit.xml"]
    call += ["--qviz-sarif=alerts.sarif", "--qviz-worst-images=worst"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "GITHUB_STEP_SUMMARY": "summary.md"}
    ended = subprocess.run([*call, "test_gate.py"], cwd=folder, env=environment, capture_output=True, text=True)
    return folder, ended.stdout + ended.stderr


def test_gates_pass_and_fail(outcome: tuple[Path, str]) -> None:
    _, output = outcome
    assert "2 failed, 3 passed" in output, output
    assert "FAILED test_gate.py::test_bad" in output and "FAILED test_gate.py::test_undecided" in output
    assert "AP, at most 1 point lost: failed by ssdlite_mobilenet_v2_int8_wrong_range.tflite." in output
    assert "Recall, at most 1 point lost: failed by ssdlite_mobilenet_v2_int8_wrong_range.tflite." in output
    assert "3 images are too few for an interval." in output
    assert "qviz/session.py" not in output, "the traceback must not lead into qviz"


def test_properties_are_in_the_junit_file(outcome: tuple[Path, str]) -> None:
    folder, _ = outcome
    cases = {case.get("name"): case for case in ElementTree.parse(folder / "junit.xml").iter("testcase")}
    rows = {name: {row.get("name"): row.get("value") for row in case.iter("property")} for name, case in cases.items()}
    assert rows["test_good"]["qviz/ap_gate"] == "passed"
    assert rows["test_bad"]["qviz/recall_gate"] == "failed by ssdlite_mobilenet_v2_int8_wrong_range.tflite"
    reference = float(rows["test_bad"]["qviz/models/ssdlite_mobilenet_v2_float32.tflite/ap"] or "nan")
    variant = float(rows["test_bad"]["qviz/models/ssdlite_mobilenet_v2_int8_wrong_range.tflite/ap"] or "nan")
    loss = float(rows["test_bad"]["qviz/losses/ssdlite_mobilenet_v2_int8_wrong_range.tflite/ap/value"] or "nan")
    assert loss == pytest.approx(reference - variant)
    assert rows["test_session"] == {}


def test_the_summary_has_a_page_for_each_call(outcome: tuple[Path, str]) -> None:
    folder, _ = outcome
    text = (folder / "summary.md").read_text()
    assert text.count("## qviz: three.json, 3 images") == 4
    assert text.count("**failed** by") == 3  # test_bad fails in AP and in recall


def test_failed_gates_are_alerts_and_the_worst_images_are_pictures(outcome: tuple[Path, str]) -> None:
    folder, _ = outcome
    alerts = json.loads((folder / "alerts.sarif").read_text())
    assert schema_errors(alerts) == []
    runs = alerts["runs"]
    assert len(runs) == 4
    rows = [row for run in runs for row in run["results"] if row["level"] == "error"]
    wrong = next(row for row in rows if "int8_wrong_range" in row["message"]["text"])
    assert wrong["ruleId"] == "ap-loss" and "the gate asks for at most 1.0 AP points lost" in wrong["message"]["text"]
    (location,) = wrong["locations"]
    uri = location["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.startswith("file:///") and uri.endswith("/ssdlite_mobilenet_v2_int8_wrong_range.tflite")
    pictures = sorted(path.relative_to(folder).as_posix() for path in (folder / "worst").rglob("*.jpg"))
    assert pictures == [f"worst/gate_{call:02d}/worst_{image:02d}.jpg" for call in range(1, 5) for image in range(1, 4)]
    assert "`gate_02/worst_01.jpg`" in (folder / "summary.md").read_text()


def test_without_a_limit_nothing_runs() -> None:
    with pytest.raises(SettingsError, match="Give a limit"):
        assert_quantized("absent.tflite", "absent.tflite", "absent.json")
    with pytest.raises(SettingsError, match="confident is 'low'"):
        assert_quantized("absent.tflite", "absent.tflite", "absent.json", max_ap_loss=0.01, confident="low")
    with pytest.raises(SettingsError, match="give max_recall_loss"):
        assert_quantized("absent.tflite", "absent.tflite", "absent.json", max_ap_loss=0.01, slices="all")


def test_images_to_decide_grow_with_the_square_of_the_width() -> None:
    assert images_to_decide(Loss(0.01, -0.01, 0.03, False), 100, 0.02) == 400
    assert images_to_decide(Loss(0.01, None, None, False), 4, 0.02) is None
    assert "about 400 images like these would decide a limit of 2 points" in power_sentence(
        Loss(0.01, -0.01, 0.03, False), 100, 0.02
    )
    assert power_sentence(Loss(0.01, 0.005, 0.015, True), 100, 0.02) == ""
