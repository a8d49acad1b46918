"""Build one variant in a worker, with checks before and after.

The built file is read again, the length of every constant is compared with its shape and type, and the file is
run once on noise. A faulty file from a builder therefore raises a `QuantizeError`. Accuracy is not measured here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace

import numpy as np

from qviz.engine import Blob, Engine, LocalEngine, importing
from qviz.errors import ModelError, QuantizeError
from qviz.features.building.biases import with_fitting_biases
from qviz.features.building.calibration import Calibration, hessians
from qviz.features.building.conditions import (
    builder_of,
    check,
    check_calibration,
    operators_in_float,
    wide_operators,
)
from qviz.features.building.quantizers import quantize_by_converter, quantize_tflite
from qviz.features.building.recipes import ALGORITHMS, Builder, Options, Recipe, recipe_of
from qviz.features.building.result import Built, float_ends, float_tensors
from qviz.features.building.rewriting import Rewritten, rewritten
from qviz.features.building.source import Source, with_associated_files, with_unique_tensor_names
from qviz.features.building.wide import built_wide, narrow_kinds, with_wide_ranges
from qviz.formatting import plural
from qviz.limits import limits
from qviz.optional import require
from qviz.structures import EncodedImage, Graph, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind
from qviz.tflite.integer_kernels import with_integer_kernels
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts

_BITS = {"float32": 32, "float16": 16, "int8": 8, "uint8": 8, "int16": 16, "int4": 4, "int2": 2}


def builders(workers: int = 1) -> LocalEngine:
    """Start worker processes that only build variants.

    Building takes longer than the time limit of an engine's jobs (the converter needs 0.3 s per image to calibrate),
    and TensorFlow's memory is freed when these workers end. Each worker imports litert-quantizer when it starts, which
    takes a second.

    Raises InputError if litert-quantizer or TensorFlow is not installed.
    """
    require("build", "Building a variant")
    return LocalEngine(workers, limits().build_seconds, warm_up=importing("litert_quantizer.quantizer"))


def start_building(
    workers: Engine,
    source: Source,
    recipe: str,
    options: Options = Options(),
    calibration: Calibration | None = None,
    images: Sequence[EncodedImage] = (),
) -> Future[Built]:
    """Queue the building of one variant; returns a future of the result.

    Args:
        workers: Worker processes from `builders`.
        options: Operator numbers are those of the given file, also if the source has split operators
            (`Source.origins`). `Built.wide` has indices in `source.graph`.
        calibration: Ranges of activations, if the recipe needs them.
        images: Calibration images, for TensorFlow's converter and for algorithms that read images themselves.

    Raises:
        QuantizeError: The variant cannot be built; raised before anything is queued.
    """
    row = recipe_of(recipe)
    keep, wide = source.parts_of(options.keep_orders), source.parts_of(options.wide_orders)
    options = replace(options, keep_orders=keep, wide_orders=wide)
    check(row, source.graph, options)
    builder = builder_of(row, source.kind, options, calibration.method if calibration else "minmax", len(images))
    if builder is Builder.LITERT_QUANTIZER:
        check_calibration(row, source.float_digest, options, calibration, len(images))
    float_file = workers.share(source.float_data, source.float_digest)
    given = float_file if builder is Builder.LITERT_QUANTIZER else workers.share(source.data, source.digest)
    kind = SourceKind.TFLITE if builder is Builder.LITERT_QUANTIZER else source.kind
    needs_images = row.needs_calibration if builder is Builder.CONVERTER else ALGORITHMS[options.algorithm].needs_images
    sent = tuple(images) if needs_images else ()
    return workers.submit(build_job, given, kind, recipe, options, calibration, float_file, source.settings, sent)


def build_job(
    source: Blob,
    kind: SourceKind,
    recipe: str,
    options: Options,
    calibration: Calibration | None,
    float_file: Blob,
    settings: Settings,
    images: Sequence[EncodedImage] = (),
) -> Built:
    """Build a variant with litert-quantizer or TensorFlow's converter (`builder_of`); runs in a worker.

    Raises QuantizeError.
    """
    start = time.perf_counter()
    row, float_data = recipe_of(recipe), float_file.read()
    given = with_unique_tensor_names(read_graph(float_data))
    check(row, given, options)
    float_orders, wide = operators_in_float(given, options), wide_operators(given, options)
    integers = {op.order for op in given.ops} - set(float_orders) if row.activation_bits else set()
    network = rewritten(float_data, given, integers, wide, with_wide_ranges(given, wide, calibration))
    graph, in_float = (
        network.graph,
        {order: float_orders[network.origins[order]] for order in network.orders(float_orders)},
    )
    ends = float_ends(graph, options, in_float)
    if kind is SourceKind.TFLITE:
        builder = Builder.LITERT_QUANTIZER
        moments = hessians(float_data, settings, images) if ALGORITHMS[options.algorithm].needs_images else {}
        operators = in_float, network.orders(wide)
        data = quantize_tflite(network.data, graph, row, options, *operators, ends, network.calibration, moments)
        data = with_associated_files(_completed(data, row, network, in_float), float_data)
    else:
        builder = Builder.CONVERTER
        data = quantize_by_converter(source, kind, row, options, ends, settings, graph.input_tensors()[0], images)
    built = checked(data, row)
    scheme = scheme_facts(built).scheme
    stayed_float = float_tensors(built, graph, row, options, in_float, builder)
    result_wide = built_wide(built, network, wide)
    remark = _remark(row, scheme, bool(in_float), given, wide, result_wide)
    seconds = time.perf_counter() - start
    return Built(recipe, data, scheme, stayed_float, seconds, builder, remark, wide=result_wide)


def int8_file(data: bytes, calibration: Calibration) -> bytes:
    """The int8 file that litert-quantizer builds from a float32 file; its inputs and outputs stay float32.

    Raises QuantizeError.
    """
    row, given = recipe_of("int8"), with_unique_tensor_names(read_graph(data))
    network = rewritten(data, given, {op.order for op in given.ops}, (), calibration)
    ends = True, True
    built = quantize_tflite(network.data, network.graph, row, Options(), (), (), ends, network.calibration, {})
    return _completed(built, row, network, ())


def _completed(data: bytes, recipe: Recipe, network: Rewritten, in_float: Collection[int]) -> bytes:
    """The file from litert-quantizer with integer kernels where it left operators in float, and with fitting biases.

    network, in_float: the float file that it was built from, and its operators that stay in float as requested.
    """
    if recipe.activation_bits and network.calibration is not None:
        requested = {tensor.name for order in in_float for tensor in network.graph.op_outputs(network.graph.ops[order])}
        data = with_integer_kernels(data, requested, network.calibration.ranges)
    return with_fitting_biases(data, network.data, network.graph)


def checked(data: bytes, recipe: Recipe) -> Graph:
    """The graph of a built file. Raises QuantizeError if it cannot be loaded or run, or nothing in it is quantized."""
    try:
        graph = read_graph(data)
        _check_constants(graph)
        Runner(data, keep_all=False).run([_noise(tensor) for tensor in graph.input_tensors()])
    except ModelError as error:
        raise QuantizeError(f"The {recipe.name} file was built, but it {error}") from error
    if scheme_facts(graph).scheme is Scheme.FLOAT32:
        raise QuantizeError(f"Recipe {recipe.name} quantized nothing: the whole network stayed float32.")
    return graph


def _check_constants(graph: Graph) -> None:
    """Raise ModelError for a constant whose length does not fit its type, e.g. float values declared as integers."""
    for tensor in graph.tensors:
        bits = _BITS.get(tensor.dtype)
        if tensor.constant and bits and tensor.bytes != (expected := math.ceil(math.prod(tensor.shape) * bits / 8)):
            raise ModelError(f"has {tensor.bytes} bytes in {tensor.name!r}, where {tensor.dtype} takes {expected}.")


def _noise(tensor: Tensor) -> np.ndarray:
    random = np.random.default_rng(0)
    shape = [max(side, 1) for side in tensor.shape]
    if tensor.dtype.startswith("float"):
        return random.uniform(-1, 1, shape).astype(tensor.dtype)
    ends = np.iinfo(tensor.dtype)
    return random.integers(ends.min, ends.max, shape, tensor.dtype, endpoint=True)


def _remark(
    recipe: Recipe,
    scheme: Scheme,
    some_in_float: bool,
    graph: Graph,
    wide: Collection[int],
    result_wide: Collection[int],
) -> str:
    """Sentences that say why the scheme differs from the recipe's and which operators could not get 16 bits."""
    sentences = []
    if scheme is not recipe.scheme:
        reason = "some operators could not be quantized"
        if result_wide:
            reason = "some operators have 16-bit activations as requested"
        elif some_in_float:
            reason = "some operators stay in float as requested"
        sentences.append(f"The file is {scheme}, not {recipe.scheme}, because {reason}.")
    if len(result_wide) < len(wide):
        kinds = ", ".join(narrow_kinds(graph, wide, result_wide))
        count = plural(len(wide) - len(result_wide), "operator")
        sentences.append(f"{count} could not get 16-bit activations: {kinds}.")
    return " ".join(sentences)
