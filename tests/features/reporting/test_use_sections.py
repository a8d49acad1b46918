"""Sections on operating point, slices, risk and video: their figures are the study's; text from files is escaped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from qviz.errors import StudyError
from qviz.features.accuracy.slice_loss import CurvePoint, SliceLoss, Slices, TraitCurve, VariantSliceLoss
from qviz.features.comparison.matching import Change
from qviz.features.object_risk import ObjectRisk, Risks
from qviz.features.object_risk.estimate import Decile, RiskTest
from qviz.features.reporting.html import render
from qviz.features.reporting.sections import available
from qviz.features.reporting.study import StudiedRanges, Study, read_study, study_bytes
from qviz.features.slices.ranges import SliceAlarm
from qviz.features.video import FrameModel, FrameRow, ModelSummary, Track, VideoResult
from qviz.formatting import points
from qviz.structures import Loss
from tests.features.reporting.study import HOSTILE

SECTIONS = ("operating", "slices", "risk", "video")


def sliced(names: list[str]) -> Slices:
    worse = [
        VariantSliceLoss(name, Loss(0.2, 0.1, 0.3, True), Loss(0.123, 0.05, 0.2, True), (0.9, 0.7)) for name in names
    ]
    row = SliceLoss("weather", HOSTILE, f"images with weather {HOSTILE}", 12, 34, tuple(worse), ("a.jpg",))
    curve = (CurvePoint(float(n), n + 1.0, n + 0.5, 10, 20, tuple(worse)) for n in range(3))
    return Slices((row,), (HOSTILE,), (TraitCurve(HOSTILE, tuple(curve)),))


def clip(names: list[str]) -> VideoResult:
    frames = tuple(
        FrameRow(
            n, n / 2, 100.0 - 20 * n, (FrameModel(names[0], 3, 1.0), FrameModel(names[1], 2, 0.5 if n > 2 else 0.9))
        )
        for n in range(5)
    )
    summary = tuple(ModelSummary(name, 4, 96.0, 0.625, 0.0123, None) for name in names)
    track = Track(HOSTILE, 0, 4, 5, 1.0, 0.6, 2, 0, 1)
    return VideoResult(HOSTILE, 1, 2.5, 0.7, frames, (track,), summary, (HOSTILE,))


def risks() -> Risks:
    """The risk of being lost predicts, that of being relabelled does not."""
    deciles = (Decile(10, 0.1, 0.0), Decile(10, 0.55, 0.6))
    lost = RiskTest(Change.LOST, 20, 6, 30, 0.87, 0.8, 0.93, 0.7, True, deciles)
    relabelled = RiskTest(Change.RELABELLED, 20, 5, 9, 0.52, 0.4, 0.7, 0.5, False, ())
    box = (0.0, 0.0, 9.0, 9.0)
    row = ObjectRisk(HOSTILE, "d", HOSTILE, 0.31, box, 0.06, "cat", 0.2, None, 0.77, None, Change.LOST, 0)
    return Risks("float32", "int8", 0.25, 12, 12, True, None, (row,), (), (lost, relabelled))


@pytest.fixture
def used(study: Study) -> Study:
    assert study.evaluation is not None
    evaluation = replace(study.evaluation, slices=sliced([model.file for model in study.variants]))
    videos = {study.variants[0].name: clip([study.reference.name, study.variants[0].name])}
    ranges = StudiedRanges(24, 5, (SliceAlarm("weather", HOSTILE, f"images with weather {HOSTILE}", 7, 4),))
    first = study.variants[0].name
    return replace(study, evaluation=evaluation, videos=videos, risks={first: risks()}, ranges={first: ranges})


def test_figures_of_each_section_are_on_the_page(used: Study) -> None:
    assert [name for name in available(used) if name in SECTIONS] == list(SECTIONS)
    page = render(used, SECTIONS)
    assert HOSTILE not in page and "<img src=x" not in page
    assert used.evaluation is not None and used.evaluation.operating is not None
    for model in used.evaluation.operating.models:
        assert f"<td>{points(model.figures.recall)}</td>" in page
    assert "loses 12.3 [5.0, 20.0] points of recall more than in the others" in page
    assert "5 of 24 images drive the network far outside the ranges of int8. Most often images with weather" in page
    assert "<th>outside the ranges</th>" in page and page.count("<td>4 of 7</td>") == 1
    assert "62%" in page and "1.2%" in page and "96.0" in page
    assert "agree least in second 2 (agreement 0.50)" in page
    captions = [line for line in page.splitlines() if line.startswith("<figcaption>")]
    assert ["Recall lost over" in line for line in captions] == [True, False, False]
    assert "observed share of the objects over their mean risk" in captions[1]
    assert "objects, agreement and brightness of float32 and int8" in captions[2]
    assert "Lost: 6.5 expected, 6 observed. AUROC on other images 0.87 [0.80, 0.93]" in page
    assert '<td>77%</td><td>–</td><td class="word">threshold</td><td class="word">lost</td>' in page
    assert "Relabelled: the risk is not shown. Its AUROC on other images is 0.52" in page


def test_a_risk_that_does_not_predict_has_no_table(used: Study) -> None:
    result = risks()
    unknown = replace(result, tests=result.tests[1:], objects=(replace(result.objects[0], lost=None),))
    page = render(replace(used, risks={used.variants[0].name: unknown}), ["risk"])
    assert "Relabelled: the risk is not shown" in page
    assert "object with the highest risk" not in page and "<figcaption>" not in page


def test_a_saved_study_keeps_them_and_contradictions_are_refused(used: Study) -> None:
    again = read_study(study_bytes(used), "study.json")
    assert render(again, SECTIONS) == render(used, SECTIONS)
    document = used.to_json()
    for damage, sentence in (
        (lambda one: one["videos"].update(other=one["videos"].pop("int8")), "its video of 'other'"),
        (lambda one: one["evaluation"]["slices"]["rows"][0]["losses"].pop(), "its slices have other variants"),
        (lambda one: one["ranges"].update(other=one["ranges"].pop("int8")), "its ranges of 'other'"),
        (lambda one: one["ranges"]["int8"]["slices"][0].update(group="x"), "its ranges of 'int8' have other slices"),
        (lambda one: one["evaluation"]["operating"]["losses"].pop(), "its operating point has other models"),
        (lambda one: one["risks"].update(other=one["risks"].pop("int8")), "its risk of 'other'"),
    ):
        damaged = json.loads(json.dumps(document))
        damage(damaged["study"])
        with pytest.raises(StudyError, match=sentence):
            Study.from_json(damaged)
