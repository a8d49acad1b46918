"""The source of a variant: the given model, its float32 .tflite file, and unique names of the tensors.

litert-quantizer addresses tensors by name and refuses a file in which two tensors share a name or one has none. Some
exporters write such files. Each affected tensor gets its index as a suffix, `name#12`, both in the graph that qviz
examines and in the file that litert-quantizer reads.

A .tflite file with compressed weights and float activations (float16, weight-only, dynamic range) is unfolded to
float32 first (`qviz.tflite.unfold`). The unfolded network is then the reference that losses are measured against.
"""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from qviz.context import Context
from qviz.errors import ModelError, QuantizeError
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.structures import Graph, Model, Settings, digest_of
from qviz.tensorflow_models import SourceKind
from qviz.tflite.metadata import associated_files
from qviz.tflite.schema import read_graph
from qviz.tflite.unfold import FOLDED, unfolded


@dataclass(frozen=True, slots=True)
class Source:
    """A model to quantize.

    Attributes:
        kind, data, digest: Kind, bytes and SHA-256 of the given file.
        float_data, float_digest: Bytes and SHA-256 of the float32 .tflite file, which is the given file or was
            converted from it.
        graph: Graph of the float32 .tflite file.
        settings: How images are prepared.
        origins: For each operator of `graph`, the index of the operator that it is a part of, in the file before
            channels were split; empty if none were. Users number the operators of that file.
    """

    kind: SourceKind
    data: bytes = field(repr=False)
    digest: str
    float_data: bytes = field(repr=False)
    float_digest: str
    graph: Graph = field(repr=False)
    settings: Settings
    origins: tuple[int, ...] = field(default=(), repr=False)

    def parts_of(self, orders: Collection[int]) -> tuple[int, ...]:
        """Indices in `graph` of all parts of these operators."""
        if not self.origins:
            return tuple(orders)
        return tuple(order for order, origin in enumerate(self.origins) if origin in orders)

    def whole(self, orders: Collection[int]) -> tuple[int, ...]:
        """The operators all of whose parts are among these indices in `graph`; the opposite of `parts_of`."""
        if not self.origins:
            return tuple(orders)
        others = {origin for order, origin in enumerate(self.origins) if order not in orders}
        return tuple(sorted({self.origins[order] for order in orders} - others))


def source_of(model: LoadedModel, given: ModelSource | None = None) -> Source:
    """The source from which variants of a model are built.

    Args:
        model: The .tflite file, with its settings; one with compressed weights is unfolded to float32.
        given: The file that the model was converted from, if it was; some recipes are built from that file directly.

    Raises:
        QuantizeError: TensorFlow Lite cannot express the model, or it cannot be unfolded.
    """
    if model.refusal:
        raise QuantizeError(f"{model.name} {model.refusal}")
    if model.no_layers:
        raise QuantizeError(model.no_layers)
    settings = model.settings
    if model.scheme in FOLDED:
        data, digest, graph = _unfolded(model.model)
        return Source(SourceKind.TFLITE, data, digest, data, digest, graph, settings)
    original = given or ModelSource(model.name, model.model.data, digest=model.digest)
    graph = model.inspection.graph
    return Source(original.kind, original.data, original.digest, model.model.data, model.digest, graph, settings)


@lru_cache(maxsize=4)
def _unfolded(model: Model) -> tuple[bytes, str, Graph]:
    """(float32 file with the appended labels, its sha256, its graph). Raises QuantizeError."""
    try:
        data = with_associated_files(unfolded(model.data, read_graph(model.data)), model.data)
        return data, digest_of(data), read_graph(data)
    except ModelError as error:
        raise QuantizeError(f"{model.name} {error}") from error


def float_model(context: Context, model: LoadedModel, source: Source) -> LoadedModel:
    """The float32 network of a source: the model itself or, if it was unfolded, the result with the same settings.

    Losses are measured against this network; operator numbers are indices in it. Raises ModelError, WorkerError.
    """
    if source.float_digest == model.digest:
        return model
    loaded = load_model(context.engine, ModelSource(model.name, source.float_data, digest=source.float_digest))
    given = model.inspection
    inspection = replace(loaded.inspection, settings=given.settings, sources=given.sources, decoder=given.decoder)
    return replace(loaded, inspection=inspection, converted_from=f"{model.scheme} .tflite file")


def with_associated_files(data: bytes, original: bytes) -> bytes:
    """The file `data` with the labels and notes that `original` has in an appended zip archive."""
    files = associated_files(original)
    if not files:
        return data
    buffer = io.BytesIO(data)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without a date: the same bytes each time
    return buffer.getvalue()


def with_unique_tensor_names(graph: Graph) -> Graph:
    """The graph with a unique name for each tensor."""
    counts = Counter(tensor.name for tensor in graph.tensors)
    if counts[""] == 0 and max(counts.values(), default=0) <= 1:
        return graph
    tensors = tuple(
        tensor if tensor.name and counts[tensor.name] == 1 else replace(tensor, name=f"{tensor.name}#{tensor.index}")
        for tensor in graph.tensors
    )
    return replace(graph, tensors=tensors)


def rename_tensors(subgraphs: list[Any], graph: Graph) -> None:
    """Write the names of the graph's tensors into the main subgraph (flatbuffer objects), in place."""
    for tensor, named in zip(subgraphs[0].tensors, graph.tensors, strict=True):
        tensor.name = named.name.encode()
