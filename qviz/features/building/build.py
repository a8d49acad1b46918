"""One variant: checked before, built in a worker, checked after.

The result is read again, its constants are as long as their types say, and it is run once on noise: a file that a
builder wrote wrong ends in a `QuantizeError`, not in somebody's figures. Whether it is any good is not judged here.

What stayed float in a quantized file, each tensor with the reason.

Where activations have integers: what operators compute in float, and float inputs and outputs of the network. In the
other schemes activations are float by nature: there it is the weights. Operators are named by the tensors they write.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qviz.engine import Blob, Engine, LocalEngine
from qviz.errors import ModelError, QuantizeError
from qviz.features.building import quantizers as converter
from qviz.features.building import quantizers as edge_quantizer
from qviz.features.building.calibration import hessians
from qviz.features.building.conditions import builder_of, check, check_calibration, kept_orders, recipe_of
from qviz.features.building.names import named_apart
from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import ALGORITHMS, WEIGHTS_8, Builder, Options, Recipe
from qviz.limits import limits
from qviz.structures import EncodedImage, Graph, Op, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind
from qviz.tflite.metadata import associated_files
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import CONVERSIONS, WITHOUT_INT8, scheme_facts

POST_PROCESS = "TFLite_Detection_PostProcess"
FLOATS = ("float32", "float16")
Stayed = tuple[tuple[str, str], ...]


def float_ends(graph: Graph, options: Options, kept: Mapping[int, str]) -> tuple[bool, bool]:
    """Whether the network's inputs and its outputs stay float.

    Outputs do, all of them, where one is written by an operator that has no integers: class ids, counts and the like
    are exact there, and would be clipped.
    """
    if options.io == "float":
        return True, True
    return False, any(_keeps_output(graph, index, kept) for index in graph.outputs)


def _keeps_output(graph: Graph, index: int, kept: Mapping[int, str]) -> bool:
    maker = graph.producer(index)
    return maker is not None and (maker.custom or maker.kind in WITHOUT_INT8 or maker.order in kept)


def stayed_float(
    built: Graph, source: Graph, recipe: Recipe, options: Options, kept: Mapping[int, str], builder: Builder
) -> Stayed:
    """(tensor, reason), each tensor once, in the order of the file. kept: operators of `source` and who asked."""
    asked = {tensor.name: why for order, why in kept.items() for tensor in source.op_outputs(source.ops[order])}
    known = {tensor.name for tensor in source.tensors}
    if recipe.needs_calibration:
        found = _activations(built, recipe, options, asked, builder)
    else:
        found = _weights(built, recipe, asked, known, builder)
    reasons: dict[str, str] = {}
    for tensor, reason in found:
        reasons.setdefault(tensor, reason)  # of two the first
    return tuple(reasons.items())


def _activations(
    built: Graph, recipe: Recipe, options: Options, asked: Mapping[str, str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for tensor in built.input_tensors():
        if tensor.dtype in FLOATS:
            yield tensor.name, "input, asked to be float (--io float)"
    for op in built.ops:
        if op.kind not in CONVERSIONS:
            for tensor in built.op_outputs(op):
                if tensor.dtype in FLOATS:
                    yield tensor.name, asked.get(tensor.name) or _without_integers(op, recipe, builder)
    for tensor in built.output_tensors():
        if tensor.dtype in FLOATS:
            whole = "output, asked to be float (--io float)"
            yield tensor.name, whole if options.io == "float" else "output: all stay float where one must"


def _without_integers(op: Op, recipe: Recipe, builder: Builder) -> str:
    if op.kind == POST_PROCESS:
        return f"output of {POST_PROCESS}: class ids and the count must not be quantized"
    if op.custom:
        return f"{op.kind} is a custom operator, which computes in float"
    if op.kind in WITHOUT_INT8:
        return f"{op.kind} has no integer kernel"
    return f"{builder} does not quantize {op.kind} to {recipe.name}"


def _weights(
    built: Graph, recipe: Recipe, asked: Mapping[str, str], known: set[str], builder: Builder
) -> Iterator[tuple[str, str]]:
    for op in built.ops:
        weights = _weights_of(built, op)
        if weights is not None and weights.dtype == "float32":
            kept = next((asked[tensor.name] for tensor in built.op_outputs(op) if tensor.name in asked), None)
            yield weights.name, kept or _unquantized(op, weights, recipe, known, builder)


def _weights_of(graph: Graph, op: Op) -> Tensor | None:
    """The second input; the first holds no weights in a detector (of EMBEDDING_LOOKUP they are ids)."""
    index = op.inputs[1] if op.kind in WEIGHTS_8 and len(op.inputs) > 1 else None
    tensor = graph.tensors[index] if index is not None else None
    return tensor if tensor is not None and tensor.constant else None


def _unquantized(op: Op, weights: Tensor, recipe: Recipe, known: set[str], builder: Builder) -> str:
    if weights.name not in known and builder is Builder.LITERT_QUANTIZER:
        return "the Hadamard rotation itself, which is exact in float"
    if builder is Builder.CONVERTER and _count(weights) < 1024:
        return f"{_count(weights)} weights only: {builder} leaves fewer than 1024 in float"
    return f"{builder} does not quantize the weights of {op.kind} to {recipe.name}"


def _count(tensor: Tensor) -> int:
    count = 1
    for side in tensor.shape:
        count *= side
    return count


_BITS = {"float32": 32, "float16": 16, "int8": 8, "uint8": 8, "int16": 16, "int4": 4, "int2": 2}


@dataclass(frozen=True, slots=True)
class Source:
    """What is quantized: as it was given, and as a float32 .tflite file (the same where it was given as one)."""

    kind: SourceKind
    data: bytes = field(repr=False)
    digest: str
    float_data: bytes = field(repr=False)
    float_digest: str
    graph: Graph = field(repr=False)
    settings: Settings


@dataclass(frozen=True, slots=True)
class Built:
    """A variant. scheme: what it really is; remark: where that is not what the recipe's name says, why."""

    recipe: str
    data: bytes = field(repr=False)
    scheme: Scheme
    stayed_float: Stayed
    seconds: float
    builder: Builder
    remark: str = ""

    def to_json(self) -> dict[str, Any]:
        """Without the bytes themselves."""
        return {
            "recipe": self.recipe,
            "bytes": len(self.data),
            "scheme": str(self.scheme),
            "builder": str(self.builder),
            "stayed_float": [{"tensor": tensor, "reason": reason} for tensor, reason in self.stayed_float],
            "seconds": self.seconds,
            "remark": self.remark,
        }


