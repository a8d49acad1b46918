"""The two programs that write quantized files; both run in a worker process.

litert-quantizer turns a float32 .tflite file into a quantized one. Its own calibration is not run: it receives qviz's
ranges. Operators that stay in float (`conditions.operators_in_float`) are passed by their exact names, which
litert-quantizer forms by joining the names of an operator's outputs, each followed by a semicolon. Either all outputs
of the network stay in float, or none.

TensorFlow's converter turns a SavedModel or a Keras file into a quantized .tflite file. It calibrates by itself with
min-max ranges, on images prepared as for inference. Outputs of a TFLite_Detection_PostProcess stay in float even where
integer outputs are requested; otherwise class ids and the count would share a scale with the scores.
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
from qviz.features.building.calibration import Calibration, network_input
from qviz.features.building.recipes import ALGORITHMS, WEIGHTS_8, WIDE_KINDS, Options, Recipe
from qviz.features.building.source import rename_tensors
from qviz.structures import EncodedImage, Graph, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind, converted

_OTHER_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}
"""Name of an operator in the schema -> its name in litert-quantizer, where the two differ."""
MAX_NAME = 10_000
"""Length, in characters, to which litert-quantizer cuts the name of an operator."""


def quantize_tflite(
    data: bytes,
    graph: Graph,
    recipe: Recipe,
    options: Options,
    in_float: Collection[int],
    wide: Collection[int],
    float_ends: tuple[bool, bool],
    calibration: Calibration | None,
    hessians: Mapping[str, np.ndarray],
) -> bytes:
    """A float32 .tflite file quantized by litert-quantizer.

    Args:
        graph: The graph of the file, with unique tensor names.
        in_float: Operators that stay in float, with the reason.
        wide: Operators with 16-bit activations.
        float_ends: Whether the network's inputs and its outputs stay in float.
        hessians: What `calibration.hessians` returned, for algorithms that need images.

    Raises:
        QuantizeError: litert-quantizer fails.
    """
    from litert_quantizer import quantizer

    statistics = _statistics(graph, calibration, hessians)
    with _quiet():
        try:
            quantizing = quantizer.Quantizer(data)
            rename_tensors(quantizing._float_model.subgraphs, graph)
            quantizing._float_model.signatureDefs = quantizing._float_model.signatureDefs or []  # fails on None
            _add_rules(quantizing, graph, recipe, options)
            _widen(quantizing, graph, wide)
            _set_ends(quantizing, recipe, options, float_ends)
            _keep_in_float(quantizing, graph, in_float)
            return bytes(quantizing.quantize(statistics, enable_progress_report=False).quantized_model)
        except Exception as error:  # its algorithms raise many types
            raise QuantizeError(
                f"litert-quantizer cannot build {recipe.name} from this network: {_first_line(error)}"
            ) from error


def _add_rules(quantizing: Any, graph: Graph, recipe: Recipe, options: Options) -> None:
    """Add rules: 8 bits for all operators, then the recipe's bits and algorithm where supported.

    If two rules apply to an operator, the later one counts.
    """
    from litert_quantizer.qtyping import TFLOperationName as Name

    if recipe.scheme is Scheme.FLOAT16:
        quantizing.load_quantization_recipe(_half_precision())
        return
    add = partial(_add_rule, quantizing, recipe)
    add(Name.ALL_SUPPORTED, 8, None, ALGORITHMS["minmax"].key)
    algorithm = ALGORITHMS[options.algorithm]
    for kind in sorted(WEIGHTS_8 & {op.kind for op in graph.ops}):
        has_bits, has_algorithm = kind in recipe.kinds, kind in algorithm.kinds
        if (has_bits and recipe.weight_bits < 8) or (has_algorithm and algorithm.name != "minmax"):
            block = options.block if has_bits and recipe.blockwise else None
            key = algorithm.key if has_algorithm else ALGORITHMS["minmax"].key
            add(Name(_OTHER_NAMES.get(kind, kind)), recipe.weight_bits if has_bits else 8, block, key)


def _add_rule(quantizing: Any, recipe: Recipe, kind: Any, bits: int, block: int | None, key: str) -> None:
    """Add a rule for a kind of operators: bits of the weights, inputs per scale (None: per channel), algorithm."""
    from litert_quantizer.qtyping import QuantGranularity

    grain = QuantGranularity.CHANNELWISE if block is None else QuantGranularity(f"BLOCKWISE_{block}")
    if recipe.activation_bits is not None:
        quantizing.add_static_config(".*", kind, recipe.activation_bits, bits, grain, key)
    elif recipe.scheme is Scheme.WEIGHT_ONLY:
        quantizing.add_weight_only_config(".*", kind, bits, grain, key)
    else:
        quantizing.add_dynamic_config(".*", kind, bits, grain, key)


def _half_precision() -> list[dict[str, Any]]:
    weights = {"num_bits": 16, "symmetric": True, "granularity": "TENSORWISE", "dtype": "FLOAT"}
    config = {"weight_tensor_config": weights, "compute_precision": "FLOAT", "explicit_dequantize": True}
    return [{"regex": ".*", "operation": "*", "algorithm_key": "float_casting", "op_config": config}]


def _set_ends(quantizing: Any, recipe: Recipe, options: Options, float_ends: tuple[bool, bool]) -> None:
    """Add the rules that make inputs and outputs float or unsigned. Signed integers are the default and need none."""
    from litert_quantizer import qtyping

    if recipe.activation_bits is None:
        return
    for name, stays in zip((qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT), float_ends, strict=True):
        if stays:
            quantizing.update_quantization_recipe(".*", name, algorithm_key="no_quantize")
        elif options.io == "uint8":
            tensor = partial(qtyping.TensorQuantizationConfig, num_bits=8)
            config = qtyping.OpQuantizationConfig(
                activation_tensor_config=tensor(symmetric=False, dtype=qtyping.TensorDataType.UINT),
                weight_tensor_config=tensor(symmetric=True, granularity=qtyping.QuantGranularity.CHANNELWISE),
                compute_precision=qtyping.ComputePrecision.INTEGER,
            )
            quantizing.update_quantization_recipe(".*", name, config, ALGORITHMS["minmax"].key)


def _keep_in_float(quantizing: Any, graph: Graph, in_float: Collection[int]) -> None:
    if in_float:
        quantizing.update_quantization_recipe(_scope(graph, in_float), "*", algorithm_key="no_quantize")


def _widen(quantizing: Any, graph: Graph, wide: Collection[int]) -> None:
    """Add rules for 16-bit activations where supported; litert-quantizer inserts QUANTIZE at the borders."""
    from litert_quantizer.qtyping import TFLOperationName as Name

    for kind in sorted(WIDE_KINDS & {graph.ops[order].kind for order in wide}):
        orders = [order for order in wide if graph.ops[order].kind == kind]
        quantizing.add_static_config(_scope(graph, orders), Name(_OTHER_NAMES.get(kind, kind)), 16, 8)


def _scope(graph: Graph, orders: Collection[int]) -> str:
    """A regular expression that matches exactly the names of these operators."""
    names = ("".join(f"{t.name};" for t in graph.op_outputs(graph.ops[order])) for order in sorted(orders))
    return f"^(?:{'|'.join(re.escape(name[:MAX_NAME]) for name in names)})$"


def _statistics(
    graph: Graph, calibration: Calibration | None, hessians: Mapping[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]] | None:
    """The ranges in litert-quantizer's format: min and max of each tensor, with one element per axis.

    They are a new copy for each call, because litert-quantizer's algorithms write into them.
    """
    if calibration is None and not hessians:
        return None
    ranks = {tensor.name: len(tensor.shape) for tensor in graph.tensors if not tensor.constant}
    statistics: dict[str, dict[str, np.ndarray]] = {}
    for name, ends in (calibration.ranges if calibration is not None else {}).items():
        low, high = (np.full([1] * ranks.get(name, 0), end, np.float32) for end in ends)
        statistics[name] = {"min": low, "max": high}
    for name, hessian in hessians.items():
        statistics.setdefault(name, {}).update(hessian=hessian.copy(), num_samples=np.array(1))
    return statistics


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output of litert-quantizer, because a command's JSON is read from standard output.

    The multiprocessing lock of its progress bar is replaced: it would be reported as leaked when the worker ends.
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


def quantize_by_converter(
    source: Blob,
    kind: SourceKind,
    recipe: Recipe,
    options: Options,
    float_ends: tuple[bool, bool],
    settings: Settings,
    tensor: Tensor,
    images: Sequence[EncodedImage],
) -> bytes:
    """A SavedModel or Keras file quantized by TensorFlow's converter.

    tensor: the input of the float network. Raises QuantizeError, ModelError.
    """
    if recipe.needs_calibration and next(_inputs(settings, tensor, images), None) is None:
        raise QuantizeError(f"Recipe {recipe.name} needs calibration images; none of {len(images)} could be read.")

    def prepare(conversion: Any) -> None:
        _set_up(conversion, recipe, lambda: _inputs(settings, tensor, images))
        if recipe.needs_calibration:
            conversion.inference_input_type, conversion.inference_output_type = _types(recipe, options, float_ends)

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


def _set_up(conversion: Any, recipe: Recipe, inputs: Any) -> None:
    import tensorflow as tf

    conversion.optimizations = [tf.lite.Optimize.DEFAULT]
    sets = tf.lite.OpsSet
    if recipe.scheme is Scheme.FLOAT16:
        conversion.target_spec.supported_types = [tf.float16]
    elif recipe.needs_calibration:
        wide = sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        integers = wide if recipe.activation_bits == 16 else sets.TFLITE_BUILTINS_INT8
        conversion.target_spec.supported_ops = [integers, sets.TFLITE_BUILTINS]  # float where no kernel exists
        conversion.representative_dataset = inputs


def _types(recipe: Recipe, options: Options, float_ends: tuple[bool, bool]) -> list[Any]:
    """TensorFlow's types of the network's inputs and outputs."""
    import tensorflow as tf

    types = {"float": tf.float32, "int8": tf.int8, "uint8": tf.uint8, "int16": tf.int16}
    return [tf.float32 if stays else types[options.io] for stays in float_ends]
