"""The Markdown summary of an evaluation: its figures, and escaped names."""

from __future__ import annotations

import re
from dataclasses import replace

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import AveragePrecision, ClassLoss, VariantLoss
from qviz.features.accuracy.gate import check_losses
from qviz.features.accuracy.text import SHOWN_CLASSES, markdown, plain
from qviz.structures import Loss

GAINED = ClassLoss("gained", Loss(-0.1), 3, 3)
CLASSES = (*(ClassLoss(f"c{i}", Loss(0.1 - i / 100), 9, 5) for i in range(8)), GAINED)
MODELS = tuple(AveragePrecision(name, ap, 0.6, 0.4, None, 0.3, 0.5, 0.45, ()) for name, ap in (("r", 0.4), ("v", 0.3)))
RESULT = Evaluation(
    "d.json", 27, 88, (), MODELS, (VariantLoss("v", Loss(0.1, 0.04, 0.16, True), CLASSES),), images_per_second=1.0
)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]


def test_the_summary_has_the_figures() -> None:
    text = markdown(RESULT)
    assert text.startswith("## qviz: d.json, 27 images, 88 objects\n\n")
    assert ["v", "30.0", "60.0", "40.0", "–", "30.0", "50.0", "45.0"] in [row[:8] for row in rows(text)]
    assert ["v", "+10.0", r"[4.0, 16.0]", "yes"] in rows(text)
    worst = [row for row in rows(text) if len(row) == 6 and row[0] == "v"]
    assert [row[1] for row in worst] == [f"c{i}" for i in range(SHOWN_CLASSES)]
    assert "gained" not in text
    assert "Gate" not in text
    assert "serve as the ground truth" not in text


def test_the_summary_has_the_gate() -> None:
    passed, failed = (markdown(RESULT, check_losses(RESULT, limit)) for limit in (0.2, 0.05))
    assert "Gate, at most 20.0 AP points lost: passed." in passed
    assert "Gate, at most 5.0 AP points lost: **failed** by v." in failed
    assert "Undecided with 27 images" in failed


def test_the_reference_as_truth_is_a_remark() -> None:
    text = markdown(replace(RESULT, reference_as_truth=True))
    assert "The reference's own detections serve as the ground truth" in text


HOSTILE = "a|b\n<img src=x onerror=alert(1)> **x** [y](http://z) `c` ~~d~~ !e & # f"


def named(name: str) -> str:
    losses = (VariantLoss(name, Loss(0.1), (ClassLoss(name, Loss(0.2), 1, 1),)),)
    result = replace(RESULT, dataset=name, models=(MODELS[0], replace(MODELS[1], name=name)), losses=losses)
    return markdown(result, check_losses(result, 0.0))


def test_markdown_in_names_is_escaped() -> None:
    text = named(HOSTILE)
    assert text.count("alert") == 6
    signs = [re.findall(r"[\n|<>*\[\]`~&!()#]", re.sub(r"\\.", "", page)) for page in (text, named("harmless"))]
    assert signs[0] == signs[1]  # nothing but the summary's own markup is left unescaped


def test_plain_text_is_unchanged() -> None:
    assert plain("teddy bear 3.5") == "teddy bear 3.5"
    assert plain("a_b|c") == r"a\_b\|c"
    assert plain(" two\nlines ") == "two lines"