def builders(workers: int = 1) -> LocalEngine:
    """Workers of their own: building takes longer than an engine's jobs may (the converter calibrates at a third of a
    second an image), and TensorFlow's memory goes with them."""
    return LocalEngine(workers, limits().build_seconds, warm_up=warm_up)


def warm_up() -> None:
    """In a new worker: what its first variant would wait for, a second of imports."""
    from litert_quantizer import quantizer  # noqa: F401


def start_building(
    engine: Engine,
    source: Source,
    recipe: str,
    options: Options = Options(),
    calibration: Calibration | None = None,
    images: Sequence[EncodedImage] = (),
) -> Future[Built]:
    """Queue one variant. Raises QuantizeError at once where it cannot be built.

    images: the calibration images, for the builder and the algorithm that look at them themselves (see `builder_of`).
    """
    row = recipe_of(recipe)
    check(row, named_apart(source.graph), options)
    builder = builder_of(row, source.kind, options, calibration.method if calibration else "minmax", len(images))
    if builder is Builder.LITERT_QUANTIZER:
        check_calibration(row, source.float_digest, options, calibration, len(images))
    float_file = engine.share(source.float_data, source.float_digest)
    given = float_file if builder is Builder.LITERT_QUANTIZER else engine.share(source.data, source.digest)
    kind = SourceKind.TFLITE if builder is Builder.LITERT_QUANTIZER else source.kind
    looked_at = row.needs_calibration if builder is Builder.CONVERTER else ALGORITHMS[options.algorithm].needs_images
    shown = tuple(images) if looked_at else ()
    return engine.submit(build_job, given, kind, recipe, options, calibration, float_file, source.settings, shown)


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
    """In a worker. A .tflite file goes to litert-quantizer, anything else to TensorFlow's converter."""
    start = time.perf_counter()
    row, before = recipe_of(recipe), float_file.read()
    graph = named_apart(read_graph(before))
    check(row, graph, options)
    kept = kept_orders(graph, options)
    ends = float_ends(graph, options, kept)
    if kind is SourceKind.TFLITE:
        builder = Builder.LITERT_QUANTIZER
        moments = hessians(before, settings, images) if ALGORITHMS[options.algorithm].needs_images else {}
        data = edge_quantizer.quantized(before, graph, row, options, kept, ends, calibration, moments)
        data = _with_files_of(before, data)
    else:
        builder = Builder.CONVERTER
        data = converter.converter_quantized(
            source, kind, row, options, ends, settings, graph.input_tensors()[0], images
        )
    made = checked(data, row)
    scheme = scheme_facts(made).scheme
    stayed = stayed_float(made, graph, row, options, kept, builder)
    remark = _remark(row, scheme, bool(kept))
    return Built(recipe, data, scheme, stayed, time.perf_counter() - start, builder, remark)


def _with_files_of(before: bytes, data: bytes) -> bytes:
    """Labels and an exporter's notes, which lie in a zip archive behind the flatbuffer, go along."""
    files = associated_files(before)
    if not files:
        return data
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the time of day: the same bytes each time
    return buffer.getvalue()


def checked(data: bytes, recipe: Recipe) -> Graph:
    """The graph of a file just built, which loads, runs and holds something quantized. Raises QuantizeError."""
    try:
        graph = read_graph(data)
        _check_constants(graph)
        Runner(data, keep_all=False).run([_noise(tensor) for tensor in graph.input_tensors()])
    except ModelError as error:
        raise QuantizeError(f"The {recipe.name} file was built, but it {error}") from error
    if scheme_facts(graph).scheme is Scheme.FLOAT32:
        raise QuantizeError(f"Recipe {recipe.name} found nothing to quantize: all of the network stayed float32.")
    return graph


def _check_constants(graph: Graph) -> None:
    """Raises ModelError for a constant of the wrong length: left in float under the name of an integer type."""
    for tensor in graph.tensors:
        bits = _BITS.get(tensor.dtype)
        if tensor.constant and bits and tensor.bytes != (wanted := math.ceil(math.prod(tensor.shape) * bits / 8)):
            raise ModelError(f"holds {tensor.bytes} bytes for {tensor.name!r}, where {tensor.dtype} takes {wanted}.")


def _noise(tensor: Tensor) -> np.ndarray:
    random = np.random.default_rng(0)
    shape = [max(side, 1) for side in tensor.shape]
    if tensor.dtype.startswith("float"):
        return random.uniform(-1, 1, shape).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return random.integers(limits.min, limits.max, shape, tensor.dtype, endpoint=True)


def _remark(recipe: Recipe, scheme: Scheme, kept: bool) -> str:
    if scheme is recipe.scheme:
        return ""
    why = "as operators were asked to stay float" if kept else "as some operators could not be quantized (stayed_float)"
    return f"The file is {scheme}, not {recipe.scheme}, {why}."
