"""Units, their costs, sets of units, and the verdict."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from qviz.features.building.calibration import DEFAULT_METHOD, Calibration
from qviz.features.building.recipes import RECIPES
from qviz.features.rescuing.result import AP, Budget, Candidate, Chosen, ImageCounts, ReferenceFile, Rescue, Tried
from qviz.features.rescuing.sets import Ranked, Sets, bytes_of, units_of, work_of
from qviz.features.rescuing.text import verdict
from qviz.features.what_if.sets import greedy, lengths, stretches
from qviz.result import decode, encode
from qviz.structures import Loss
from qviz.tflite.schema import read_graph
from tests.features.layer_error.small_detector import CHANNELS, SHAPES, small_detector

GRAPH = read_graph(small_detector())
ONE, TWO, THREE = (frozenset({order}) for order in (1, 2, 3))


def test_a_unit_is_a_weighted_operator_and_its_followers() -> None:
    units = units_of(GRAPH, RECIPES["int8"])
    assert [sorted(unit) for unit in units] == [[0], [1], [2], [3], [4, 5], [6, 7], [8, 9, 10]]
    assert [sorted(unit) for unit in units_of(GRAPH, RECIPES["dynamic_range"])] == [[0], [1], [2], [3], [4], [6], [8]]


def test_bytes_and_work_of_a_unit() -> None:
    weights = math.prod((CHANNELS[3], *([SHAPES[2][0]] * 2), CHANNELS[2]))
    assert bytes_of(GRAPH, RECIPES["int8"], {2}) == 3 * weights
    assert bytes_of(GRAPH, RECIPES["dynamic_range_int4"], {2}) == 3.5 * weights
    assert bytes_of(GRAPH, RECIPES["int8"], {5, 10}) == 0
    assert work_of(GRAPH, {2}) == 8 * 8 * weights  # an 8x8 map after strides of 4 and 2


def test_sets_grow() -> None:
    assert lengths(13) == [1, 2, 3, 4, 6, 8, 12]
    sets = stretches([ONE, TWO, THREE])
    assert sets["prefix"] == [ONE, ONE | TWO] and sets["suffix"] == [THREE, TWO | THREE]
    gains, costs = {ONE: 0.1, TWO: 0.3, THREE: -0.1}, {ONE: 10.0, TWO: 100.0, THREE: 1.0}
    assert greedy(gains, costs) == [ONE, ONE | TWO]  # best gain per byte first; units that lose are omitted


def test_sets_are_restored_from_a_journal() -> None:
    sets = Sets((Ranked((1, 2), "prefix", 12.0, 0.5),), 0.1, 0.9, ((1, 0.2),))
    assert decode(Sets, json.loads(json.dumps(encode(sets))), "sets") == sets


COMMANDS = [
    (Candidate("float16"), "qviz quantize a.tflite --recipe float16 -o b.tflite"),
    (
        Candidate("int8", "octav", "percentile", (1, 2, 3, 7)),
        "qviz quantize a.tflite --recipe int8 --algorithm octav --keep-operators 1-3,7 --ranges percentile"
        " --calibration 'my photographs' -o b.tflite",
    ),
    (
        Candidate("dynamic_range", "gptq"),
        "qviz quantize a.tflite --recipe dynamic_range --algorithm gptq --calibration 'my photographs' -o b.tflite",
    ),
]


@pytest.mark.parametrize(("candidate", "expected"), COMMANDS)
def test_commands(candidate: Candidate, expected: str) -> None:
    assert candidate.command("a.tflite", ["my photographs"], "b.tflite") == expected


BEST = Tried(Candidate("int8", float_operators=(3,)), "layer", 1_000_000, "mixed", "d1", 0.3, 0.95, 0.004, within=True)
RESULT = Rescue(
    ReferenceFile("a.tflite", "d0", 4_000_000), Budget(AP, 0.005), "size", ImageCounts(20, 20), (BEST,), BEST
)


def sentence_of(low: float, value: float, high: float) -> str:
    chosen = Chosen(BEST, Loss(value, low, high), value <= 0.005, 20, 0.3, 0.3, 0.95)
    return verdict(replace(RESULT, chosen=chosen))


VERDICTS = [
    (
        (-0.01, -0.002, 0.004),
        "is within the budget: 1.00 MB, 25% of the reference, a loss of -0.2 [-1.0, 0.4] AP points",
    ),
    (
        (-0.01, 0.0, 0.02),
        "; the interval includes losses above the budget (at most 0.5 AP points below the",
    ),
    ((0.01, 0.02, 0.03), "is within the budget on 20 search images: "),
    ((0.01, 0.02, 0.03), "which exceeds the budget (at most 0.5 AP points below the reference)."),
]


@pytest.mark.parametrize(("loss", "sentence"), VERDICTS)
def test_the_verdict(loss: tuple[float, float, float], sentence: str) -> None:
    assert sentence in sentence_of(*loss)


def test_the_verdict_of_a_running_search() -> None:
    assert verdict(RESULT).endswith("a loss of +0.4 AP points, agreement 0.95 on 20 search images.")


def test_the_recipe_holds_the_ranges_as_a_calibration() -> None:
    ranges = Calibration({"x": (0.0, 1.0)}, 6, "minmax", "d0")
    document = replace(RESULT, ranges={DEFAULT_METHOD: ranges}).recipe_json(BEST, "b.tflite", "qviz quantize ...")
    assert Calibration.from_json(document, "recipe") == ranges
    assert (document["keep_operators"], document["report"], document["file"]["sha256"]) == ("3", None, "d1")
