"""Recipes and algorithms: what each one builds, what it needs and what it cannot do.

Recipes are named after schemes (`qviz.structures.Scheme`). The name includes the bits of the weights if a scheme has
recipes with different ones.

weights      int8 and int4 weights are symmetric, with one scale per channel, or per block of a channel's inputs if
             the recipe is blockwise
activations  8 bits are asymmetric, 16 bits symmetric; both have one scale per tensor
kinds        the supported operators by their names in TensorFlow Lite's schema, as in litert-quantizer 0.11's default
             policy and algorithm manager (a test compares the tables with the installed package)

Every recipe starts from a float32 network. TensorFlow's converter builds what it can from a SavedModel or a Keras file;
litert-quantizer builds every recipe from a float32 .tflite file, to which other formats are converted first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from qviz.errors import QuantizeError, SettingsError
from qviz.structures import Graph, Op, Scheme, Tensor
from qviz.structures.graph import BIAS_INPUT
from qviz.structures.operators import parse_orders
from qviz.tflite.scheme import INTEGER_FORM

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
WEIGHTS_8 = _CONVOLUTIONS | {"BATCH_MATMUL"}
"""Operators whose weights can have 8 bits."""
_DYNAMIC_4 = frozenset({"CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
_DENSE = frozenset({"FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
_INTEGERS = frozenset(Scheme) - {Scheme.FLOAT16}


_WIDE = """ADD AVERAGE_POOL_2D BATCH_MATMUL BROADCAST_TO CONCATENATION CONV_2D DEPTHWISE_CONV_2D DIV
DYNAMIC_UPDATE_SLICE EQUAL FULLY_CONNECTED GATHER GATHER_ND GELU LOGISTIC MAXIMUM MAX_POOL_2D MEAN
MIRROR_PAD MUL NOT_EQUAL PACK PAD PADV2 REDUCE_MIN RELU RESHAPE RESIZE_BILINEAR
RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SELECT_V2 SLICE SOFTMAX SPLIT SQRT STRIDED_SLICE SUB SUM TANH
TRANSPOSE TRANSPOSE_CONV UNPACK"""
WIDE_KINDS = frozenset(_WIDE.split())
"""Operators that can have 16-bit activations beside 8-bit weights."""
REWRITTEN = frozenset({"HARD_SWISH", *INTEGER_FORM})
"""Operators without a 16-bit kernel that are replaced by operators with one, see `rewriting`."""


class Builder(StrEnum):
    """The program that writes the file; each value is its name for users."""

    CONVERTER = "TensorFlow's converter"
    LITERT_QUANTIZER = "litert-quantizer"


BOTH = (Builder.CONVERTER, Builder.LITERT_QUANTIZER)
ONLY_LITERT_QUANTIZER = (Builder.LITERT_QUANTIZER,)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of `RECIPES`, with all that searches and forms need to know about a recipe.

    Attributes:
        weight_bits: Bits of the weights of the operators in `kinds`; other operators get 8.
        description, limitation: What the recipe builds, and what it cannot do; one sentence each.
        speed_rank: Rank by expected latency on a CPU, the fastest first; searches try recipes in this order.
        activation_bits: Bits of activations; None if they stay float.
        io: Types that the network's inputs and outputs may have.
        untrainable: Reason why quantization-aware training is not possible; empty if it is.
    """

    name: str
    scheme: Scheme
    weight_bits: int
    kinds: frozenset[str]
    description: str
    limitation: str
    speed_rank: int
    activation_bits: int | None = None
    blockwise: bool = False
    builders: tuple[Builder, ...] = ONLY_LITERT_QUANTIZER
    io: tuple[str, ...] = ("float",)
    untrainable: str = ""

    @property
    def needs_calibration(self) -> bool:
        """Whether activations are quantized with fixed ranges, which are measured on calibration images."""
        return self.activation_bits is not None


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "float16",
            Scheme.FLOAT16,
            16,
            _CONVOLUTIONS,
            "Weights in half precision, computed in float32: half the size, hardly any loss.",
            "It makes nothing faster on a CPU.",
            speed_rank=6,
            builders=BOTH,
            untrainable="it only rounds to half precision and hardly loses anything",
        ),
        Recipe(
            "dynamic_range",
            Scheme.DYNAMIC_RANGE,
            8,
            WEIGHTS_8,
            "int8 weights; kernels quantize their float input at run time: a quarter of the size.",
            "Activations stay in float between the kernels.",
            speed_rank=2,
            builders=BOTH,
        ),
        Recipe(
            "dynamic_range_int4",
            Scheme.DYNAMIC_RANGE,
            4,
            _DYNAMIC_4,
            "As dynamic_range, with int4 weights: an eighth of the size.",
            "DEPTHWISE_CONV_2D, TRANSPOSE_CONV and BATCH_MATMUL get int8 weights: LiteRT has no int4 kernel for them.",
            speed_rank=3,
        ),
        Recipe(
            "dynamic_range_int4_blockwise",
            Scheme.DYNAMIC_RANGE,
            4,
            _DENSE,
            "As dynamic_range_int4, with a scale for each block of inputs.",
            "Only FULLY_CONNECTED and EMBEDDING_LOOKUP have blockwise kernels; a network without them is refused."
            " All other operators get int8 weights.",
            speed_rank=4,
            blockwise=True,
            untrainable="its scales belong to blocks of inputs, which training does not support",
        ),
        Recipe(
            "weight_only_int8",
            Scheme.WEIGHT_ONLY,
            8,
            WEIGHTS_8,
            "int8 weights, dequantized before use: a quarter of the size, little loss.",
            "It makes nothing faster: everything is computed in float32.",
            speed_rank=5,
        ),
        Recipe(
            "weight_only_int4",
            Scheme.WEIGHT_ONLY,
            4,
            _DYNAMIC_4 | {"BATCH_MATMUL"},
            "As weight_only_int8, with int4 weights: an eighth of the size.",
            "litert-quantizer gives DEPTHWISE_CONV_2D and TRANSPOSE_CONV int8 weights here too; unpacking makes it"
            " slower than float32. It has no blockwise scales: LiteRT's DEQUANTIZE reads them wrong.",
            speed_rank=7,
        ),
        Recipe(
            "int8",
            Scheme.INT8,
            8,
            WEIGHTS_8,
            "Integers throughout: a quarter of the size, the fastest on CPU, DSP and Edge TPU.",
            "Operators without an int8 kernel stay in float; it needs representative images.",
            speed_rank=1,
            activation_bits=8,
            builders=BOTH,
            io=("float", "int8", "uint8"),
        ),
        Recipe(
            "int16x8",
            Scheme.INT16X8,
            8,
            WEIGHTS_8,
            "int8 weights and 16-bit activations: close to the accuracy of float, in integers.",
            "XNNPACK has no kernels for it: on a CPU it is tens of times slower than int8.",
            speed_rank=8,
            activation_bits=16,
            builders=BOTH,
            io=("float", "int16"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A method that chooses the scales (and integers) of weights.

    key: litert-quantizer's name for it; schemes: the schemes that it supports.
    """

    name: str
    key: str
    kinds: frozenset[str]
    description: str
    limitation: str = "float16 only rounds to half precision: there is no scale to choose."
    schemes: frozenset[Scheme] = _INTEGERS
    blockwise: bool = True
    needs_images: bool = False


ALGORITHMS: dict[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "minmax",
            "min_max_uniform_quantize",
            WEIGHTS_8,
            "The largest weight of a channel sets its scale.",
            "",
            schemes=frozenset(Scheme),
        ),
        Algorithm(
            "octav",
            "OCTAV",
            WEIGHTS_8,
            "Weights are clipped where clipping and rounding together cost least (OCTAV, arXiv 2206.06501).",
        ),
        Algorithm(
            "mse",
            "MSE",
            _CONVOLUTIONS,
            "The scale follows from the weights' mean square, as if they were normally distributed.",
            "It supports neither blockwise scales nor float16.",
            blockwise=False,
        ),
        Algorithm(
            "gptq",
            "GPTQ",
            frozenset({"FULLY_CONNECTED"}),
            "Weights are rounded one by one; those still to come make up for each error, as the given images show it.",
            "It is for FULLY_CONNECTED in recipes with float activations and needs images; in integer files"
            " litert-quantizer 0.11 leaves weights after a RESHAPE in float.",
            schemes=frozenset({Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY}),
            needs_images=True,
        ),
        Algorithm(
            "hadamard",
            "DECOMPOSED_HADAMARD_ROTATION",
            _DENSE,
            "Weights and inputs are rotated first, which spreads outliers over all of them.",
            "It is for FULLY_CONNECTED and EMBEDDING_LOOKUP in dynamic-range recipes; the rotation stays in float.",
            schemes=frozenset({Scheme.DYNAMIC_RANGE}),
        ),
    )
}

BLOCKS = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a recipe.

    Attributes:
        io: Type of inputs and outputs.
        algorithm: A name in `ALGORITHMS`.
        keep_float: Regular expressions; operators whose output tensors' names contain a match stay in float.
        keep_orders: Indices, from 0, of operators of the float32 .tflite file that stay in float.
        wide: Regular expressions; matching operators get 16-bit activations in an int8 file.
        wide_orders: Indices of operators of the float32 .tflite file that get 16-bit activations.
        block: Number of inputs that share a scale, where the recipe is blockwise.
    """

    io: str = "float"
    algorithm: str = "minmax"
    keep_float: tuple[str, ...] = ()
    keep_orders: tuple[int, ...] = ()
    block: int = 32
    wide: tuple[str, ...] = ()
    wide_orders: tuple[int, ...] = ()

    @classmethod
    def of(
        cls,
        keep_float: str | Iterable[str] = (),
        keep_operators: str | Iterable[int] = (),
        wide: str | Iterable[str] = (),
        wide_operators: str | Iterable[int] = (),
        **options: Any,
    ) -> Options:
        """Options from keyword arguments.

        Args:
            keep_float, wide: One regular expression or several.
            keep_operators, wide_operators: Operator numbers, or text such as `0-12,40`.
            options: Other attributes of this class.

        Raises:
            SettingsError: A name is unknown; the message lists the known ones.
        """
        if unknown := sorted(set(options) - {"io", "algorithm", "block"}):
            names = ", ".join(OPTION_NAMES)
            raise SettingsError(f"{unknown[0]!r} is not an option of a recipe; known options are {names}.")
        return cls(
            keep_float=_expressions(keep_float),
            keep_orders=_orders(keep_operators),
            wide=_expressions(wide),
            wide_orders=_orders(wide_operators),
            **options,
        )

    @property
    def keeps_float(self) -> bool:
        """Whether operators that could be quantized stay in float."""
        return bool(self.keep_float or self.keep_orders)

    @property
    def widens(self) -> bool:
        """Whether some operators get 16-bit activations."""
        return bool(self.wide or self.wide_orders)


def _expressions(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) and given else tuple(given)


def _orders(given: str | Iterable[int]) -> tuple[int, ...]:
    """Sorted operator numbers, each once. Raises SettingsError."""
    return tuple(sorted(set((parse_orders(given) if given else ()) if isinstance(given, str) else given)))


OPTION_NAMES = ("io", "algorithm", "keep_float", "keep_operators", "block", "wide", "wide_operators")
"""Keywords of `Options.of`, the same words as on the command line."""


def weights_of(graph: Graph, op: Op) -> Tensor | None:
    """The weights of an operator; None if it has none or they are not constant. They are always the second input."""
    index = op.inputs[1] if op.kind in WEIGHTS_8 and len(op.inputs) > 1 else None
    tensor = graph.tensors[index] if index is not None else None
    return tensor if tensor is not None and tensor.constant else None


def bias_of(graph: Graph, op: Op) -> Tensor | None:
    """The bias of an operator; None if it has none."""
    at = BIAS_INPUT.get(op.kind, len(op.inputs))
    index = op.inputs[at] if at < len(op.inputs) else None
    return None if index is None else graph.tensors[index]


def recipe_of(name: str) -> Recipe:
    """The recipe with this name. Raises QuantizeError if there is none."""
    if name not in RECIPES:
        raise QuantizeError(f"{name!r} is not a recipe; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def algorithm_of(name: str) -> Algorithm:
    """The algorithm with this name. Raises QuantizeError if there is none."""
    if name not in ALGORITHMS:
        raise QuantizeError(f"{name!r} is not an algorithm; choose one of {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
