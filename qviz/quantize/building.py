"""One variant: checked before, built in a worker, checked after.

The result is read again, its constants are as long as their types say, and it is run once on noise: a file that a
builder wrote wrong ends in a `QuantizeError`, not in somebody's figures. Whether it is any good is not judged here.
"""

from __future__ import annotations

import io
import math
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qviz.engine import Blob, Engine, LocalEngine
from qviz.errors import ModelError, QuantizeError
from qviz.limits import limits
from qviz.quantize import converter, edge_quantizer
from qviz.quantize.calibration import hessians
from qviz.quantize.conditions import builder_of, check, check_calibration, kept_orders, recipe_of
from qviz.quantize.names import named_apart
from qviz.quantize.ranges import Calibration
from qviz.quantize.recipes import ALGORITHMS, Builder, Options, Recipe
from qviz.quantize.stayed_float import Stayed, float_ends, stayed_float
from qviz.structures import EncodedImage, Graph, Scheme, Settings, Tensor
from qviz.tensorflow_models import SourceKind
from qviz.tflite.metadata import associated_files
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts

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
    from ai_edge_quantizer import quantizer  # noqa: F401


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
    if builder is Builder.EDGE_QUANTIZER:
        check_calibration(row, source.float_digest, options, calibration, len(images))
    float_file = engine.share(source.float_data, source.float_digest)
    given = float_file if builder is Builder.EDGE_QUANTIZER else engine.share(source.data, source.digest)
    kind = SourceKind.TFLITE if builder is Builder.EDGE_QUANTIZER else source.kind
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
    """In a worker. A .tflite file goes to ai-edge-quantizer, anything else to TensorFlow's converter."""
    start = time.perf_counter()
    row, before = recipe_of(recipe), float_file.read()
    graph = named_apart(read_graph(before))
    check(row, graph, options)
    kept = kept_orders(graph, options)
    ends = float_ends(graph, options, kept)
    if kind is SourceKind.TFLITE:
        builder = Builder.EDGE_QUANTIZER
        moments = hessians(before, settings, images) if ALGORITHMS[options.algorithm].needs_images else {}
        data = edge_quantizer.quantized(before, graph, row, options, kept, ends, calibration, moments)
        data = _with_files_of(before, data)
    else:
        builder = Builder.CONVERTER
        data = converter.quantized(source, kind, row, options, ends, settings, graph.input_tensors()[0], images)
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
