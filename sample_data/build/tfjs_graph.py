"""Reads the TensorFlow.js graph model inside an npm tarball as a TensorFlow GraphDef.

A TF.js graph model is `model.json` plus binary shards. `modelTopology` is a GraphDef written as
JSON whose constants are empty; `weightsManifest` lists for each group the shards (`paths`) and, in
the order in which they lie in the joined shards, each constant's name, dtype and shape. Values are
little-endian and packed without padding. Source of the format: tfjs-core `io/types.ts`
(`WeightsManifestEntry`), Apache-2.0.

Only what the pinned package holds is read: float32 and int32, not quantized. Anything else raises.
"""

import base64
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.framework.graph_pb2 import GraphDef

DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}


def read_graph(tarball: Path, member: str, sha256: str) -> GraphDef:
    """The graph with all its constants filled in.

    `member` is the path of model.json inside the tarball; the shards lie beside it.
    `sha256` is the hex digest the tarball must have.
    """
    digest = hashlib.sha256(tarball.read_bytes()).hexdigest()
    if digest != sha256:
        raise ValueError(f"{tarball.name} has sha256 {digest}, expected {sha256}: another release?")
    with tarfile.open(tarball) as files:
        model = json.loads(_member(files, member))
        graph = parse_topology(model["modelTopology"])
        constants: dict[str, np.ndarray] = {}
        for group in model["weightsManifest"]:
            paths = [PurePosixPath(member).with_name(path) for path in group["paths"]]
            joined = b"".join(_member(files, str(path)) for path in paths)
            constants.update(split_weights(joined, group["weights"]))
    fill_constants(graph, constants)
    return graph


def _member(files: tarfile.TarFile, name: str) -> bytes:
    handle = files.extractfile(name)
    if handle is None:
        raise ValueError(f"{name} in the tarball is not a file")
    return handle.read()


def parse_topology(topology: dict[str, Any]) -> GraphDef:
    """GraphDef from `modelTopology`; constants still empty."""
    for node in topology["node"]:
        for value in node.get("attr", {}).values():
            # This TF.js converter wrote bytes as a list of codes; protobuf's JSON wants base64.
            if isinstance(value.get("s"), list):
                value["s"] = base64.b64encode(bytes(value["s"])).decode()
    return json_format.ParseDict(topology, GraphDef())


def split_weights(joined: bytes, entries: list[dict[str, Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, array) of each manifest entry, cut from the group's joined shards."""
    offset = 0
    for entry in entries:
        if entry["dtype"] not in DTYPES or entry.get("quantization"):
            raise ValueError(f"expected unquantized {' or '.join(DTYPES)}, found {entry}")
        count = int(np.prod(entry["shape"], dtype=np.int64))
        values = np.frombuffer(joined, DTYPES[entry["dtype"]], count, offset)
        offset += values.nbytes
        yield entry["name"], values.reshape(entry["shape"])
    if offset != len(joined):
        raise ValueError(f"the shards hold {len(joined)} bytes, the manifest describes {offset}")


def fill_constants(graph: GraphDef, constants: dict[str, np.ndarray]) -> None:
    """Puts each constant's values into its node; every Const node must have some."""
    for node in graph.node:
        if node.op == "Const":
            node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(constants[node.name]))


def constant(graph: GraphDef, name: str) -> np.ndarray:
    """The values of the constant `name`."""
    (node,) = (node for node in graph.node if node.name == name)
    return tf.make_ndarray(node.attr["value"].tensor)


def cut(graph: GraphDef, start: str, shape: tuple[int, ...], ends: tuple[str, ...]) -> GraphDef:
    """The nodes between `start` and `ends`, in the graph's order.

    `start` becomes a float32 placeholder of `shape`; what fed it is left behind.
    """
    nodes = {node.name: node for node in graph.node}
    needed: set[str] = set()
    waiting = list(ends)
    while waiting:
        name = waiting.pop().split(":")[0].lstrip("^")
        if name not in needed:
            needed.add(name)
            waiting += [] if name == start else nodes[name].input
    part = GraphDef(versions=graph.versions)
    part.node.extend(node for node in graph.node if node.name in needed - {start})
    placeholder = part.node.add(name=start, op="Placeholder")
    placeholder.attr["dtype"].type = tf.float32.as_datatype_enum
    placeholder.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
    return part


def run(graph: GraphDef, feed: dict[str, np.ndarray], fetch: list[str]) -> list[np.ndarray]:
    """Values of the nodes `fetch` when TensorFlow runs the graph as it stands."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.graph_util.import_graph_def(graph, name="")
        return session.run([f"{name}:0" for name in fetch], {f"{name}:0": value for name, value in feed.items()})
