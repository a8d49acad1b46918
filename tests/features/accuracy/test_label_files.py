"""Label files of other tools: numbered lines, gaps, and a background that the outputs count or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.session import Session
from tests.squares import Squares, datasets

RIGHT = 0.666

FILES = [
    ("reference", "0 red\n1 green\n2 blue\n", RIGHT, 0),
    ("reference", "0: red\n1: green\n2: blue", RIGHT, 0),
    ("reference", "background\nred\ngreen\nblue\n", RIGHT, 0),  # three classes, without the background
    ("reference", "1 red\n2 green\n3 blue\n", RIGHT, 0),
    ("background_class", "background\nred\ngreen\nblue\n", RIGHT, 1),
    ("background_class", "0 background\n1 red\n2 green\n3 blue\n", RIGHT, 1),
    ("background_class", "???\nred\ngreen\nblue\n", RIGHT, 1),
    ("end_to_end", datasets.NUMBERED_LABELS_WITH_GAPS, RIGHT, 0),
]


@pytest.mark.parametrize(("model", "text", "expected", "offset"), FILES)
def test_a_label_file_is_read_as_its_tool_means_it(
    engine: LocalEngine, squares: Squares, tmp_path: Path, model: str, text: str, expected: float, offset: int
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text(text)
    with Session(
        squares.model(model),
        engine=engine,
        cache=False,
        mean=0,
        std=255,
        labels=labels,
        dataset=squares.annotations,
        dataset_images=squares.images,
    ) as session:
        result = session.evaluate()
        (loaded,) = session.models
    assert result.models[0].ap == pytest.approx(expected, abs=0.01)
    assert loaded.settings.class_offset == offset
    assert [label for label in loaded.inspection.labels if label != "???"] == ["red", "green", "blue"]


def test_names_given_as_a_list_may_begin_with_the_background(engine: LocalEngine, squares: Squares) -> None:
    names = ["background", "red", "green", "blue"]
    with Session(squares.model("background_class"), engine=engine, cache=False, labels=names) as session:
        (model,) = session.models
    assert (model.inspection.labels, model.settings.class_offset) == (("red", "green", "blue"), 1)
    assert model.inspection.sources["class_offset"] == "labels"


def test_a_variant_without_labels_follows_the_references_offset(
    engine: LocalEngine, squares: Squares, tmp_path: Path
) -> None:
    data = squares.model("background_class").read_bytes()
    for name in ("a.tflite", "b.tflite"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "a.tflite.qviz.json").write_text('{"labels": ["background", "red", "green", "blue"]}')
    with Session(tmp_path / "a.tflite", tmp_path / "b.tflite", engine=engine, cache=False) as session:
        _, variant = session.models
    assert (variant.inspection.labels, variant.settings.class_offset) == (("red", "green", "blue"), 1)


def test_an_offset_that_is_given_stays(engine: LocalEngine, squares: Squares) -> None:
    names = ["background", "red", "green", "blue"]
    path = squares.model("background_class")
    with Session(path, engine=engine, cache=False, labels=names, class_offset=0) as session:
        (model,) = session.models
    assert model.settings.class_offset == 0
