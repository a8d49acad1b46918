"""A SavedModel or a Keras file to a quantized .tflite, by TensorFlow's converter. Runs in a worker process.

It calibrates by itself, min-max, on the images as inference prepares them. Outputs of a TFLite_Detection_PostProcess
stay float even where integers are asked for: quantized by it, class ids and the count would share a scale with scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from qviz.engine import Blob
from qviz.errors import ImageError, ModelError, QuantizeError
from qviz.quantize.calibration import network_input
from qviz.quantize.recipes import Options, Recipe
from qviz.structures import EncodedImage, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind, converted


def quantized(
    source: Blob,
    kind: SourceKind,
    recipe: Recipe,
    options: Options,
    float_ends: tuple[bool, bool],
    settings: Settings,
    tensor: Tensor,
    images: Sequence[EncodedImage],
) -> bytes:
    """The quantized file. tensor: the float network's input. Raises QuantizeError, ModelError."""
    if recipe.needs_calibration and next(_inputs(settings, tensor, images), None) is None:
        raise QuantizeError(f"Recipe {recipe.name} needs calibration images; none of {len(images)} could be read.")

    def prepare(made: Any) -> None:
        _set_up(made, recipe, lambda: _inputs(settings, tensor, images))
        if recipe.needs_calibration:
            made.inference_input_type, made.inference_output_type = _types(recipe, options, float_ends)

    try:
        return converted(source, kind, prepare)
    except ModelError as error:
        raise QuantizeError(f"TensorFlow's converter cannot build {recipe.name}: the network {error}") from error


def _inputs(settings: Settings, tensor: Tensor, images: Sequence[EncodedImage]) -> Iterator[list[np.ndarray]]:
    """The representative dataset; images that cannot be read are left out."""
    for image in images:
        try:
            yield [network_input(image, settings, tensor)]
        except ImageError:
            continue


def _set_up(made: Any, recipe: Recipe, inputs: Any) -> None:
    import tensorflow as tf

    made.optimizations = [tf.lite.Optimize.DEFAULT]
    sets = tf.lite.OpsSet
    if recipe.scheme is Scheme.FLOAT16:
        made.target_spec.supported_types = [tf.float16]
    elif recipe.needs_calibration:
        wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        integers = wide if recipe.activation_bits == 16 else sets.TFLITE_BUILTINS_INT8
        made.target_spec.supported_ops = [integers, sets.TFLITE_BUILTINS]  # the second: without a kernel means float
        made.representative_dataset = inputs


def _types(recipe: Recipe, options: Options, float_ends: tuple[bool, bool]) -> list[Any]:
    """Of inputs and outputs."""
    import tensorflow as tf

    types = {"float": tf.float32, "int8": tf.int8, "uint8": tf.uint8, "int16": tf.int16}
    return [tf.float32 if stays else types[options.io] for stays in float_ends]
