"""Where a model has nothing left to lose, an interaction is marked; the headline says first what fails where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.features.accuracy.evaluator import Measurement
from qviz.features.corruption_sweep import RobustnessReport
from qviz.features.corruption_sweep.cli import FLOOR_NOTE, _show
from qviz.features.corruption_sweep.plot import interaction_heat
from qviz.features.corruption_sweep.result import CLEAN, Interaction, Measured, Robustness
from qviz.features.corruption_sweep.text import verdict

IMAGES = 24


def measurement(ap: float, left: float | None) -> Measurement:
    """left: share of its own objects that the model still finds."""
    noise = np.random.default_rng(int(1000 * ap)).normal(0, 0.002, 200)
    return Measurement(ap, ap + noise, None, np.full(200, np.nan), 0.5, left, 0.0)


Curve = list[tuple[float, float | None]]


def sweep(corruptions: dict[str, tuple[Curve, ...]], clean: tuple[float, ...], names: str = "ab") -> Robustness:
    """Curves of (AP, share of objects still found) by severity, of every model under every corruption."""
    severities = tuple(range(1, 1 + len(next(iter(corruptions.values()))[0])))
    rows = {(name, CLEAN, 0): measurement(ap, 1.0) for name, ap in zip(names, clean, strict=True)}
    for corruption, curves in corruptions.items():
        for name, curve in zip(names, curves, strict=True):
            rows |= {(name, corruption, s): measurement(*point) for s, point in zip(severities, curve, strict=True)}
    measured = Measured(rows, tuple(names), tuple(corruptions), severities, IMAGES)
    return Robustness(
        "d", IMAGES, True, tuple(names), tuple(corruptions), severities, tuple(measured.points()),
        tuple(measured.summaries()), tuple(measured.interactions()), tuple(measured.breaking_points()),
    )  # fmt: skip


STEADY: Curve = [(0.40, 0.95), (0.38, 0.9), (0.36, 0.85)]
DARK: Curve = [(0.0, 0.0), (0.0, 0.0), (0.0, 0.0)]
FLOORS = [
    # clean of both, curves of both -> floor, at least
    ((0.40, 0.20), STEADY, DARK, False, True),  # falls by 20, the reference by 2: a loss of at least that
    ((0.40, 0.05), [(0.2, 0.5)] * 3, DARK, True, False),  # -15: it had only 5 to lose
    ((0.40, 0.0), [(0.2, 0.5)] * 3, DARK, True, False),  # had nothing from the beginning
    ((0.20, 0.40), DARK, DARK, True, False),  # +20: the reference had only 20 to lose
    ((0.40, 0.40), DARK, DARK, True, False),  # both at the floor
    ((0.40, 0.38), STEADY, STEADY, False, False),
    ((0.40, 0.20), [(0.1, 0.3)] * 3, [(0.15, 0.7)] * 3, False, False),  # holds where the reference does not
    ((0.40, 0.20), STEADY, [(0.2, 1.0), (0.2, 1.0), (0.005, 0.0)], False, True),  # at the floor at one severity
]


@pytest.mark.parametrize(("clean", "reference", "variant", "floor", "at_least"), FLOORS)
def test_interactions_at_a_floor(
    clean: tuple[float, float], reference: Curve, variant: Curve, floor: bool, at_least: bool
) -> None:
    (row,) = sweep({"night": (reference, variant)}, clean).interactions
    assert (row.floor, row.at_least) == (floor, at_least)
    if floor:
        assert row.significant is False


def test_a_cell_at_the_floor_has_no_colour_and_says_so() -> None:
    result = sweep({"night": ([(0.2, 0.5)] * 3, DARK), "haze": (STEADY, DARK)}, (0.40, 0.05))
    heat, texts = interaction_heat(result, {"a": "a", "b": "b"}).data
    assert list(texts.text) == [cell for row in heat.text for cell in row] and texts.textfont.color is None
    cells = {label: (z[0], text[0]) for label, z, text in zip(heat.y, heat.z, heat.text, strict=True)}
    assert cells["Night"][0] == 0 and cells["Night"][1].endswith(" (floor)")
    assert cells["Haze"][1].startswith("≥ +") and cells["Haze"][0] > 0


def test_the_table_marks_the_floor(capsys: pytest.CaptureFixture[str]) -> None:
    _show(RobustnessReport(sweep({"night": ([(0.2, 0.5)] * 3, DARK)}, (0.40, 0.05)), {}, {}))
    printed = capsys.readouterr().out
    assert "(floor)" in printed and FLOOR_NOTE in printed
    _show(RobustnessReport(sweep({"night": (STEADY, STEADY)}, (0.40, 0.40)), {}, {}))
    assert "(floor)" not in capsys.readouterr().out


def test_a_floor_is_never_the_headline_or_an_improvement() -> None:
    result = sweep({"glare": ([(0.2, 0.5)] * 3, DARK), "haze": (STEADY, STEADY)}, (0.40, 0.05))
    glare = result.interaction("b", "glare")
    assert glare is not None and (glare.value or 0) < -0.1
    text = verdict(result)
    assert text.startswith("Under glare b finds nothing from severity 1 on. a still finds 50% of its own under glare")
    assert "better" not in text and "costs" not in text


HEADLINES = [
    # corruptions -> the beginning of the headline
    ({"night": (STEADY, DARK)}, "At night b finds nothing from severity 1 on. a still finds 95% of its own at night"),
    (
        {"haze": (STEADY, [(0.3, 0.8), *DARK[1:]]), "night": (STEADY, DARK)},
        "At night b finds nothing from severity 1 on, under haze from 2 on.",
    ),
    ({"night": (STEADY, [(0.1, 0.3), (0.02, 0.04), (0.0, 0.0)])}, "At night b finds next to nothing (4% of its"),
    (
        {"night": (STEADY, [(0.1, 0.2), (0.05, 0.1), (0.0, 0.0)])},
        "At night b finds nothing from severity 3 on (half of its objects are gone at 0.6). a still finds 85% of",
    ),
    # it recovers, so it does not fail from there on
    (
        {"night": (STEADY, [(0.0, 0.0), (0.3, 0.8), (0.3, 0.8)])},
        "At night b has lost half of its objects at severity 0.5",
    ),
    # the reference fails as well: this is not due to the variant
    ({"night": (DARK, DARK)}, "No variant loses significantly more than a under night."),
    ({"night": (STEADY, STEADY)}, "No variant loses significantly more than a under night. a keeps"),
    (
        {"night": (STEADY, [(0.39, 0.9), (0.3, 0.45), (0.3, 0.4)])},
        "At night b has lost half of its objects at severity 1.9, a",
    ),
]


@pytest.mark.parametrize(("corruptions", "opening"), HEADLINES)
def test_the_headline_says_first_what_fails_in_which_light(
    corruptions: dict[str, tuple[Curve, ...]], opening: str
) -> None:
    assert verdict(sweep(corruptions, (0.40, 0.40))).startswith(opening)


def test_several_failing_variants() -> None:
    late: Curve = [(0.3, 0.8), (0.3, 0.8), (0.0, 0.0)]
    result = sweep({"night": (STEADY, late, DARK, DARK)}, (0.4,) * 4, "abcd")
    text = verdict(result, {"c": "third"})
    assert text.startswith("At night third finds nothing from severity 1 on.")
    assert "At night d finds nothing from severity 1 on." in text
    assert "1 other variant fails early too." in text


def test_a_variant_without_any_object() -> None:
    result = sweep({"night": (STEADY, [(0.0, None)] * 3)}, (0.4, 0.0))
    points = tuple(
        replace(row, still_found=None) if (row.model, row.corruption) == ("b", CLEAN) else row for row in result.points
    )
    assert verdict(replace(result, points=points)).startswith("b finds nothing even without corruption.")


def test_a_share_of_next_to_nothing_is_unknown() -> None:
    result = sweep({"night": (STEADY, [(0.005, 0.5)] * 3)}, (0.4, 0.005))
    assert [row.rpc is None for row in result.summary] == [False, True]


def test_an_older_interaction_has_no_mark() -> None:
    row = Interaction("b", "night", 0.1, 0.0, 0.2, False)
    assert (row.floor, row.at_least) == (False, False)
