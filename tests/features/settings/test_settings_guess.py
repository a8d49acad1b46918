"""Unknown settings are guessed from consistent detections; known ones are not changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel, follow
from qviz.features.inspection.lint import assumed_settings
from qviz.features.settings import Trial, best_trial, fitting_choices, guess_settings, unknown_settings
from qviz.features.settings.trials import hopeful
from qviz.structures import Settings
from tests.conftest import Sample

USUAL = Settings(channels="rgb")
OTHER = Settings(channels="bgr")


def trial(
    settings: Settings, confirmed: float, total: float, count: float = 3, images: int = 16, repeated: float = 0
) -> Trial:
    """Sums over all images, spread evenly; count: of objects per image."""
    each = np.full(images, 1 / images)
    return Trial(settings, confirmed * each, total * each, np.full(images, count), repeated * each)


@pytest.mark.parametrize(
    ("usual", "other", "best"),
    [
        ((10, 12), (10.5, 12), USUAL),  # hardly better: the default is used
        ((10, 12), (13, 16), OTHER),
        ((10, 12), (90, 200), USUAL),  # detects objects everywhere, elsewhere in the mirror image
        ((10, 12), (1600, 1600, 100), USUAL),  # detects objects everywhere, and in the mirror image too
        ((10, 12), (160, 160, 20), USUAL),  # as many objects as the file can give, in every image
        ((10, 17), (9, 12), None),  # just not plausible, and no other choice confirms more
        ((0, 0), (0, 0), None),  # nothing detected at all
        ((0, 0), (3, 4), OTHER),
    ],
)
def test_the_most_confident_consistent_choice_wins(
    usual: tuple[float, ...], other: tuple[float, ...], best: Settings | None
) -> None:
    result = best_trial([trial(USUAL, *usual), trial(OTHER, *other)], [USUAL, OTHER])
    assert (result and result.settings) == best


def test_fewer_images_require_a_larger_margin() -> None:
    for images, best in ((1, USUAL), (16, OTHER)):
        trials = [trial(USUAL, 10, 12, images=images), trial(OTHER, 13, 16, images=images)]
        result = best_trial(trials, [USUAL, OTHER])
        assert result is not None and result.settings == best


def test_a_choice_that_a_single_image_decides_is_not_taken() -> None:
    usual, other = trial(USUAL, 10, 12), trial(OTHER, 8, 9)
    confirmed = other.confirmed.copy()
    confirmed[0] += 6  # one image of 16 with many objects
    other = replace(other, confirmed=confirmed, total=confirmed)
    result = best_trial([usual, other], [USUAL, OTHER])
    assert result is not None and result.settings == USUAL


def test_a_choice_that_finds_the_same_in_every_image_is_not_taken() -> None:
    other = trial(OTHER, 90, 100, 8, repeated=95)
    for usual, best in ((trial(USUAL, 10, 12), USUAL), (trial(USUAL, 10, 12, repeated=11), OTHER)):  # fixed camera
        result = best_trial([usual, other], [USUAL, OTHER])
        assert result is not None and result.settings == best


def test_evidence_excludes_a_choice_that_detects_more() -> None:
    trials = [trial(USUAL, 10, 12), trial(OTHER, 15, 16)]
    result = best_trial(trials, [USUAL])
    assert result is not None and result.settings == USUAL


def test_evidence_of_a_file_with_a_wrong_range_does_not_count() -> None:
    trials = [trial(USUAL, 2, 3), trial(OTHER, 15, 16)]
    result = best_trial(trials, [USUAL])
    assert result is not None and result.settings == OTHER


@pytest.mark.parametrize(
    ("usual", "other", "remaining"),
    [
        ((10, 12), (9, 12), [USUAL, OTHER]),
        ((10, 12), (8, 12), [USUAL]),  # it would have to confirm 10 % more than the default on all images
        ((10, 20), (8, 12), [USUAL, OTHER]),  # the default is not plausible
        ((3, 20), (10, 12), [USUAL, OTHER]),  # the default always remains
        ((10, 12), (40, 110), [USUAL]),  # detects objects everywhere, elsewhere in the mirror image
        ((2, 2), (0.5, 1), [USUAL, OTHER]),  # too few objects on these images to rule anything out
    ],
)
def test_only_choices_that_may_win_run_on_all_images(
    usual: tuple[float, float], other: tuple[float, float], remaining: list[Settings]
) -> None:
    trials = [trial(USUAL, *usual, images=4), trial(OTHER, *other, images=4)]
    assert hopeful(trials, [USUAL, OTHER]) == remaining
    assert hopeful(trials, [OTHER]) == [USUAL, OTHER]  # the best choice that fits the evidence remains, too


def test_no_guess_with_too_few_images(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    model = loaded["float32"]
    unknown = without_settings(model)
    assert guess_settings(Context(engine), unknown, list(load_images([sample.images / "hens.jpg"]))) is unknown


def without_settings(model: LoadedModel, **settings: object) -> LoadedModel:
    """The model as if its preparation had only the head's defaults."""
    sources = {**model.inspection.sources, "mean": "default", "std": "default", "channels": "default"}
    inspection = replace(model.inspection, settings=replace(model.settings, **settings), sources=sources)  # type: ignore[arg-type]
    return replace(model, inspection=inspection)


