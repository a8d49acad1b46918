"""Results of info, detect and compare in Python: sentence, table, chart and JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.result import Result
from qviz.session import Session
from tests.conftest import Sample


@pytest.fixture(scope="module")
def session(loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine) -> Session:
    models = loaded["float32"], loaded["int8"]
    return Session(*models, images=sample.images / "hens.jpg", engine=engine, cache=False)


@pytest.mark.parametrize("name", ["info", "detect", "compare"])
def test_repr_html_and_plot_of_results(name: str, session: Session, tmp_path: Path) -> None:
    result: Result = getattr(session, name)()
    assert len(repr(result)) <= 500
    assert str(result).endswith(".")
    assert json.loads(json.dumps(result.to_json(), allow_nan=False)) == result.to_json()
    assert len(result.to_frame()) and "<table" in result._repr_html_()
    assert len(result.plot().data)
    assert result.save(tmp_path / "result.csv").read_text().count("\n") == len(result.to_frame()) + 1


def test_models_and_inspections_have_a_short_repr(session: Session) -> None:
    long = replace(session.models[0], model=replace(session.models[0].model, name="n" * 1000))
    for value in (session.models[0], long, session.models[0].inspection, session):
        assert len(repr(value)) <= 500


def test_detections_by_model_and_image(session: Session) -> None:
    result = session.detect(score=0.5)
    assert list(result) == [model.name for model in session.models]
    detections = result[session.models[1].name]["hens.jpg"]
    assert len(detections) > 1 and detections.scores.min() >= 0.5
    rows = [image for image in result.to_json()["images"] if image["model"] == session.models[1].name]
    assert [row["score"] for row in rows[0]["detections"]] == detections.scores.tolist()
    with pytest.raises(KeyError):
        result["nobody"]


def test_models_with_equal_names_are_numbered(
    loaded: dict[str, LoadedModel], sample: Sample, engine: LocalEngine
) -> None:
    session = Session(
        loaded["float32"], loaded["float32"], images=sample.images / "hens.jpg", engine=engine, cache=False
    )
    name = loaded["float32"].name
    assert list(session.detect()) == [name, f"{name} (2)"]
    assert session.compare().variants[0].name == f"{name} (2)"


def test_a_variant_is_chosen_by_name_part_or_number(loaded: dict[str, LoadedModel], engine: LocalEngine) -> None:
    keys = ("float32", "int8", "float16", "int8_wrong_range")
    session = Session(*(loaded[key] for key in keys), engine=engine, cache=False)
    for name in (loaded["int8"].name, "int8", 1):  # int8 is also a part of the last one's name
        assert session.variant(name).digest == loaded["int8"].digest
    for name, sentence in ((None, "3 variants are open"), ("tflite", "fits 3 variants"), (4, "No variant is called 4")):
        with pytest.raises(SettingsError, match=sentence):
            session.variant(name)
    with pytest.raises(SettingsError, match="Only the reference is open"):
        Session(loaded["float32"], engine=engine, cache=False).variant()
