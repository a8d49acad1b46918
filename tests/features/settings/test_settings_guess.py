"""Unknown settings are guessed from what detections confirm; known ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel
from qviz.features.settings import Confirmed, best_choice, guess_settings, unknown_settings
from qviz.structures import Settings
from tests.conftest import Sample

USUAL = Settings(channels="rgb")
OTHER = Settings(channels="bgr")


@pytest.mark.parametrize(
    ("usual", "other", "best"),
    [
        (Confirmed(10, 12), Confirmed(10.5, 12), USUAL),  # hardly better: the usual stays
        (Confirmed(10, 12), Confirmed(13, 16), OTHER),
        (Confirmed(10, 12), Confirmed(90, 200), USUAL),  # fires everywhere, and the mirror image elsewhere
        (Confirmed(0, 0), Confirmed(0, 0), USUAL),  # nothing found at all
        (Confirmed(0, 0), Confirmed(3, 4), OTHER),
    ],
)
def test_the_surest_consistent_choice_wins(usual: Confirmed, other: Confirmed, best: Settings) -> None:
    assert best_choice(USUAL, [(USUAL, usual), (OTHER, other)], 16) == best


def test_one_image_has_to_say_it_louder_than_many() -> None:
    found = [(USUAL, Confirmed(10, 12)), (OTHER, Confirmed(13, 16))]
    assert best_choice(USUAL, found, 1) == USUAL
    assert best_choice(USUAL, found, 16) == OTHER


def test_too_few_images_guess_nothing(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    model = loaded["float32"]
    sources = {**model.inspection.sources, "mean": "default", "std": "default", "channels": "default"}
    unsaid = replace(model, inspection=replace(model.inspection, sources=sources))
    assert guess_settings(engine, unsaid, list(load_images([sample.images / "hens.jpg"]))) is unsaid


def test_what_was_said_is_never_guessed(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    images = list(load_images([sample.images / "hens.jpg"]))
    assert unknown_settings(loaded["float32"]) == ()
    assert guess_settings(engine, loaded["float32"], images) is loaded["float32"]


def test_a_wrong_start_is_put_right_on_real_images(
    loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample
) -> None:
    model = loaded["float32"]
    wrong = replace(model.settings, mean=(0.0,) * 3, std=(255.0,) * 3, channels="bgr")
    sources = {**model.inspection.sources, "mean": "default", "std": "default", "channels": "default"}
    lost = replace(model, inspection=replace(model.inspection, settings=wrong, sources=sources))
    found = guess_settings(engine, lost, list(load_images([sample.images])))
    assert (found.settings.mean, found.settings.std) == (model.settings.mean, model.settings.std)
    assert found.settings.channels == "rgb"
    assert found.inspection.sources["mean"] == "guess"
