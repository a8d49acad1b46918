"""`qviz doctor`: what a bug report needs, and a self-test that notices what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.errors import SettingsError
from qviz.features.installation import selftest
from qviz.optional import PARTS
from qviz.tflite.runner import Runner
from qviz.tflite.tiny import tiny_input, tiny_model, tiny_output
from tests.cli import keys
from tests.cli.conftest import Run, run

__all__ = ["run"]


def test_json_has_the_promised_keys(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QVIZ_CACHE", str(tmp_path / "new" / "cache"))
    result = run("doctor", "--json")
    assert (result.status, keys.missing(keys.DOCTOR, result.json)) == (0, [])
    assert result.json["versions"]["qviz"] == qviz.__version__
    assert [row["name"] for row in result.json["optional"]] == list(PARTS)
    assert {row["name"]: row["available"] for row in result.json["backends"]} == dict.fromkeys(
        ("xnnpack", "builtin", "reference"), True
    )
    assert result.json["selftest"]["passed"] and len(result.json["selftest"]["checks"]) == 9


def test_a_cache_that_cannot_be_written_fails_and_names_no_user(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "alice").mkdir()
    (tmp_path / "alice" / "cache").write_text("a file, no folder")
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    monkeypatch.setenv("QVIZ_CACHE", str(tmp_path / "alice" / "cache"))
    result = run("doctor")
    assert result.status == 1
    assert "the self-test fails in 1 of 9 steps, first 'write to the cache folder'" in result.out
    assert "alice" not in result.out and "~/cache" in result.out


def test_a_part_that_is_missing_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qviz.optional.find_spec", lambda name: None if name == "tf_keras" else object())
    build = qviz.doctor().optional[0]
    assert (build.name, build.available, build.missing) == ("build", False, ("tf_keras",))
    assert build.install == 'pip install "qviz-tflite[build]"'


@pytest.mark.parametrize("is_int8", [False, True])
def test_the_tiny_model_has_the_outputs_worked_out_by_hand(is_int8: bool) -> None:
    expected = np.array([[0, 36, 16]], np.int8) if is_int8 else np.array([[0, 4.5, 2]], np.float32)
    (output,) = Runner(tiny_model(is_int8)).run([tiny_input(is_int8)])
    assert output.tolist() == expected.tolist() == tiny_output(is_int8).tolist()


def test_a_wrong_output_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "tiny_output", lambda is_int8: np.zeros((1, 3), np.float32))
    with pytest.raises(selftest.WrongOutput, match=r"the output is \[\[0.0, 4.5, 2.0\]\]; \[\[0.0, 0.0, 0.0\]\] is"):
        selftest.run_tiny("builtin", False)


def test_the_result_is_saved_and_has_no_chart(tmp_path: Path) -> None:
    result = qviz.doctor()
    assert json.loads(result.save(tmp_path / "doctor.json").read_text())["limits"]["job_seconds"] == 60
    assert list(result.to_frame()["name"]) == list(PARTS)
    with pytest.raises(SettingsError, match="has no chart"):
        result.plot()
