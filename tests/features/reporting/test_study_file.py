"""A saved study opens unchanged, on another machine and without the models; other files are refused."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.engine import LocalEngine
from qviz.errors import StudyError
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.cost import profile
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.html import render
from qviz.features.reporting.sections import available
from qviz.features.reporting.study import MAX_BYTES, VERSION, Study, is_study, read_study, study_bytes
from qviz.features.reporting.text import findings, headline, next_steps
from qviz.result import encode
from qviz.store import FILE, Store
from qviz.ui import stored_results
from tests.conftest import Sample
from tests.features.reporting.study import PHOTOGRAPHS, hostile


@pytest.fixture(scope="module")
def full_study(study: Study, engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample) -> Study:
    """A study with a sweep and a cost measurement, so that every section has content."""
    models = [loaded[name] for name in ("float32", "int8", "int8_wrong_range")]
    dataset = read_coco(sample.annotations, sample.images)
    few = replace(dataset, images=tuple(image for image in dataset.images if image.name in PHOTOGRAPHS))
    swept = sweep(Context(engine), models, few, ["night"], [3])
    return replace(study, robustness=swept, profile=profile(Context(engine), models, threads=(1,), runs=3))


@pytest.fixture(scope="module")
def saved(full_study: Study) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(study_bytes(full_study))
    return document


def test_a_saved_study_gives_the_same_page(full_study: Study) -> None:
    data = study_bytes(full_study)
    again = read_study(data, "s.json")
    assert is_study(data) and len(data) < 3_000_000
    assert len(available(again)) == len(available(full_study)) == 11
    assert (headline(again), findings(again), next_steps(again)) == (
        headline(full_study),
        findings(full_study),
        next_steps(full_study),
    )
    assert render(again) == render(full_study)
    assert Study.from_json(full_study.to_json()).to_json() == full_study.to_json()
    assert study_bytes(again) == data


def test_the_server_keeps_a_study_whole(full_study: Study, tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        stored_results.save(store, "report", ("models",), full_study)
        assert encode(stored_results.load(store, "report", ("models",))) == encode(full_study)


def test_hostile_names_stay_text(full_study: Study) -> None:
    bad = hostile(replace(full_study, robustness=None, profile=None))
    assert render(read_study(study_bytes(bad), "s.json")) == render(bad)


def test_raw_detections_are_not_saved(full_study: Study) -> None:
    assert full_study.evaluation is not None and len(full_study.evaluation.results) == 3
    again = read_study(study_bytes(full_study), "s.json").evaluation
    assert again is not None and again.results == () and len(again.curves) == 3


def _put(path: str, value: Any) -> Any:
    """A function that changes one value of a saved study; None deletes it."""

    def change(study: dict[str, Any]) -> None:
        *path_to, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        container: Any = study
        for step in path_to:
            container = container[step]
        if value is None:
            del container[last]
        else:
            container[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_put("models.1.bytes", "many"), "study.models[1].bytes is 'many'; a whole number is expected"),
        (_put("models.1.bytes", True), "study.models[1].bytes is True; a whole number is expected"),
        (_put("models.0.bytes", 0), "a model has no bytes"),
        (_put("models.1.name", "float32"), "the name 'float32' is empty or belongs to several models"),
        (_put("models", []), "it has 0 models; 2 to 64 are allowed"),
        (_put("models.0.extra", 1), "study.models[0] has the unknown field 'extra'"),
        (_put("models.0.sha256", None), "study.models[0] lacks 'sha256'"),
        (_put("images.0.jpeg", "not base64!"), "study.images[0].jpeg is 'not base64!'; base64 is expected"),
        (_put("images.0.jpeg", "PHN2Zz4="), "'irish_session.jpg' is not a JPEG"),
        (_put("images.0.width", 0), "has 0 × "),
        (_put("comparison.variants", []), "it compares 0 variants, but has 2"),
        (_put("comparison.variants.0.images.0.objects.0.change", "gone"), "has the unknown change 'gone'"),
        (_put("comparison.variants.0.images.0.objects.0.reference_box", [1.0]), "its boxes do not fit that"),
        (_put("comparison.variants.0.images.0.objects.0.reference_box", ["x"] * 4), "a number is expected"),
        (_put("evaluation.losses", []), "its evaluation has other models"),
        (_put("evaluation.curves.0.shape", [9, 9]), "which do not fill the shape [9, 9]"),
        (_put("evaluation.curves.0.dtype", "object"), "an array of float32, float64, int32, int64 is expected"),
        (_put("layers", {"other": {}}), "study.layers['other'] lacks 'reference'"),
        (_put("robustness.summary.0.model", "x"), "a model that was not swept"),
        (_put("robustness.points.1", None), "its sweep has other severities for some models"),
        (_put("profile.models.0.p50_ms", -1), "is not positive"),
    ],
)  # fmt: skip
def test_a_damaged_study_is_refused_in_a_sentence(change: Any, sentence: str, saved: dict[str, Any]) -> None:
    document = copy.deepcopy(saved)
    change(document["study"])
    with pytest.raises(StudyError, match=re.escape(sentence)) as caught:
        read_study(json.dumps(document).encode(), "s.json")
    assert str(caught.value).startswith("s.json is a damaged study: ") and "--save-study" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "s.json is not JSON, so it is not a qviz study"),
        (b"\x80\x04\x95", "is not JSON"),  # a pickle's first bytes
        (b"[" * 100_000, "is not JSON"),
        (b"[1, 2]", "is not a qviz study"),
        (b'{"images": []}', "is not a qviz study"),
        (b'{"qviz_study": 99, "study": {}}', f"version 99; this qviz reads version {VERSION}"),
        (b'{"qviz_study": 1}', "study is None; an object is expected"),
        (b'{"qviz_study": 1, "study": {"name": ' + b"9" * 5000 + b"}}", "is not JSON"),
        (b" " * (MAX_BYTES + 1), "the limit for a study is 48 MB"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_files_that_are_not_studies(data: bytes, sentence: str) -> None:
    with pytest.raises(StudyError, match=re.escape(sentence)):
        read_study(data, "s.json")


ODD = ("", "x", "\ud83d", -1, 0, 10**15, 1e300, -1e-300, True, None, [], {}, [[]], "NaN")


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    """(container, key) of everything in a JSON document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(pairs):
        yield value, key
        yield from _entries(item)


def test_a_study_changed_anywhere_is_refused_or_shown(saved: dict[str, Any]) -> None:
    """Whatever `read_study` accepts, the page can show."""
    draw = random.Random(0)
    shown = 0
    for _ in range(50):
        document = copy.deepcopy(saved)
        document["study"]["evaluation"]["curves"] = []  # no page of a study shows them
        by_field: dict[Any, list[tuple[Any, Any]]] = {}
        for container, key in _entries(document["study"]):
            by_field.setdefault(key if isinstance(key, str) else "entry", []).append((container, key))
        container, key = draw.choice(
            by_field[draw.choice(sorted(by_field))]
        )  # rare fields are drawn as often as frequent ones
        container[key] = draw.choice(ODD)
        try:
            read = read_study(json.dumps(document).encode(), "s.json")
        except StudyError:
            continue
        shown += 1
        assert render(read).startswith("<!doctype html>")
    assert 0 < shown < 50
