"""The limits file: valid contents, the administrator's overrides, and documentation of every limit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.errors import ModelError, SettingsError, WorkerTimeout
from qviz.features.detection.models import check_model_size
from qviz.limits import DEFAULTS, Limits, limits
from tests.conftest import ROOT


def test_every_limit_is_in_limits_toml_and_documented() -> None:
    lines = DEFAULTS.read_text().splitlines()
    documented = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+|none) \|", (ROOT / "docs/reliability.md").read_text(), re.M))
    names = [field.name for field in fields(Limits)]
    assert list(tomllib.loads(DEFAULTS.read_text())) == names
    for name in names:
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        assert "# " in line
        default = documented.pop(name).replace(",", "")
        assert ("" if default == "none" else int(default)) == getattr(limits(), name)
    assert not documented


def test_an_administrators_file_changes_only_the_limits_in_it(limited: Callable[[str], None]) -> None:
    usual = limits().to_json()
    limited("job_seconds = 7\n")
    assert limits().to_json() == {**usual, "job_seconds": 7}


REFUSED = [
    ("job_second = 7", "'job_second', which is not a limit; did you mean job_seconds?"),
    ("colour = 7", "is not a limit; limits are upload_mb, "),
    ("[jobs]\nseconds = 7", "'jobs', which is not a limit"),
    ("job_seconds = 0", "sets job_seconds to '0'; a whole number from 1 to"),
    ("job_seconds = -1", "sets job_seconds to '-1'"),
    ("job_seconds = true", "sets job_seconds to 'True'"),
    ("job_seconds = 1.5", "sets job_seconds to '1.5'"),
    ('upload_mb = "400 MB"', "sets upload_mb to '400 MB'; a whole number from 1 to 1,000,000,000 is expected."),
    ("job_memory_mb = 100", "a whole number from 512 to"),
    ("image_megapixels = 90", "a whole number from 1 to 89 is expected"),
    ("images_folder = 7", "sets images_folder to '7'; a folder in quotes is expected"),
    ('images_folder = "photos"', "sets images_folder to 'photos'; a folder in quotes is expected, such as"),
    ("job_seconds: 7", "is not a TOML file"),
    ("\udcff", "is not a TOML file"),
]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_invalid_limit_files_are_refused(
    text: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    monkeypatch.setenv("QVIZ_LIMITS", str(path))
    with pytest.raises(SettingsError, match=re.escape(sentence)) as caught:
        limits()
    assert str(caught.value).startswith(f"{path} ")


def test_a_missing_limits_file_is_one_sentence_on_the_command_line(tmp_path: Path, sample_model: Path) -> None:
    environment = os.environ | {"QVIZ_LIMITS": str(tmp_path / "none.toml")}
    command = [sys.executable, "-m", "qviz", "info", str(sample_model)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"qviz: {tmp_path / 'none.toml'}, which QVIZ_LIMITS names, cannot be read (No such file or directory).\n"
    )


@pytest.fixture
def sample_model() -> Path:
    return ROOT / "sample_data/models/ssdlite_mobilenet_v2_int8.tflite"


def test_a_model_over_the_size_limit_is_refused(limited: Callable[[str], None]) -> None:
    limited("model_mb = 2")
    check_model_size("a.tflite", 2 << 20)
    with pytest.raises(ModelError, match=r"^a\.tflite is 2 MB; the limit for a model is 2 MB\.$"):
        check_model_size("a.tflite", (2 << 20) + 1)


def test_the_engine_applies_the_limits(limited: Callable[[str], None]) -> None:
    limited("job_seconds = 1")
    with LocalEngine(1) as engine, pytest.raises(WorkerTimeout, match="longer than 1 s"):
        engine.submit(time.sleep, 60).result()


def test_a_page_shows_errors_in_the_limits_file(limited: Callable[[str], None]) -> None:
    from streamlit.testing.v1 import AppTest

    limited("job_seconds = 0")
    shown = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60).run()
    assert not shown.exception
    assert "a whole number from 1 to" in shown.error[0].value.replace("\\", "")


def test_an_upload_over_the_size_limit_is_refused(limited: Callable[[str], None]) -> None:
    from qviz.ui.uploads import _recognise

    limited("upload_mb = 1")
    recognised = _recognise([("a.tflite", bytes((1 << 20) + 1)), ("b.jpg", b"\xff\xd8\xff")])
    assert recognised.notices == ["a.tflite is 1 MB; the limit for a dropped file is 1 MB."]
    assert [image.name for image in recognised.images] == ["b.jpg"]
