"""A model file and its network: tensors and operators of the main subgraph, without weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from qviz.structures.quantization import Quantization


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor of the main subgraph.

    Attributes:
        shape: Size of each dimension; -1 where the file leaves it open.
        dtype: Name of the numpy type.
        quantization: Scales and zero points, or None.
        constant: Whether the file contains the tensor's data.
        bytes: Size of that data in the file.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    constant: bool
    bytes: int = 0

    @property
    def quantized(self) -> bool:
        """Whether its values are integers that represent real values."""
        return self.quantization is not None and self.dtype in QUANTIZED_DTYPES

    @property
    def per_tensor(self) -> Quantization | None:
        """Its quantization if the whole tensor has a single scale, else None."""
        return self.quantization if self.quantized and self.quantization and not self.quantization.per_channel else None


@dataclass(frozen=True, slots=True)
class Op:
    """An operator.

    Attributes:
        order: Its index in the order of execution, from 0.
        kind: Name of the builtin operator (e.g. CONV_2D) or of the custom operator.
        inputs: Tensor indices; None for an absent optional input.
    """

    order: int
    kind: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    custom: bool = False
    options: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class HeadNotes:
    """What the metadata of a file say about its outputs.

    Attributes:
        task: `detect`, `pose`, `segment` or `obb`; empty if it is not stated.
        classes: Number of class names; 0 if there are none.
        keypoints: Number of keypoint values in each row; 0 if there are none.
        keypoint_size: Number of values of one keypoint, 2 (x, y) or 3 (and visibility); 0 if it is not stated.
        anchors: (n, 4) cy, cx, h, w normalised to [0, 1], or None.
        scales: y, x, h and w scales of the box coder for these anchors.
        sigmoid: Whether the scores are logits, to which a sigmoid must be applied.
    """

    task: str = ""
    classes: int = 0
    keypoints: int = 0
    anchors: np.ndarray | None = None
    scales: tuple[float, ...] = (10.0, 10.0, 5.0, 5.0)
    sigmoid: bool = False
    keypoint_size: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """The main subgraph.

    Attributes:
        inputs, outputs: Tensor indices.
        subgraphs: Number of subgraphs in the file.
        signature: Name in the file's signature -> tensor index.
        notes: What the file's metadata say about the outputs.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    subgraphs: int = 1
    description: str = ""
    signature: dict[str, int] = field(default_factory=dict)
    notes: HeadNotes = field(default_factory=HeadNotes)

    def input_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.inputs)

    def output_tensors(self) -> tuple[Tensor, ...]:
        return tuple(self.tensors[index] for index in self.outputs)

    def op_inputs(self, op: Op) -> Iterator[Tensor]:
        """The operator's inputs, without absent ones."""
        return (self.tensors[index] for index in op.inputs if index is not None)

    def op_outputs(self, op: Op) -> Iterator[Tensor]:
        return (self.tensors[index] for index in op.outputs)

    def names_of(self, tensor: Tensor) -> str:
        """The name of a tensor and its name in the signature, in lower case and separated by a space."""
        signature = {index: name for name, index in self.signature.items()}
        return f"{tensor.name} {signature.get(tensor.index, '')}".lower()

    def producer(self, tensor: int) -> Op | None:
        """The operator that computes a tensor; None for inputs and constants."""
        return next((op for op in self.ops if tensor in op.outputs), None)


QUANTIZED_DTYPES = frozenset({"int4", "int8", "uint8", "int16", "int2"})
OUTPUT_AXES = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0, "TRANSPOSE_CONV": 0, "CONV_3D": 4}
"""Operator -> the axis of its weights that is the output channels (TensorFlow Lite's operator reference)."""
BIAS_INPUT = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
"""Operator -> the index of the input that is its bias."""
JOINS = frozenset({"CONCATENATION", "GATHER", "GATHER_ND", "PACK", "SPLIT", "UNPACK"})
DATA_MOVERS = JOINS | {
    *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "SLICE", "STRIDED_SLICE", "SPLIT_V", "QUANTIZE", "DEQUANTIZE"),
    *("PAD", "PADV2", "MIRROR_PAD", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "MAX_POOL_2D", "RESIZE_NEAREST_NEIGHBOR"),
}
"""Operators whose output values all occur in their inputs. JOINS are those operators among them that have several data
tensors, or whose first input may be something else than the data."""
FIXED_RANGE = frozenset({"LOGISTIC", "SOFTMAX", "LOG_SOFTMAX", "TANH", "L2_NORMALIZATION"})
"""Operators whose integer kernels prescribe the scale of the output, so that calibration does not choose it. For 8-bit
LOGISTIC it is 1/256, and the largest value is .9961. Such a range clips by at most one step. Source: TensorFlow Lite's
8-bit quantization specification."""


def has_fixed_range(graph: Graph, tensor: int) -> bool:
    """Whether a kernel prescribes the scale of a tensor, or of the tensor of which it is a reshaped or moved copy."""
    maker = graph.producer(tensor)
    while maker is not None and maker.kind in DATA_MOVERS - JOINS and maker.inputs and maker.inputs[0] is not None:
        if graph.tensors[tensor].dtype != graph.tensors[maker.inputs[0]].dtype or maker.kind == "QUANTIZE":
            return False
        tensor = maker.inputs[0]
        maker = graph.producer(tensor)
    return maker is not None and maker.kind in FIXED_RANGE


class Scheme(StrEnum):
    """How a file is quantized, according to its tensors."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    DYNAMIC_RANGE = "dynamic_range"
    WEIGHT_ONLY = "weight_only"
    INT8 = "int8"
    INT16X8 = "int16x8"
    MIXED = "mixed"
    RECORDED = "recorded"
    """Recorded results, which have no weights."""


@dataclass(frozen=True, slots=True)
class Model:
    """A .tflite file. digest: sha256 of its bytes."""

    name: str
    data: bytes = field(repr=False)
    digest: str
    scheme: Scheme
