"""`qviz report`: JSON keys, the written file, the command in it, refusals in one sentence."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import pytest

from tests.cli import keys
from tests.cli.conftest import Run
from tests.conftest import Sample


def test_report_shows_the_command_that_reproduces_it(run: Run, sample: Sample, tmp_path: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    target = tmp_path / "it's a report.html"
    call = ("report", *models, "--images", sample.images / "astronaut.jpg", sample.images / "kitten.jpg", "-o", target)
    result = run(*call, "--title", "Friday", "--note", "verdict=Ship it", "--sections", "verdict,images,made", "--json")
    assert (result.status, keys.missing(keys.REPORT, result.json)) == (0, [])
    assert result.json["sections"] == ["verdict", "images", "made"]
    page = target.read_text(encoding="utf-8")
    assert result.json["bytes"] == target.stat().st_size == len(page.encode())
    assert "Ship it" in page and "<h1>Friday</h1>" in page

    (command,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    words = shlex.split(html.unescape(command))
    target.unlink()
    again = run(*words[1:], "--json")
    assert (again.status, again.json["sections"]) == (0, result.json["sections"])
    assert target.read_text(encoding="utf-8") == page


def test_a_saved_study_makes_the_same_page(run: Run, sample: Sample, tmp_path: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8_wrong_range")]
    page, again, study = (tmp_path / name for name in ("r.html", "again.html", "s.json"))
    result = run("report", *models, "--images", sample.images / "kitten.jpg", "-o", page, "--save-study", study)
    assert result.status == 0
    result = run("report", "--study", study, "-o", again, "--json")
    assert (result.status, keys.missing(keys.REPORT, result.json)) == (0, [])
    assert again.read_bytes() == page.read_bytes()
    result = run("report", "--study", study, "-o", again, "--sections", "verdict", "--note", "verdict=Not this one")
    assert result.status == 0 and "Not this one" in again.read_text(encoding="utf-8")
    for more, sentence in (
        (models, "A saved study already contains the results, so REF has no effect"),
        (("--title", "x"), "so --title has no effect"),
        (("--sections", "accuracy"), "The study has nothing for the section 'accuracy'"),
    ):
        result = run("report", "--study", study, "-o", again, *more)
        assert (result.status, result.out) == (2, "") and sentence in result.err


def test_trade_off_and_risk_can_be_requested(run: Run, sample: Sample, tmp_path: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    call = ("report", *models, "--images", sample.images / "kitten.jpg", "-o", tmp_path / "r.html")
    result = run(*call, "--sections", "verdict,tradeoff,risk")
    assert result.status == 0 and "verdict, tradeoff, risk" in result.out
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "dominated" in page.lower()
    assert "Lost: the risk is not known, because 1 image is too few to estimate it" in page


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "Neither --dataset nor --images is given"),
        (("--study", "IMAGE"), "A saved study already contains the results, so REF has no effect"),
        (("--images", "IMAGE", "--sections", "accuracy"), "shows AP, which needs annotated images: add --dataset"),
        (("--images", "IMAGE", "--sections", "nothing"), "'nothing' is not a section of the report"),
        (("--images", "IMAGE", "--note", "Ship it"), "--note is 'Ship it'; give a section and its text"),
        (("--images", "IMAGE", "--also", "rescue"), "'rescue' cannot be added to a report"),
        (("--images", "IMAGE", "--sections", "made", "-o", "no/such/folder.html"), "cannot be written"),
    ],
)
def test_refusals(more: tuple[str, ...], sentence: str, run: Run, sample: Sample, tmp_path: Path) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    words = [str(sample.images / "kitten.jpg") if word == "IMAGE" else word for word in more]
    result = run("report", *models, "-o", tmp_path / "r.html", *words, "--workers", "1")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err


@pytest.mark.parametrize(
    ("study", "sentence"),
    [
        (None, "give REF and at least one VARIANT, or a saved --study"),
        ("absent.json", "cannot be read (No such file or directory)"),
        ("kitten.jpg", "kitten.jpg is not JSON, so it is not a qviz study"),
    ],
)
def test_an_unreadable_study_is_refused(
    study: str | None, sentence: str, run: Run, sample: Sample, tmp_path: Path
) -> None:
    words = [] if study is None else ["--study", sample.images / study]
    result = run("report", *words, "-o", tmp_path / "r.html")
    assert (result.status, result.out) == (2, "")
    assert sentence in result.err
