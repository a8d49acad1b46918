"""Where neither model has an object, agreement is unknown: None, null and a dash, but never 1."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.cli.output import print_table
from qviz.context import Context
from qviz.datasets.files import unannotated_images
from qviz.engine import LocalEngine
from qviz.features.accuracy.evaluator import Evaluator, mean_loss
from qviz.features.comparison import Comparison
from qviz.features.comparison.matching import Summary, agreement, agreement_of, summarise, worst_first
from qviz.features.comparison.panel_overview import NO_OBJECT, model_damage
from qviz.features.comparison.plot import figure
from qviz.features.comparison.text import damage_level, damage_verdict, image_verdict, level, verdict
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from tests.squares import Squares

NO_OBJECTS = summarise([], [])


@pytest.fixture(scope="module")
def black(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Images without anything on them."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("black")
    paths = [folder / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((64, 64, 3), number, np.uint8)).save(path)
    return paths


@pytest.fixture(scope="module")
def compared(squares: Squares, black: list[Path]) -> Comparison:
    models = squares.model("reference", "float32"), squares.model("reference", "int8")
    with qviz.open(*models, images=black, mean=0, std=255, cache=False) as session:
        return session.compare()


def test_a_comparison_of_black_images(compared: Comparison) -> None:
    (variant,) = compared.variants
    assert (variant.summary, [image.summary.agreement for image in variant.images]) == (NO_OBJECTS, [None] * 3)
    assert compared.to_json()["variants"][0]["summary"]["agreement"] is None
    assert json.dumps(compared.to_json(), allow_nan=False)
    assert "Neither" in verdict(compared) and "finds an object at this confidence" in verdict(compared)
    assert "1.00" not in str(compared)
    assert figure(compared).data == ()


def test_a_measurement_of_black_images(loaded: dict[str, LoadedModel], engine: LocalEngine, black: list[Path]) -> None:
    images = [EncodedImage(path.name, path.read_bytes()) for path in black]
    models = [loaded["float32"], loaded["int8"]]
    evaluator = Evaluator(Context(engine), models, unannotated_images("black", images))
    first, second = (evaluator.measure(Context(engine), model).result() for model in models)
    assert (first.agreement, second.agreement, first.value, second.value) == (None,) * 4
    assert np.isnan(first.draws).all()
    assert mean_loss([first], [second], 3).value is None
    result = sweep(Context(engine), models, unannotated_images("black", images), ["night"], [1])
    assert [point.agreement for point in result.points] == [None] * 4
    assert [(row.p, row.mpc, row.rpc) for row in result.summary] == [(None, None, None)] * 2
    assert [row.value for row in result.interactions] == [None]
    assert json.dumps(result.to_json(), allow_nan=False)


COUNTS = [
    ([[0, 0], [0, 0]], None),
    ([], None),
    ([[0, 1]], 0.0),
    ([[1, 2], [0, 0]], 1.0),
    ([[1, 4], [0, 0]], 0.5),
]


@pytest.mark.parametrize(("counts", "expected"), COUNTS)
def test_agreement_of_counts(counts: list[list[int]], expected: float | None) -> None:
    assert agreement_of(np.array(counts).reshape(-1, 2)) == expected


def test_a_resample_without_objects_is_left_out() -> None:
    values = agreement(np.array([[1, 4], [0, 0]]), np.array([[1, 1], [0, 3]]))
    assert values[0] == 0.5 and math.isnan(values[1])


def test_unknown_is_sorted_behind_every_known_agreement() -> None:
    assert sorted([None, 0.4, 1.0, 0.0], key=worst_first) == [0.0, 0.4, 1.0, None]
    kept, spurious = Summary(1, 0, 0, 0, 0, 1.0, 0.0), Summary(0, 0, 0, 0, 2, 0.0, None)
    text = damage_verdict("FP32", {"empty": NO_OBJECTS, "good": kept, "bad": spurious}, 3)
    assert text.startswith("bad is broken: 2 spurious objects; the reference finds none")
    assert text.endswith("empty finds nothing either.")


def test_no_word_and_no_colour_without_an_object() -> None:
    assert (level(None), damage_level(NO_OBJECTS)) == ("", "none")
    assert "no object at this confidence, as in the reference" in image_verdict("int8", NO_OBJECTS)
    html = model_damage(NO_OBJECTS, 3)
    assert "–" in html and NO_OBJECT in html and "level" not in html and "unchanged" not in html


def test_nothing_is_judged_before_an_image_ran() -> None:
    html = model_damage(NO_OBJECTS, 0)
    assert "–" in html and "no image has been run yet" in html and "level" not in html
    assert damage_verdict("FP32", {"int8": NO_OBJECTS}, 0) == "No image has been run yet."


def test_the_table_has_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(["variant", "agreement"], [["int8", None]])
    assert capsys.readouterr().out.splitlines()[1].split() == ["int8", "–"]
