"""Recorded results in the place of a variant: the same numbers as the model that they were recorded from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.errors import ModelError
from qviz.features.reporting.studied_models import studied_models
from qviz.session import Session
from tests.conftest import Sample


def bbox(box: Any) -> list[float]:
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]


@pytest.fixture(scope="module")
def rows(sample: Sample, engine: LocalEngine) -> list[dict[str, Any]]:
    """What the int8 file detects, as a device would write it down."""
    session = Session(sample.models["int8"], dataset=sample.annotations, engine=engine, cache=False)
    (images,) = session.detect(sample.images, score=0.001).values()
    labels = session.models[0].inspection.labels
    return [
        {"file_name": name, "label": labels[int(number)], "bbox": bbox(box), "score": float(score)}
        for name, rows in images.items()
        for box, score, number in zip(rows.boxes, rows.scores, rows.class_ids, strict=True)
    ]


@pytest.fixture
def session_of(tmp_path: Path, sample: Sample, engine: LocalEngine) -> Iterator[Any]:
    def open_session(content: Any, **data: Any) -> Session:
        path = tmp_path / "phone.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return Session(sample.models["float32"], path, engine=engine, cache=False, **data)

    yield open_session


def test_comparison_and_ap_are_those_of_the_model(rows: Any, session_of: Any, sample: Sample) -> None:
    session = session_of(rows, images=sample.images, dataset=sample.annotations)
    model = Session(*(sample.models[name] for name in ("float32", "int8")), engine=session.context.engine, cache=False)
    recorded, run = session.compare().variants[0], model.compare(sample.images).variants[0]
    assert recorded.scheme == "recorded"
    assert recorded.summary.agreement == run.summary.agreement < 1
    evaluated, expected = session.evaluate(), model.evaluate(sample.annotations)
    assert evaluated.models[1].ap == pytest.approx(expected.models[1].ap, abs=1e-6)
    assert evaluated.models[0].ap == expected.models[0].ap


def test_coco_ids_are_those_of_the_annotation_file(rows: Any, session_of: Any, sample: Sample) -> None:
    content = json.loads(sample.annotations.read_text())
    ids = {Path(image["file_name"]).name: image["id"] for image in content["images"]}
    categories = {category["name"]: category["id"] for category in content["categories"]}
    numbered = [
        {"image_id": ids[row["file_name"]], "category_id": categories[row["label"]], **row}
        for row in rows
        if row["label"] in categories and row["file_name"] in ids
    ]
    plain = [{key: row[key] for key in ("image_id", "category_id", "bbox", "score")} for row in numbered]
    evaluated = session_of({"device": "phone", "results": plain}, dataset=sample.annotations).evaluate()
    named = session_of(numbered, dataset=sample.annotations).evaluate()
    assert evaluated.models[1].ap == named.models[1].ap
    assert (named.models[1].ap or 0) > 0.2


def test_what_needs_a_network_is_refused_in_one_sentence(rows: Any, session_of: Any, sample: Sample) -> None:
    session = session_of(rows, images=sample.images / "hens.jpg")
    for analysis in (session.layers, session.trace, session.what_if):
        with pytest.raises(ModelError, match=r"phone.json holds recorded results, which have no network to look into"):
            analysis()
    with pytest.raises(qviz.QvizError, match="recorded results"):
        session.robustness(images=sample.images / "hens.jpg", corruptions=["gamma_dark"], severities=[3])


def test_a_study_says_that_they_have_no_network(rows: Any, session_of: Any) -> None:
    """They have no weights, and so no bits: a report listed `0-bit weights`."""
    session = session_of(rows)
    (_, recorded) = studied_models(session.context, session.models)
    assert recorded.facts == ("recorded results, no network",)


def test_images_without_results_are_named(session_of: Any, sample: Sample) -> None:
    row = {"file_name": "x/hens.jpg", "label": "bird", "bbox": [1, 2, 30, 40], "score": 0.5}
    session = session_of([row], images=sample.images)
    (warning,) = [w for w in session.compare().warnings if w.code == "recorded_results"]
    assert "phone.json has no results for" in warning.message
    with pytest.raises(ModelError, match=r"phone.json has results for none of the images .*; it names a.jpg"):
        session_of([{**row, "file_name": "a.jpg"}], images=sample.images / "hens.jpg").compare()


GOOD = {"file_name": "a.jpg", "label": "person", "bbox": [1, 2, 3, 4], "score": 0.5}
BAD = [
    ("[{", "is not valid JSON"),
    ("[" * 100_000, "is not valid JSON"),
    ('[{"bbox": 1}, 7]', "has neither file_name nor image_id in result 0"),
    (json.dumps([GOOD, 7]), "has a result 1 that is not a JSON object"),
    (json.dumps([{**GOOD, "bbox": [1, 2, 3]}]), "has no bbox of four numbers in result 0"),
    (json.dumps([{**GOOD, "bbox": [1, 2, -3, 4]}]), "has a bbox of negative size in result 0"),
    (json.dumps([{**GOOD, "bbox": [1, 2, float("nan"), 4]}]), "has no bbox of four numbers"),
    (json.dumps([{**GOOD, "bbox": [1, 2, 1e300, 4]}]), "has no bbox of four numbers"),
    (json.dumps([{**GOOD, "score": 1.5}]), "has no score between 0 and 1 in result 0"),
    (json.dumps([{**GOOD, "score": "0.5"}]), "has no score between 0 and 1"),
    (json.dumps([{**GOOD, "label": "x" * 1000}]), "has neither label nor category_id in result 0"),
    (json.dumps([{**GOOD, "file_name": {"a": 1}}]), "has neither file_name nor image_id"),
    (json.dumps([{**GOOD, "image_id": 10**400, "file_name": None}]), "has neither file_name nor image_id"),
    (json.dumps({"results": {}}), "does not hold a list of results"),
    ("[]", "holds no results and names no images; expected ["),
    (json.dumps({"results": [], "images": []}), "holds no results and names no images"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD, ids=range(len(BAD)))
def test_other_content_is_refused(content: str, sentence: str) -> None:
    from qviz.datasets.recorded_results import is_recorded, read_results

    assert is_recorded(content.encode()) or content.startswith("[" * 9)
    with pytest.raises(ModelError) as caught:
        read_results(content.encode())
    assert str(caught.value).startswith(sentence)


def test_names_of_images() -> None:
    from qviz.datasets.recorded_results import ResultIndex

    index = ResultIndex(["sub/a.jpg", "other/b.jpg", "more/b.jpg", "c", 139, "ü.png"])
    assert [index.find(name) for name in ("a.jpg", "x/a.png", "b.jpg", "more/b.jpg")] == [
        "sub/a.jpg",
        "sub/a.jpg",
        None,
        "more/b.jpg",
    ]
    assert [index.find(name) for name in ("c.jpg", "000000000139.jpg", "v_139.png", "140.jpg")] == ["c", 139, 139, None]


def test_a_class_that_the_reference_lacks_has_a_number_of_its_own() -> None:
    from qviz.features.detection.recorded import joined_labels

    assert joined_labels(("person", "airplane"), ("unicorn", "aeroplane")) == ("person", "airplane", "unicorn")
    assert np.array(joined_labels((), ("a",))).tolist() == ["a"]
