"""The Accuracy page, `qviz evaluate` and the report show the same figures in the same notation."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace

import pytest
from streamlit.testing.v1 import AppTest

from qviz.cli import main
from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import unannotated
from qviz.engine import LocalEngine
from qviz.errors import StudyError
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import diagnose
from qviz.features.reporting import report as make_report
from qviz.features.reporting.study import Diagnosed, Study, study_bytes
from qviz.features.reporting.text import findings, headline, next_steps
from qviz.features.reporting.work import make_study
from qviz.formatting import interval, points, signed_points
from tests.conftest import ROOT, Sample
from tests.features.reporting.study import PHOTOGRAPHS
from tests.features.reporting.test_report import ParsedPage

NAMES = ("float32", "int8_wrong_range")
TIMEOUT = 180


def page_of_accuracy(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    """The page after its evaluation of two models on all photographs of the sample."""
    monkeypatch.setenv("QVIZ_OPEN", json.dumps({"models": [str(sample.models[n]) for n in NAMES], "images": []}))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=TIMEOUT).run()
    app.file_uploader[0].upload("annotations.json", sample.annotations.read_bytes()).run()
    app.switch_page("pages/accuracy.py").run()
    end = time.monotonic() + TIMEOUT
    while not app.dataframe and time.monotonic() < end:
        time.sleep(0.5)
        app.run()
    assert not app.exception and not app.error
    return app


def command_line(sample: Sample, capsys: pytest.CaptureFixture[str]) -> str:
    models = [str(sample.models[name]) for name in NAMES]
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *models, "--dataset", str(sample.annotations), "--images", str(sample.images)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_page_command_line_and_report_agree(
    sample: Sample,
    engine: LocalEngine,
    loaded: dict[str, LoadedModel],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models = [loaded[name] for name in NAMES]
    dataset = read_coco(sample.annotations, sample.images)
    sections = ["verdict", "models", "accuracy", "classes", "images"]
    report = make_report(Context(engine), models, dataset, sections=sections)
    shown = ParsedPage(report.html).shown
    study = report.study
    assert study.evaluation is not None
    (loss,) = study.losses.values()
    app = page_of_accuracy(sample, monkeypatch)
    printed = command_line(sample, capsys)

    table = app.dataframe[0].value
    for row, figures in enumerate(study.evaluation.models):
        cells = table.iloc[row]
        assert [points(cells[name] / 100) for name in ("AP", "AP50", "AP75", "small", "medium", "large", "AR")] == [
            points(value) for value in figures.figures()
        ]
        for value in figures.figures():
            assert points(value) in shown and points(value) in printed
    bounds = interval(loss.ap.low, loss.ap.high)
    assert table["interval"].iloc[1] == bounds
    assert signed_points(table["loss"].iloc[1] / 100) == signed_points(loss.ap.value)
    for text in (signed_points(loss.ap.value), bounds):
        assert text in shown and text in printed
    sentences = [text for element in app.get("html") for text in re.split("<[^>]+>", element.proto.body)]
    assert headline(study) in sentences
    assert headline(study) in shown


def test_a_report_names_the_causes_of_the_diagnosis(
    engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample
) -> None:
    reference, variant = loaded["float32"], loaded["int8_wrong_range"]
    images = unannotated(sample.images, [sample.images / name for name in PHOTOGRAPHS[:2]]).images
    context = Context(engine)
    diagnosis = diagnose(context, reference, variant, [image.encoded() for image in images])
    study = make_study(context, [reference, variant], images, diagnoses={variant.digest: diagnosis})
    again = Study.from_json(json.loads(study_bytes(study)))
    (name,) = (model.name for model in again.variants)
    assert again.diagnoses[name].causes == diagnosis.causes and again.diagnoses == study.diagnoses
    assert study.experiments[name] is diagnosis.experiment, "it is not measured again"
    (finding,) = findings(again)
    assert finding.layer.startswith(diagnosis.causes[0].sentence) and "on 2 images" in finding.layer
    step = next(step for step in next_steps(again) if step.reason == finding.layer)
    assert step.cure == diagnosis.cures[0].sentence and "--fix" in step.command
    with pytest.raises(StudyError, match="no cause"):
        Study.from_json(replace(study, diagnoses={name: Diagnosed(2, (), "")}).to_json())
