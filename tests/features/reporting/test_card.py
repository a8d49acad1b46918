"""The model card: its figures are the study's, its head is YAML, and names from files add no markup."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

import qviz
from qviz.errors import SettingsError, StudyError
from qviz.features.reporting import save_study
from qviz.features.reporting.card import card
from qviz.features.reporting.study import Study
from qviz.features.reporting.text_card import CONTENT
from qviz.formatting import points
from tests.cli import keys
from tests.cli.conftest import Run, run
from tests.conftest import ROOT, Sample
from tests.features.reporting.study import HOSTILE, hostile

__all__ = ["run"]


def head_of(text: str) -> dict[str, Any]:
    _, head, _ = text.split("---\n", 2)
    document: dict[str, Any] = yaml.safe_load(head)
    return document


def section_of(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_the_figures_are_those_of_the_study(study: Study) -> None:
    text = card(study).markdown
    assert study.evaluation is not None
    results = head_of(text)["model-index"]
    assert [row["name"] for row in results] == [model.name for model in study.models]
    for row, model in zip(results, study.evaluation.models, strict=True):
        metrics = {metric["type"]: metric["value"] for metric in row["results"][0]["metrics"]}
        assert metrics == {"ap": model.ap, "ap50": model.ap50, "ap75": model.ap75, "ar": model.ar}
    for loss in study.losses.values():
        assert loss.ap.value is not None
        assert f"| {points(loss.ap.value)}" in section_of(text, "Accuracy").replace("+", "")
    for summary in study.summaries.values():
        assert f"| {summary.kept} | {summary.shifted} | {summary.relabelled} |" in section_of(text, "Objects")
    assert all(model.sha256 in section_of(text, "Files") for model in study.models)
    assert study.made.images_digest in section_of(text, "How it was measured")


def test_a_study_without_annotations_says_what_is_not_known(study: Study) -> None:
    result = card(replace(study, evaluation=None))
    assert "Accuracy" not in result.sections
    assert head_of(result.markdown)["model-index"] == []
    assert "AP and recall are not known" in section_of(result.markdown, "Limits of these figures")


def test_names_from_files_add_no_markup(study: Study) -> None:
    text = card(hostile(study)).markdown
    assert head_of(text)["model-index"][0]["name"] == f"=0{HOSTILE}"
    body, command = text.split("---\n", 2)[2].split("\n```\n", 1)
    assert re.findall(r"(?<!\\)<\w+", body) == [] and "\\<script" in body
    assert command == HOSTILE + "\n```\n"


def test_the_command_writes_it_and_its_own_command_repeats_it(run: Run, sample: Sample, tmp_path: Path) -> None:
    """The command in the card is run again; the new card differs in nothing but the path of the page."""
    document = json.loads(sample.annotations.read_text())
    document["images"] = [row for row in document["images"] if row["file_name"] == "astronaut.jpg"]
    numbers = {row["id"] for row in document["images"]}
    document["annotations"] = [row for row in document["annotations"] if row["image_id"] in numbers]
    dataset = tmp_path / "one.json"
    dataset.write_text(json.dumps(document))
    models = (sample.models["float32"], sample.models["int8_wrong_range"])
    data = ("--dataset", dataset, "--dataset-images", sample.images, "--sections", "verdict")
    study, page, target = tmp_path / "study.json", tmp_path / "page.html", tmp_path / "card.md"
    made = run("report", *models, *data, "--workers", "1", "--save-study", study, "-o", page)
    assert made.status == 0, made.err
    result = run("card", study, "-o", target, "--json")
    assert (result.status, keys.missing(keys.CARD, result.json)) == (0, [])
    assert result.json["sections"] == [title for title in CONTENT if title in result.json["sections"]]
    first = target.read_text()
    command = shlex.split(section_of(first, "Repeat it").split("```")[1])
    assert run(*command[1:], "--workers", "1", "--save-study", study).status == 0
    assert run("card", study, "-o", target).status == 0
    assert target.read_text() == first


@pytest.mark.parametrize(("text", "sentence"), [("{}", "is not a qviz study"), ("no JSON", "is not JSON")])
def test_what_is_not_a_study_is_refused(text: str, sentence: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text(text)
    result = run("card", tmp_path / "study.json", "-o", tmp_path / "card.md")
    assert result.status == 2 and sentence in result.err and not (tmp_path / "card.md").exists()
    with pytest.raises(StudyError):
        qviz.card(tmp_path / "study.json")


def test_saving(study: Study, tmp_path: Path) -> None:
    save_study(study, tmp_path / "study.json")
    result = qviz.card(tmp_path / "study.json")
    assert result.save(tmp_path / "card.md").read_text() == card(study).markdown
    assert json.loads(result.save(tmp_path / "card.json").read_text()) == {"sections": list(result.sections)}
    assert str(result) in repr(result)
    with pytest.raises(SettingsError, match="has no chart"):
        result.plot()
    with pytest.raises(SettingsError, match="cannot be written"):
        result.save(ROOT / "absent" / "card.md")
