"""Read a SavedModel without running it: its signature, and whether it has operators that are refused.

Source: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto, saved_object_graph.proto.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qviz.errors import ModelError
from qviz.tensorflow_models.sources import PROTO

DEFAULT = "serving_default"
MAX_PROTO = 512 << 20

_OUTSIDE = re.compile(
    "File|Reader|Record|Dataset|PyFunc|Summary|Debug|Rpc|Remote|Collective|Save|Checkpoint|ImmutableConst"
    "|LoadAndRemap|VocabRemap|PrintV2|ProtoV2|Gcs|TPU|Bigtable|TRTEngine|^_"
)
"""Operators that read or write files, use the network or run Python. Detectors do not need them."""
_SAVER = {"SaveV2", "MergeV2Checkpoints", "ShardedFilename"}
"""Operators in the saver of every SavedModel. They are allowed if neither loading nor a signature runs them."""


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output of a signature. shape: -1 for an open dimension, None if the rank is unknown."""

    name: str
    shape: tuple[int, ...] | None
    dtype: str


@dataclass(frozen=True, slots=True)
class Signature:
    """The inputs and outputs of the signature named `key` of a SavedModel."""

    key: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]

    def output(self, name: str) -> Port | None:
        """The output with this name; None if there is none."""
        return next((port for port in self.outputs if port.name == name), None)


def read_signature(tf: Any, folder: Path) -> Signature:
    """The default signature, or the only one. Raises ModelError if there is none or the graph has refused operators."""
    graphs = [_checked(graph) for graph in _proto(folder).meta_graphs]
    serving = next((graph for graph in graphs if "serve" in graph.meta_info_def.tags), None)
    if serving is None:
        raise ModelError("has no graph tagged 'serve'; save it with tf.saved_model.save or model.export.")
    signatures = {key: value for key, value in serving.signature_def.items() if not key.startswith("__")}
    key = DEFAULT if DEFAULT in signatures or len(signatures) != 1 else next(iter(signatures))
    if key not in signatures:
        names = ", ".join(sorted(signatures)) or "none"
        raise ModelError(f"has no signature {DEFAULT!r} (its signatures: {names}); save it with one.")
    return Signature(key, _ports(tf, signatures[key].inputs), _ports(tf, signatures[key].outputs))


def _proto(folder: Path) -> Any:
    from tensorflow.core.protobuf import saved_model_pb2

    path = folder / PROTO
    if path.stat().st_size > MAX_PROTO:
        raise ModelError(f"has a graph of {path.stat().st_size >> 20} MB; the limit is {MAX_PROTO >> 20} MB.")
    try:
        return saved_model_pb2.SavedModel.FromString(path.read_bytes())
    except Exception as error:  # protobuf's error
        raise ModelError(f"is damaged: its {PROTO} cannot be read. Copy or export it again.") from error


def _ports(tf: Any, infos: Any) -> tuple[Port, ...]:
    return tuple(
        Port(
            name,
            None if info.tensor_shape.unknown_rank else tuple(int(dim.size) for dim in info.tensor_shape.dim),
            tf.dtypes.as_dtype(info.dtype).name if info.dtype else "unknown",
        )
        for name, info in sorted(infos.items())
    )


def _checked(meta: Any) -> Any:
    """The same graph, checked. Raises ModelError if it has operators that are refused."""
    library = {function.signature.name: function.node_def for function in meta.graph_def.library.function}
    nodes = [*meta.graph_def.node, *(node for function in library.values() for node in function)]
    refused = {node.op for node in nodes if _OUTSIDE.search(node.op)} - _SAVER
    refused |= _runnable(meta, library) & _SAVER
    if refused:
        raise ModelError(
            f"has operators that access files, the network or Python ({', '.join(sorted(refused)[:5])}) and, for"
            " safety, is not run; save only the detector's network."
        )
    return meta


def _runnable(meta: Any, library: dict[str, Any]) -> set[str]:
    """Types of the operators that loading or a signature can reach: all except those that only the saver uses."""
    main = {node.name: node for node in meta.graph_def.node}
    reached = _closure(_roots(meta), lambda name: map(_node, main[name].input) if name in main else ())
    nodes = [main[name] for name in reached if name in main]
    called = [*meta.object_graph_def.concrete_functions, *(name for node in nodes for name in _called(node))]
    functions = _closure(called, lambda name: (inner for node in library.get(name, ()) for inner in _called(node)))
    return {node.op for node in nodes} | {node.op for name in functions for node in library.get(name, ())}


def _closure(start: Iterable[str], onward: Callable[[str], Iterable[str]]) -> set[str]:
    """All names that can be reached from `start`, including the names in `start`.

    onward: returns the names to which a name leads directly.
    """
    reached: set[str] = set()
    todo = list(start)
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += onward(name)
    return reached


def _roots(meta: Any) -> Iterable[str]:
    """Names of the nodes of the main graph that signatures, initialisers and the restoring of variables run."""
    names = [info.name for signature in meta.signature_def.values() for info in signature.outputs.values()]
    names += [name for collection in meta.collection_def.values() for name in collection.node_list.value]
    return map(_node, [*names, meta.saver_def.restore_op_name])


def _node(tensor: str) -> str:
    return tensor.lstrip("^").split(":")[0]


def _called(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for attribute in node.attr.values():
        yield attribute.func.name
        yield from (function.name for function in attribute.list.func)
