"""Tensor names that tell tensors apart.

litert-quantizer knows tensors by name and refuses a file where two have the same one, or none: some exporters write
such files. There each gets its index behind its name, `name#12`, in the graph that we look at and in the file it reads.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from qviz.structures import Graph


def named_apart(graph: Graph) -> Graph:
    """The graph, each tensor's name its own."""
    counts = Counter(tensor.name for tensor in graph.tensors)
    if counts[""] == 0 and max(counts.values(), default=0) <= 1:
        return graph
    tensors = tuple(
        tensor if tensor.name and counts[tensor.name] == 1 else replace(tensor, name=f"{tensor.name}#{tensor.index}")
        for tensor in graph.tensors
    )
    return replace(graph, tensors=tensors)


def rename(subgraphs: list[Any], graph: Graph) -> None:
    """Gives the main subgraph's tensors (flatbuffer objects) the names that the graph has; the others' stay."""
    for tensor, named in zip(subgraphs[0].tensors, graph.tensors, strict=True):
        tensor.name = named.name.encode()
