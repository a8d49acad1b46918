"""Unknown settings are guessed from what detections confirm; known ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.context import Context
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
        (Confirmed(10, 12), Confirmed(10.5, 12), USUAL),  # hardly better: the default stays
        (Confirmed(10, 12), Confirmed(13, 16), OTHER),
        (Confirmed(10, 12), Confirmed(90, 200), USUAL),  # finds objects everywhere, elsewhere in the mirror image
        (Confirmed(0, 0), Confirmed(0, 0), USUAL),  # nothing found at all
        (Confirmed(0, 0), Confirmed(3, 4), OTHER),
    ],
)
def test_the_most_confident_consistent_choice_wins(usual: Confirmed, other: Confirmed, best: Settings) -> None:
    assert best_choice(USUAL, [(USUAL, usual), (OTHER, other)], 16) == best


def test_with_fewer_images_the_margin_is_larger() -> None:
    results = [(USUAL, Confirmed(10, 12)), (OTHER, Confirmed(13, 16))]
    assert best_choice(USUAL, results, 1) == USUAL
    assert best_choice(USUAL, results, 16) == OTHER


def test_too_few_images_guess_nothing(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    model = loaded["float32"]
    sources = {**model.inspection.sources, "mean": "default", "std": "default", "channels": "default"}
    unknown = replace(model, inspection=replace(model.inspection, sources=sources))
    assert guess_settings(Context(engine), unknown, list(load_images([sample.images / "hens.jpg"]))) is unknown


def test_given_settings_are_not_guessed(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    images = list(load_images([sample.images / "hens.jpg"]))
    assert unknown_settings(loaded["float32"]) == ()
    assert guess_settings(Context(engine), loaded["float32"], images) is loaded["float32"]


def test_wrong_defaults_are_corrected_on_real_images(
    loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample
) -> None:
    model = loaded["float32"]
    wrong = replace(model.settings, mean=(0.0,) * 3, std=(255.0,) * 3, channels="bgr")
    sources = {**model.inspection.sources, "mean": "default", "std": "default", "channels": "default"}
    lost = replace(model, inspection=replace(model.inspection, settings=wrong, sources=sources))
    guessed = guess_settings(Context(engine), lost, list(load_images([sample.images])))
    assert (guessed.settings.mean, guessed.settings.std) == (model.settings.mean, model.settings.std)
    assert guessed.settings.channels == "rgb"
    assert guessed.inspection.sources["mean"] == "guess"
