"""The cures that `quantize` can apply while it builds a variant.

`split_head`, `equalize` and `split_channels` change the float file before ranges are measured; the others change the
built file. All except `split_head` run the network on some of the calibration images, and `split_channels`,
`round_weights` and `correct_biases` only make changes with a measured gain. Each cure is explained in the module that
implements it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

import numpy as np

from qviz.context import Context
from qviz.engine import Blob, Engine
from qviz.errors import ImageError, QuantizeError
from qviz.features.building.bias_correction import correct_biases
from qviz.features.building.build import checked
from qviz.features.building.calibration import network_input
from qviz.features.building.equalize import equalize
from qviz.features.building.recipes import Recipe, recipe_of
from qviz.features.building.result import Built
from qviz.features.building.rounding import round_weights
from qviz.features.building.source import Source, with_associated_files
from qviz.features.building.split_channels import split_channels
from qviz.features.building.split_head import split_head
from qviz.structures import EncodedImage, Scheme, Settings, digest_of
from qviz.tensorflow_models import SourceKind
from qviz.tflite.schema import read_graph

CURES = {
    "split_head": "boxes and scores that share one output, and so one scale, become two outputs",
    "equalize": "channels of consecutive convolutions get similar ranges; the float network computes the same",
    "split_channels": "quiet and loud channels are computed in two parts, so that each part has a scale of its own",
    "round_weights": "weights are rounded so that each convolution's output errs least",
    "correct_biases": "mean errors are taken out of the biases, where held-out images confirm it",
}
"""Name of a cure -> what it does, in the order in which cures are applied."""
BEFORE = ("split_head", "equalize", "split_channels")
"""Cures that change the float file."""
_STEPS = {"equalize": "Equalizing channels", "split_channels": "Splitting quiet and loud channels"}
"""Cure of the float file that runs in a worker -> the step that progress shows."""
IMAGES = 12
"""Number of calibration images that cures use, spread evenly over all of them."""
MIN_IMAGES = 2


def cures_of(cures: str | Iterable[str]) -> tuple[str, ...]:
    """The names of cures, each once and in the order of `CURES`.

    cures: names, or text such as `equalize,round_weights`. Raises QuantizeError for an unknown name.
    """
    names = cures.split(",") if isinstance(cures, str) else cures
    chosen = {name.strip() for name in names} - {""}
    for name in sorted(chosen - CURES.keys()):
        raise QuantizeError(f"{name!r} is not a cure; choose from {', '.join(CURES)}.")
    return tuple(name for name in CURES if name in chosen)


def check_cures(cures: Collection[str], recipe: Recipe, images: int) -> None:
    """Raise QuantizeError if a cure does not fit the recipe, or if images are missing."""
    if set(cures) - {"split_head"} and images < MIN_IMAGES:
        count = "none is" if images == 0 else "1 is"
        raise QuantizeError(f"Cures need the calibration images themselves, at least {MIN_IMAGES}; {count} given.")
    if "correct_biases" in cures and not recipe.needs_calibration:
        raise QuantizeError(
            f"correct_biases changes integer biases, and recipe {recipe.name} keeps biases in float; use it with int8."
        )
    if "split_channels" in cures and recipe.activation_bits != 8:
        raise QuantizeError(
            f"split_channels gives quiet channels finer 8-bit steps, and recipe {recipe.name} has no 8-bit activations;"
            " use it with int8."
        )
    if "round_weights" in cures and (recipe.scheme is Scheme.FLOAT16 or recipe.blockwise):
        raise QuantizeError(
            f"round_weights needs integer weights with one scale per channel, which recipe {recipe.name} does not make."
        )


def fitting_cures(recipe: Recipe) -> tuple[str, ...]:
    """The names of the cures that fit a recipe, in the order of `CURES`."""
    names = []
    for name in CURES:
        try:
            check_cures((name,), recipe, MIN_IMAGES)
        except QuantizeError:
            continue
        names.append(name)
    return tuple(names)


def chosen_images(images: Sequence[EncodedImage]) -> list[EncodedImage]:
    """At most `IMAGES` of the images, spread evenly over all of them."""
    positions = np.unique(np.linspace(0, len(images) - 1, min(len(images), IMAGES)).astype(int))
    return [images[at] for at in positions]


def prepared(
    context: Context, workers: Engine, source: Source, images: Sequence[EncodedImage], cures: Collection[str]
) -> tuple[Source, tuple[str, ...]]:
    """Apply the cures that change the float file: (changed source, a sentence per cure on what it changed).

    The source becomes a float32 .tflite file: litert-quantizer builds from it, and only its files have the same
    operators as their source. Raises the same errors as `quantize`.
    """
    changes: tuple[str, ...] = ()
    if "split_head" in cures:
        source = _float_source(source, split_head(source.float_data))
        changes = ("Boxes and scores are separate outputs.",)
    for name, step in _STEPS.items():
        if name in cures:
            context.progress.step(step)
            model = workers.share(source.float_data, source.float_digest)
            job = workers.submit(float_job, name, model, source.settings, chosen_images(images))
            data, origins, sentence = context.wait(job)
            source, changes = replace(_float_source(source, data), origins=origins), (*changes, sentence)
    return _float_source(source, source.float_data), changes


def mended(
    context: Context,
    workers: Engine,
    source: Source,
    built: Built,
    images: Sequence[EncodedImage],
    cures: Collection[str],
) -> Built:
    """The variant after the cures that change the built file. Raises the same errors as `quantize`."""
    after = [name for name in cures if name not in BEFORE]
    if not after:
        return built
    context.progress.step("Rounding weights and correcting biases")
    model = workers.share(source.float_data, source.float_digest)
    job = workers.submit(mend_job, built.data, built.recipe, model, source.settings, chosen_images(images), after)
    data, changes = context.wait(job)
    return replace(built, data=data, changes=built.changes + changes)


def _float_source(source: Source, data: bytes) -> Source:
    """The source as another float32 .tflite file with the same operators."""
    digest = digest_of(data)
    return replace(
        source,
        kind=SourceKind.TFLITE,
        data=data,
        digest=digest,
        float_data=data,
        float_digest=digest,
        graph=read_graph(data),
    )


def float_job(
    cure: str, model: Blob, settings: Settings, images: Sequence[EncodedImage]
) -> tuple[bytes, tuple[int, ...], str]:
    """Apply `equalize` or `split_channels`: (changed float32 file, `Source.origins`, a sentence on what changed).

    Runs in a worker. Raises QuantizeError, ModelError.
    """
    data = model.read()
    inputs = _inputs(data, settings, images)
    if cure == "equalize":
        equalized = equalize(data, inputs)
        return equalized.data, (), str(equalized)
    result = split_channels(data, inputs)
    return result.data, result.origins, str(result)


def mend_job(
    data: bytes,
    recipe: str,
    model: Blob,
    settings: Settings,
    images: Sequence[EncodedImage],
    cures: Collection[str],
) -> tuple[bytes, tuple[str, ...]]:
    """Apply the cures that change the built file: (changed file, a sentence per cure on what it changed).

    data: the built file; model: the float32 file that it was built from. Runs in a worker. Raises QuantizeError,
    ModelError.
    """
    float_data, sentences = model.read(), []
    inputs = _inputs(float_data, settings, images)
    result = data
    for name, cure in (("round_weights", round_weights), ("correct_biases", correct_biases)):
        if name in cures:
            outcome = cure(result, float_data, inputs)
            result = outcome.data
            sentences.append(str(outcome))
    if result is not data:
        checked(result, recipe_of(recipe))
        result = with_associated_files(result, float_data)
    return result, tuple(sentences)


def _inputs(data: bytes, settings: Settings, images: Sequence[EncodedImage]) -> list[np.ndarray]:
    """The network's input for each image that can be read. Raises QuantizeError if there are too few."""
    tensor = read_graph(data).input_tensors()[0]
    inputs = []
    for image in images:
        try:
            inputs.append(network_input(image, settings, tensor))
        except ImageError:
            continue  # already reported when the ranges are measured
    if len(inputs) < MIN_IMAGES:
        raise QuantizeError(f"Only {len(inputs)} of {len(images)} calibration images could be read.")
    return inputs
