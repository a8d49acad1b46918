"""A study saved by version 0.1 (58b38a2) opens and shows the same figures."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from qviz.features.reporting import report_of
from qviz.features.reporting.study import Study, read_study

FILE = Path(__file__).with_name("study_0_1.json.gz")


@pytest.fixture(scope="module")
def study() -> Study:
    return read_study(gzip.decompress(FILE.read_bytes()), "study_0_1.json")


def test_figures_equal_those_of_the_old_version(study: Study) -> None:
    assert [model.name for model in study.models] == ["float32", "int8", "int8_wrong_range"]
    agreement = {name: summary.agreement for name, summary in study.summaries.items()}
    assert agreement == {"int8": 0.8757396449704142, "int8_wrong_range": 0.36363636363636365}
    assert study.evaluation is not None
    assert [model.ap for model in study.evaluation.models] == [
        0.3828525906331596,
        0.3997831113468489,
        0.24419667201080042,
    ]
    losses = {name: loss.ap.value for name, loss in study.losses.items()}
    assert losses == {"int8": -0.016930520713689334, "int8_wrong_range": 0.13865591862235915}
    assert {name: len(errors.layers) for name, errors in study.layers.items()} == {"int8": 135, "int8_wrong_range": 135}
    assert study.robustness is not None and len(study.robustness.corruptions) == 15
    assert study.profile is not None and len(study.profile.models) == 3


def test_the_page_has_every_section(study: Study) -> None:
    report = report_of(study)
    assert len(report.sections) == 10
    page = report.html
    for text in ("38.3", "40.0", "24.4", "13.9", "int8_wrong_range"):
        assert text in page
