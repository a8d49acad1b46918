"""Determine settings that a model does not state, from the other files of the comparison and by running images.

* Evidence: a quantized input, or a QUANTIZE operator after a float input, has a range. If that range would clip the
  values of a normalisation, or represent them in only a few steps, the network was not trained with that normalisation.
* Trial: each choice runs on images and their mirror images (`trials`). A choice is excluded if less than `MIN_SHARE` of
  its confidence is confirmed by the mirror images, if it floods the images with objects, or if it finds the same
  objects at the same places in every image while another choice does not.

The head's usual settings are used unless the evidence points to another choice, or unless a trial finds a choice that
is clearly better and stays the best on random draws of the images. How the image is resized cannot be determined in
this way (the choices differ only by noise), so it is never guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from qviz.context import Context
from qviz.datasets.files import ImageFiles, load_images
from qviz.features.detection.inference import Reading
from qviz.features.detection.models import LoadedModel, follow
from qviz.features.detection.recorded import for_images
from qviz.features.inspection.checks import CLIPPED, MIN_STEPS, channel_spans, clipped_share, input_range, pixel_span
from qviz.features.settings import readings
from qviz.features.settings.trials import Trial, run_trials
from qviz.structures import Dataset, EncodedImage, Settings
from qviz.structures.dataset import spread

IMAGES = 16
"""Number of images that are run; eight of the sample images are too few to identify a robust detector's settings."""
MIN_IMAGES = 4
"""With fewer images there is no trial, because the head's usual settings are then more often right than its result."""
MARGIN = 0.4
"""Another choice must confirm 1 + MARGIN / sqrt(images) times as much confidence as the default: the relative noise of
a sum over images falls with the square root of their number."""
DRAWS, STABLE = 100, 0.9
"""Number of random draws of the images, and the share of the draws in which a choice must be the best."""
REFUTED = 0.5
"""The evidence is ignored if all choices that fit it confirm less than this share of what another choice confirms."""
GUESSED = ("mean", "std", "channels")

Triple = tuple[float, float, float]
IMAGENET: tuple[Triple, Triple] = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
NORMALISATIONS: tuple[tuple[Triple, Triple], ...] = (
    ((0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5)),
    ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    IMAGENET,
)
"""(mean, std) pairs that are common in training. The values are in RGB order; for BGR they are reversed."""


def unknown_settings(model: LoadedModel) -> tuple[str, ...]:
    """Names of the settings in `GUESSED` that neither the file nor the user states, so that the head's default is used.

    Empty if qviz does not decode the model's outputs.
    """
    if not model.reads_outputs:
        return ()
    return tuple(name for name in GUESSED if model.inspection.sources.get(name) == "default")


def guess_for(
    context: Context,
    models: Sequence[LoadedModel],
    images: ImageFiles | Dataset | Sequence[EncodedImage],
    check: bool = True,
) -> list[LoadedModel]:
    """The models with the decoder that fits their outputs and with unknown settings filled in.

    The first model is the reference; variants adopt its settings. `Inspection.odd_boxes` of a model says whether its
    boxes are implausible.

    Args:
        images: Up to `IMAGES` of them are run, evenly spaced, because neighbours in a folder are often similar.
        check: Whether to check the boxes of all models now; otherwise, call `check_boxes` later.
    """
    models = for_images(context.engine, models, images)
    sample = _sample(images, IMAGES if unknown_settings(models[0]) else readings.IMAGES)
    read = readings.with_readings(context, models, sample)
    reference = guess_settings(context, read[0], sample, read[1:])
    read = [reference, *(follow(variant, reference) for variant in read[1:])]
    return check_boxes(context, read, sample) if check else read


def check_boxes(context: Context, models: Sequence[LoadedModel], images: Sequence[EncodedImage]) -> list[LoadedModel]:
    """The models, each with `Inspection.odd_boxes` filled in if its boxes on a few of the images are implausible."""
    return readings.checked(context, models, spread(images, readings.IMAGES))


def _sample(images: ImageFiles | Dataset | Sequence[EncodedImage], count: int) -> list[EncodedImage]:
    """Up to `count` of the images, evenly spaced."""
    if isinstance(images, Dataset):
        return list(Reading().of(spread(images.images, count)))
    if isinstance(images, ImageFiles):
        return list(islice(load_images(spread(images.paths, count)), count))
    return list(spread(images, count))


def guess_settings(
    context: Context, model: LoadedModel, images: Sequence[EncodedImage], variants: Sequence[LoadedModel] = ()
) -> LoadedModel:
    """The model with its unknown settings filled in; unchanged if neither the files nor the images determine them.

    Args:
        variants: Quantized versions of the model, whose input ranges serve as evidence.
    """
    unknown = unknown_settings(model)
    if not unknown:
        return model
    choices = _choices(model.settings, unknown)
    witnesses = [other for other in (model, *variants) if other.layers_available]
    fitting, witness = fitting_choices(choices, witnesses)
    images = list({image.digest: image for image in images}.values())  # a photograph given twice counts once
    trials = []
    if len(images) >= MIN_IMAGES:
        trials = run_trials(context, model, choices, spread(images, IMAGES), fitting)
    if (best := best_trial(trials, fitting)) is not None:
        return _with(model, best.settings, unknown, "guess", witness if best.settings in fitting else None)
    if witness is not None and len({(choice.mean, choice.std) for choice in fitting}) == 1:
        return _with(model, fitting[0], unknown, "", witness)
    return model