NORMALISED = Settings(mean=(0.0,) * 3, std=(255.0,) * 3)
CENTRED = Settings(mean=(127.5,) * 3, std=(127.5,) * 3)
RAW = Settings(mean=(0.0,) * 3, std=(1.0,) * 3)


def test_the_input_range_of_a_variant_decides_a_normalisation(loaded: dict[str, LoadedModel]) -> None:
    choices = [NORMALISED, CENTRED, RAW]
    assert fitting_choices(choices, [loaded["float32"], loaded["int8"]]) == ([CENTRED], loaded["int8"])
    assert fitting_choices(choices, [loaded["float32"]]) == (choices, None)  # it has no range
    fitting, witness = fitting_choices(choices, [loaded["int8"], loaded["int8_wrong_range"]])
    assert CENTRED in fitting and witness in (None, loaded["int8"])


def test_without_images_a_variants_input_range_decides(
    loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample
) -> None:
    unknown = without_settings(loaded["float32"], mean=(0.0,) * 3, std=(255.0,) * 3)
    guessed = guess_settings(Context(engine), unknown, (), [loaded["int8"]])
    assert (guessed.settings.mean, guessed.settings.std) == (CENTRED.mean, CENTRED.std)
    assert guessed.inspection.sources["std"] == f"input of {loaded['int8'].name}"
    (warning,) = assumed_settings(guessed)
    assert loaded["int8"].name in warning.message and "std 127.5" in warning.message


def test_a_wrong_range_does_not_decide_against_the_images(
    loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample
) -> None:
    unknown = without_settings(loaded["float32"])
    images = list(load_images([sample.images]))
    guessed = guess_settings(Context(engine), unknown, images, [loaded["int8_wrong_range"]])
    assert (guessed.settings.mean, guessed.settings.std) == (CENTRED.mean, CENTRED.std)


def test_explicit_settings_are_not_guessed(loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample) -> None:
    images = list(load_images([sample.images / "hens.jpg"]))
    assert unknown_settings(loaded["float32"]) == ()
    assert guess_settings(Context(engine), loaded["float32"], images) is loaded["float32"]


def test_wrong_defaults_are_corrected_on_real_images(
    loaded: dict[str, LoadedModel], engine: LocalEngine, sample: Sample
) -> None:
    model = loaded["float32"]
    wrong = without_settings(model, mean=(0.0,) * 3, std=(255.0,) * 3, channels="bgr")
    guessed = guess_settings(Context(engine), wrong, list(load_images([sample.images])))
    assert (guessed.settings.mean, guessed.settings.std) == (model.settings.mean, model.settings.std)
    assert guessed.settings.channels == "rgb"
    assert guessed.inspection.sources["mean"] == "guess"
    loaded_before = follow(without_settings(loaded["float16"]), wrong)  # a variant adopts settings when it is loaded
    variant = follow(loaded_before, guessed)
    assert (variant.settings.mean, variant.settings.std) == (model.settings.mean, model.settings.std)
