"""Tensors inside a network that a device records: which they are, and how arrays of other tools are recognised.

An array belongs to a tensor of the file if it has the tensor's name. In this comparison, characters other than letters
and digits count as `_`, a final `_output` is ignored (tools add it), and any one of the names suffices if a tensor's
name consists of several, joined with `;`. An array whose name matches no tensor belongs to the tensor with the same
shape (without dimensions of 1), if exactly one such tensor and one such array are left. All other arrays are ignored.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.errors import RecordingError, SettingsError
from qviz.features.backends.recording import HEADER, RUNNER, TensorFacts, byte_size, read_array, tensor_facts
from qviz.structures import Graph
from qviz.structures.archive import open_zip
from qviz.structures.operators import parse_orders
from qviz.tflite.scheme import unpacks_constant

ALL = "all"
ORDERS = re.compile(r"[0-9, -]+")
ADDED = re.compile(r"_output(?:_array)?$")
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError)
"""Errors that zipfile raises if an archive is damaged, encrypted, or compressed with an unknown method."""


@dataclass(frozen=True, slots=True)
class InnerTensor:
    """An output of an operator. index: index of the tensor in the file; order: index of the operator."""

    index: int
    order: int
    facts: TensorFacts


def inner_tensors(graph: Graph) -> tuple[InnerTensor, ...]:
    """The outputs of operators that hold real values, have a fixed shape, and have a name that no other tensor has.

    Outputs of the network are included. Outputs of a post-process are not, because their rows are objects. Weights that
    a DEQUANTIZE unpacks are not either: XNNPACK unpacks them itself and leaves that tensor's memory as it was.
    """
    ops = [op for op in graph.ops if op.kind != POST_PROCESS and not unpacks_constant(graph, op)]
    pairs = [(op, graph.tensors[index]) for op in ops for index in op.outputs]
    count = Counter(tensor.name for tensor in graph.tensors)
    return tuple(
        InnerTensor(tensor.index, op.order, tensor_facts(tensor, tensor.shape))
        for op, tensor in pairs
        if (tensor.quantized or tensor.dtype == "float32") and -1 not in tensor.shape and count[tensor.name] == 1
    )


def selected(graph: Graph, selection: str) -> tuple[TensorFacts, ...]:
    """The tensors to record besides the outputs of the network.

    Args:
        selection: `all`, indices of operators such as `0-12,40`, or a regular expression that is searched in the names
            of tensors; empty for none.

    Raises:
        SettingsError: The selection matches nothing, or is not a valid regular expression.
    """
    if not selection:
        return ()
    rows = [row for row in inner_tensors(graph) if row.index not in graph.outputs]
    if selection != ALL and ORDERS.fullmatch(selection):
        orders = parse_orders(selection)
        rows = [row for row in rows if row.order in orders]
    elif selection != ALL:
        try:
            expression = re.compile(selection)
        except re.error as error:
            raise SettingsError(f"{selection[:60]!r} is not a regular expression: {error}.") from error
        rows = [row for row in rows if expression.search(row.facts.name)]
    if not rows:
        raise SettingsError(
            f"{selection[:60]!r} selects no tensor inside the network; give all, operators by order (0-12,40), or part"
            " of a tensor's name."
        )
    return tuple(row.facts for row in rows)


def indices_of(graph: Graph, inner: Sequence[TensorFacts]) -> list[int]:
    """The index in the file of each inner tensor of a manifest. Raises RecordingError if the model lacks one."""
    by_name = {row.facts.name: row for row in inner_tensors(graph)}
    for facts in inner:
        row = by_name.get(facts.name)
        if row is None or (row.facts.shape, row.facts.dtype) != (facts.shape, facts.dtype):
            raise RecordingError(f"The manifest names the tensor {facts.name[:80]!r}, which the model does not have.")
    return [by_name[facts.name].index for facts in inner]


def read_inner(data: bytes, inner: Sequence[TensorFacts], name: str) -> dict[int, np.ndarray]:
    """Position in `inner` -> the recorded array of one image. Tensors that the device could not read are missing.

    Args:
        data: An .npz archive with arrays that are named by their position in `inner`.

    Raises:
        RecordingError: The archive is damaged, or has other contents.
    """
    arrays = {}
    try:
        with open_zip(data) as archive:
            for info in archive.infolist():
                number = info.filename.removesuffix(".npy")
                if not number.isdecimal() or len(number) > 6 or int(number) >= len(inner) or int(number) in arrays:
                    raise RecordingError(f"{name} holds {info.filename[:80]!r}, which was not to be recorded.")
                facts = inner[int(number)]
                arrays[int(number)] = read_array(member(archive, info, byte_size(facts) + HEADER, name), facts, name)
    except DAMAGED as error:
        raise RecordingError(f"{name} is not a complete .npz archive; record it again with {RUNNER}.") from error
    return arrays


def member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int, name: str) -> bytes:
    """The unpacked bytes of a file in an archive. Raises RecordingError if they are more than `max_bytes`."""
    with archive.open(info) as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise RecordingError(f"{name} has an array {info.filename[:80]!r} of more than {max_bytes:,} bytes.")
    return data


# ---- arrays of other tools ------------------------------------------------------------------------------------------


def plain(name: str) -> str:
    """The name with `_` in place of every character that is not a letter or digit."""
    return re.sub(r"[^A-Za-z0-9]", "_", name)


def by_name(names: Iterable[str], tensors: Sequence[InnerTensor]) -> dict[str, InnerTensor]:
    """Name of an array -> its tensor. Names that belong to no tensor, or to several, are left out."""
    owners: dict[str, set[int]] = {}
    for position, row in enumerate(tensors):
        for part in (row.facts.name, *row.facts.name.split(";")):
            owners.setdefault(plain(part), set()).add(position)
    matched: dict[str, InnerTensor] = {}
    used: set[int] = set()
    for name in names:
        whole = plain(name)
        positions = owners.get(whole) or owners.get(ADDED.sub("", whole)) or set()
        if len(positions) == 1 and not positions <= used:
            used |= positions
            matched[name] = tensors[next(iter(positions))]
    return matched


def by_shape(shapes: Mapping[str, Sequence[int]], tensors: Sequence[InnerTensor]) -> dict[str, InnerTensor]:
    """Name of an array -> the only tensor with its shape, if no other array has it.

    Args:
        shapes: Name of an array -> its shape for one image.
        tensors: The tensors that no array's name matches.
    """
    arrays = Counter(map(sides, shapes.values()))
    owners = Counter(sides(row.facts.shape) for row in tensors)
    only = {sides(row.facts.shape): row for row in tensors if owners[sides(row.facts.shape)] == 1}
    return {name: only[key] for name, shape in shapes.items() if arrays[key := sides(shape)] == 1 and key in only}


def sides(shape: Iterable[int]) -> tuple[int, ...]:
    """A shape without dimensions of 1, which tools add or leave out."""
    return tuple(side for side in shape if side != 1)