def _with(
    model: LoadedModel, settings: Settings, unknown: Sequence[str], source: str, witness: LoadedModel | None
) -> LoadedModel:
    """The model with these settings and their sources.

    witness: The model whose input range determined the normalisation, if any; it becomes the source of mean and std.
    """
    sources = dict.fromkeys(unknown, source) if source else {}
    if witness is not None and witness is not model:
        sources |= {name: f"input of {witness.name}" for name in unknown if name != "channels"}
    sources = {**model.inspection.sources, **sources}
    return replace(model, inspection=replace(model.inspection, settings=settings, sources=sources))


def fitting_choices(
    choices: Sequence[Settings], models: Sequence[LoadedModel]
) -> tuple[list[Settings], LoadedModel | None]:
    """(the choices that fit the input ranges of the models, a model whose range decides or None).

    A range with the same ends as the pixel values of a choice decides for that choice; other ranges only exclude
    choices. If the models contradict one another (one of them was calibrated with a wrong range), all choices that fit
    any of them remain.
    """
    ranged = [model for model in models if input_range(model.inspection.graph) is not None]
    deciding = [model for model in ranged if any(_fills(model, choice) for choice in choices)]
    fits = _fills if deciding else _fits
    by_model = [[choice for choice in choices if fits(model, choice)] for model in deciding or ranged]
    common = [choice for choice in choices if all(choice in fitting for fitting in by_model)]
    if common:
        return common, deciding[0] if deciding else None
    return [choice for choice in choices if any(choice in fitting for fitting in by_model)] or list(choices), None


def _fits(model: LoadedModel, settings: Settings) -> bool:
    """Whether the model's input range covers the normalised pixels, with enough steps."""
    ends = input_range(model.inspection.graph)
    assert ends is not None and settings.std is not None, "only called for models with a range, with complete settings"
    narrowest = min(high - low for low, high in channel_spans(settings))
    return clipped_share(model.inspection.graph, settings) <= CLIPPED and narrowest >= MIN_STEPS * ends[2]


def _fills(model: LoadedModel, settings: Settings) -> bool:
    """Whether the model's input range has the same ends as the normalised pixels, within 5 % of their span."""
    ends = input_range(model.inspection.graph)
    first, last = pixel_span(settings)
    return ends is not None and abs(ends[0] - first) + abs(ends[1] - last) < 0.05 * (last - first)


def best_trial(trials: Sequence[Trial], fitting: Sequence[Settings]) -> Trial | None:
    """The trial whose settings are used, or None if the images do not determine one.

    Args:
        trials: One trial per choice; the first is that of the default settings.
        fitting: The choices that fit the evidence. Another choice is returned only if the evidence seems to come from a
            file with a wrong range. This is assumed if the head's default is clearly better than every fitting choice,
            or if the best other choice confirms more than twice as much confidence as the best fitting choice.
    """
    plausible = [trial for trial in trials if trial.plausible]
    plausible = [trial for trial in plausible if not trial.repeats] or plausible
    inside = [trial for trial in plausible if trial.settings in fitting]
    default = trials[0] if plausible and trials[0] is plausible[0] else None
    if default not in inside:
        if default is not None and inside and _winner([*inside, default], inside[0], None) is default:
            return default
        default = None
    if not inside:
        return None
    near_miss = default is None and trials[0].settings in fitting and not trials[0].floods
    if near_miss and _winner([*inside, trials[0]], trials[0], None) is trials[0]:
        return None  # the default is only just not plausible, and confirms as much
    if max(_sums(inside)) < REFUTED * max(_sums(plausible)):
        return _best_of(plausible, trials[0] if trials[0].plausible else None)
    return _best_of(inside, default)


def _best_of(trials: Sequence[Trial], default: Trial | None) -> Trial | None:
    """The trial with the highest confirmed confidence if it is clearly and stably better than the default.

    It is stable if it is also the best in a share `STABLE` of random draws of the images. Otherwise the result is the
    default, which may be None.
    """
    best = _winner(trials, default, None)
    if best is default:
        return best
    count = len(best.counts)
    draws = np.random.default_rng(0).integers(0, count, (DRAWS, count))
    wins = sum(_winner(trials, default, draw) is best for draw in draws)
    return best if wins >= STABLE * DRAWS else default


def _winner(trials: Sequence[Trial], default: Trial | None, images: np.ndarray | None) -> Trial:
    """The trial with the highest confirmed confidence over these images (None: all).

    The default is returned instead unless that trial is clearly better.
    """
    sums = _sums(trials, images)
    best = trials[int(np.argmax(sums))]
    if default is not None and max(sums) <= _sums([default], images)[0] * _margin(len(default.counts)):
        return default
    return best


def _sums(trials: Sequence[Trial], images: np.ndarray | None = None) -> list[float]:
    """The confirmed confidence of each trial, summed over these images (None: all)."""
    return [float(trial.confirmed[slice(None) if images is None else images].sum()) for trial in trials]


def _margin(images: int) -> float:
    return 1 + MARGIN / float(images) ** 0.5


def _choices(default: Settings, unknown: Sequence[str]) -> list[Settings]:
    """The default settings, followed by every other combination of the unknown settings."""
    pairs = [(default.mean, default.std)]
    channels = [default.channels]
    if "mean" in unknown and "std" in unknown:
        pairs += [pair for pair in NORMALISATIONS if pair != pairs[0]]
    if "channels" in unknown:
        channels += [name for name in ("rgb", "bgr") if name != default.channels]
    choices = []
    for order in channels:
        for mean, std in pairs:
            if order == "bgr" and (mean, std) == IMAGENET:
                mean, std = IMAGENET[0][::-1], IMAGENET[1][::-1]
            choices.append(replace(default, channels=order, mean=mean, std=std))
    return list(dict.fromkeys(choices))
