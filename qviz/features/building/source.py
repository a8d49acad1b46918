"""The source of a variant: the given model, the same as a float32 .tflite file, and unique names of its tensors.

litert-quantizer addresses tensors by name and refuses a file in which two tensors share a name or one has none; some
exporters write such files. In these, each affected tensor gets its index as a suffix, `name#12`, both in the graph that
qviz examines and in the file that litert-quantizer reads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from qviz.errors import QuantizeError
from qviz.features.detection.models import LoadedModel, ModelSource
from qviz.structures import Graph, Settings
from qviz.tensorflow_models import SourceKind


@dataclass(frozen=True, slots=True)
class Source:
    """A model to quantize.

    Attributes:
        kind, data, digest: Kind, bytes and sha256 of the given file.
        float_data, float_digest: Bytes and sha256 of the float32 .tflite file: the given one, or the result of
            conversion.
        graph: Graph of the float32 .tflite file.
        settings: How images are prepared.
    """

    kind: SourceKind
    data: bytes = field(repr=False)
    digest: str
    float_data: bytes = field(repr=False)
    float_digest: str
    graph: Graph = field(repr=False)
    settings: Settings


def source_of(model: LoadedModel, given: ModelSource | None = None) -> Source:
    """The source for builders.

    Args:
        model: The float32 .tflite file, with its settings.
        given: The file that the model was converted from, if there is one; some recipes are built from it directly.

    Raises:
        QuantizeError: TensorFlow Lite cannot express the model.
    """
    if model.refusal:
        raise QuantizeError(f"{model.name} {model.refusal}")
    original = given or ModelSource(model.name, model.model.data, digest=model.digest)
    graph, settings = model.inspection.graph, model.settings
    return Source(original.kind, original.data, original.digest, model.model.data, model.digest, graph, settings)


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
    """Give the tensors of the main subgraph (flatbuffer objects) their names in the graph."""
    for tensor, named in zip(subgraphs[0].tensors, graph.tensors, strict=True):
        tensor.name = named.name.encode()
