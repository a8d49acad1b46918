"""A float32 .tflite file to a quantized one, by litert-quantizer. Runs in a worker process.

Its own calibration is not run: our ranges are handed to it. Which operators stay float is decided by us (see
`conditions.kept_orders`) and told to it by their exact names; it joins the names of an operator's outputs, a semicolon
behind each. It takes all outputs of the network together.

A SavedModel or a Keras file to a quantized .tflite, by TensorFlow's converter. Runs in a worker process.

It calibrates by itself, min-max, on the images as inference prepares them. Outputs of a TFLite_Detection_PostProcess
stay float even where integers are asked for: quantized by it, class ids and the count would share a scale with scores.
"""

from __future__ import annotations

import contextlib
import io
import logging
import re
import threading
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from qviz.engine import Blob
from qviz.errors import ImageError, ModelError, QuantizeError
from qviz.features.building.calibration import network_input
from qviz.features.building.names import rename
from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import ALGORITHMS, WEIGHTS_8, Options, Recipe
from qviz.structures import EncodedImage, Graph, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind, converted

_THEIR_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
SCOPE_LENGTH = 10_000
"""Characters after which litert-quantizer cuts the name of an operator."""


def quantized(
    data: bytes,
    graph: Graph,
    recipe: Recipe,
    options: Options,
    kept: Collection[int],
    float_ends: tuple[bool, bool],
    calibration: Calibration | None,
    hessians: Mapping[str, np.ndarray],
) -> bytes:
    """The quantized file. graph: named apart; float_ends: whether inputs, outputs stay float. Raises QuantizeError."""
    from litert_quantizer import quantizer

    statistics = _statistics(graph, calibration, hessians)
    with _quiet():
        try:
            made = quantizer.Quantizer(data)
            rename(made._float_model.subgraphs, graph)
            made._float_model.signatureDefs = made._float_model.signatureDefs or []  # it trips over a file without
            _add_rules(made, graph, recipe, options)
            _keep_ends(made, recipe, options, float_ends)
            _keep_float(made, graph, kept)
            return bytes(made.quantize(statistics, enable_progress_report=False).quantized_model)
        except Exception as error:  # it raises whatever its algorithms stumble over
            raise QuantizeError(
                f"litert-quantizer cannot build {recipe.name} from this network: {_first_line(error)}"
            ) from error


def _add_rules(made: Any, graph: Graph, recipe: Recipe, options: Options) -> None:
    """8 bits for all, then the recipe's own bits and the algorithm for the kinds that have them. Later rules win."""
    from litert_quantizer.qtyping import TFLOperationName as Name

    if recipe.scheme is Scheme.FLOAT16:
        made.load_quantization_recipe(_half_precision())
        return
    add = _adder(made, recipe)
    add(Name.ALL_SUPPORTED, 8, None, ALGORITHMS["minmax"].key)
    algorithm = ALGORITHMS[options.algorithm]
    for kind in sorted(WEIGHTS_8 & {op.kind for op in graph.ops}):
        few, better = kind in recipe.kinds, kind in algorithm.kinds
        if (few and recipe.weight_bits < 8) or (better and algorithm.name != "minmax"):
            block = options.block if few and recipe.blockwise else None
            key = algorithm.key if better else ALGORITHMS["minmax"].key
            add(Name(_THEIR_NAMES.get(kind, kind)), recipe.weight_bits if few else 8, block, key)


def _adder(made: Any, recipe: Recipe) -> Any:
    """(kind, weight bits, block or None, algorithm) -> a rule for all operators of that kind."""
    from litert_quantizer.qtyping import QuantGranularity

    def add(kind: Any, bits: int, block: int | None, key: str) -> None:
        grain = QuantGranularity.CHANNELWISE if block is None else QuantGranularity(f"BLOCKWISE_{block}")
        if recipe.activation_bits is not None:
            made.add_static_config(".*", kind, recipe.activation_bits, bits, grain, key)
        elif recipe.scheme is Scheme.WEIGHT_ONLY:
            made.add_weight_only_config(".*", kind, bits, grain, key)
        else:
            made.add_dynamic_config(".*", kind, bits, grain, key)

    return add


def _half_precision() -> list[dict[str, Any]]:
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    config = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]


def _keep_ends(made: Any, recipe: Recipe, options: Options, float_ends: tuple[bool, bool]) -> None:
    """Inputs and outputs: float, or unsigned; signed integers are the rule anyway."""
    from litert_quantizer import qtyping

    if recipe.activation_bits is None:
        return
    for name, stays in zip((qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT), float_ends, strict=True):
        if stays:
            made.update_quantization_recipe(".*", name, algorithm_key="no_quantize")
        elif options.io == "uint8":
            tensor = partial(qtyping.TensorQuantizationConfig, num_bits=8)
            config = qtyping.OpQuantizationConfig(
                activation_tensor_config=tensor(symmetric=False, dtype=qtyping.TensorDataType.UINT),
                weight_tensor_config=tensor(symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE),
                compute_precision=qtyping.ComputePrecision.INTEGER,
            )
            made.update_quantization_recipe(".*", name, config, ALGORITHMS["minmax"].key)


def _keep_float(made: Any, graph: Graph, kept: Collection[int]) -> None:
    if kept:
        names = ("".join(f"{t.name};" for t in graph.op_outputs(graph.ops[order])) for order in sorted(kept))
        scopes = "|".join(re.escape(name[:SCOPE_LENGTH]) for name in names)
        made.update_quantization_recipe(f"^(?:{scopes})$", "*", algorithm_key="no_quantize")


def _statistics(
    graph: Graph, calibration: Calibration | None, hessians: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]] | None:
    """Ours as it keeps them, min and max with one element an axis. New each time, as its algorithms write there."""
    if calibration is None and not hessians:
        return None
    ranks = {tensor.name: len(tensor.shape) for tensor in graph.tensors if not tensor.constant}
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, ends in (calibration.ranges if calibration is not None else {}).items():
        low, high = (np.full([1] * ranks.get(name, 0), end, np.float32) for end in ends)
        found[name] = {"min": low, "max": high}
    for name, hessian in hessians.items():
        found.setdefault(name, {}).update(hessian=hessian.copy(), num_samples=np.array(1))
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its reports, as a command's JSON is read from standard output, and without its progress bar's lock.

    That lock is for several processes, and would be reported as leaked when the worker ends.
    """
    from litert_quantizer.utils import progress_utils

    progress_utils.tqdm.tqdm.set_lock(threading.RLock())
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def converter_quantized(
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
