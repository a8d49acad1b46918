"""Recipes and algorithms, written out: what each makes, what it needs and what it cannot do.

Names are those of schemes (`qviz.structures.Scheme`), with the bits of the weights where there is a choice.
weights   int8 and int4 weights are symmetric, one scale a channel (blockwise: one a block of inputs of each channel)
int8      activations of 8 bits, asymmetric, one scale a tensor; int16x8: 16 bits, symmetric
kinds     operators by their names in TensorFlow Lite's schema; source: litert-quantizer 0.11's default policy and its
          algorithm manager (a test compares them with the installed package)

Every recipe starts from a float32 network. TensorFlow's converter builds what it can from a SavedModel or a Keras file,
litert-quantizer all of them from a float32 .tflite file, to which a SavedModel is converted first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from qviz.structures import Scheme

_CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
WEIGHTS_8 = _CONVOLUTIONS | {"BATCH_MATMUL"}
"""Operators whose weights can have 8 bits."""
_DYNAMIC_4 = frozenset({"CONV_2D", "FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
_DENSE = frozenset({"FULLY_CONNECTED", "EMBEDDING_LOOKUP"})
_INTEGERS = frozenset(Scheme) - {Scheme.FLOAT16}


class Builder(StrEnum):
    """The value is how people call it."""

    CONVERTER = "TensorFlow's converter"
    LITERT_QUANTIZER = "litert-quantizer"


BOTH = (Builder.CONVERTER, Builder.LITERT_QUANTIZER)
ONLY_LITERT_QUANTIZER = (Builder.LITERT_QUANTIZER,)


@dataclass(frozen=True, slots=True)
class Recipe:
    """One row of `RECIPES`.

    weight_bits: of the kinds named; kinds that lack a kernel for so few get 8. activation_bits: None where they stay
    float. io: the types that the network's inputs and outputs may have. describe, cannot: a sentence each.
    """

    name: str
    scheme: Scheme
    weight_bits: int
    kinds: frozenset[str]
    describe: str
    cannot: str
    activation_bits: int | None = None
    blockwise: bool = False
    builders: tuple[Builder, ...] = ONLY_LITERT_QUANTIZER
    io: tuple[str, ...] = ("float",)

    @property
    def needs_calibration(self) -> bool:
        """Activations have fixed ranges, which only images tell."""
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
            builders=BOTH,
        ),
        Recipe(
            "dynamic_range",
            Scheme.DYNAMIC_RANGE,
            8,
            WEIGHTS_8,
            "int8 weights; kernels quantize their float input anew for each image: a quarter of the size.",
            "Activations and all between the kernels stay float.",
            builders=BOTH,
        ),
        Recipe(
            "dynamic_range_int4",
            Scheme.DYNAMIC_RANGE,
            4,
            _DYNAMIC_4,
            "As dynamic_range, with int4 weights: an eighth of the size.",
            "DEPTHWISE_CONV_2D, TRANSPOSE_CONV and BATCH_MATMUL get int8 weights: LiteRT has no int4 kernel for them.",
        ),
        Recipe(
            "dynamic_range_int4_blockwise",
            Scheme.DYNAMIC_RANGE,
            4,
            _DENSE,
            "As dynamic_range_int4, with a scale for each block of inputs.",
            "Only FULLY_CONNECTED and EMBEDDING_LOOKUP have blockwise kernels; a network without them is refused, and"
            " its other operators get int8 weights.",
            blockwise=True,
        ),
        Recipe(
            "weight_only_int8",
            Scheme.WEIGHT_ONLY,
            8,
            WEIGHTS_8,
            "int8 weights, brought back to float before they are used: a quarter of the size, little loss.",
            "It makes nothing faster: all is computed in float32.",
        ),
        Recipe(
            "weight_only_int4",
            Scheme.WEIGHT_ONLY,
            4,
            _DYNAMIC_4 | {"BATCH_MATMUL"},
            "As weight_only_int8, with int4 weights: an eighth of the size.",
            "litert-quantizer gives DEPTHWISE_CONV_2D and TRANSPOSE_CONV int8 weights here too; unpacking makes it"
            " slower than float32. There are no blocks: LiteRT's DEQUANTIZE reads them wrong.",
        ),
        Recipe(
            "int8",
            Scheme.INT8,
            8,
            WEIGHTS_8,
            "Integers throughout: a quarter of the size, the fastest on CPU, DSP and Edge TPU.",
            "Operators without an int8 kernel stay float islands; it needs images that look like those in use.",
            activation_bits=8,
            builders=BOTH,
            io=("float", "int8", "uint8"),
        ),
        Recipe(
            "int16x8",
            Scheme.INT16X8,
            8,
            WEIGHTS_8,
            "int8 weights and 16-bit activations: nearly float's accuracy in integers.",
            "XNNPACK has no kernels for it: on a CPU it is tens of times slower than int8.",
            activation_bits=16,
            builders=BOTH,
            io=("float", "int16"),
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Algorithm:
    """How the weights' scales (and integers) are chosen. key: litert-quantizer's name; schemes: where it works."""

    name: str
    key: str
    kinds: frozenset[str]
    describe: str
    cannot: str = "float16 only rounds to half precision: there is no scale to choose."
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
            "It knows no blocks, nor float16.",
            blockwise=False,
        ),
        Algorithm(
            "gptq",
            "GPTQ",
            frozenset({"FULLY_CONNECTED"}),
            "Each weight's rounding error is made good by those not rounded yet, as the images need it.",
            "It is for FULLY_CONNECTED in recipes with float activations and needs images with each of"
            " them; in integer files litert-quantizer 0.11 leaves weights behind a RESHAPE in float.",
            schemes=frozenset({Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY}),
            needs_images=True,
        ),
        Algorithm(
            "hadamard",
            "DECOMPOSED_HADAMARD_ROTATION",
            _DENSE,
            "Weights and inputs are rotated first, so that outliers are spread over all of them.",
            "It is for FULLY_CONNECTED and EMBEDDING_LOOKUP in dynamic-range recipes only; the rotation stays float.",
            schemes=frozenset({Scheme.DYNAMIC_RANGE}),
        ),
    )
}

BLOCKS = (32, 64, 128, 256)


@dataclass(frozen=True, slots=True)
class Options:
    """What a recipe leaves open.

    io: type of inputs and outputs. keep_float: regular expressions, searched in the names of the tensors that operators
    write; keep_orders: operators of the float32 .tflite file. block: inputs that share a scale, where blockwise.
    """

    io: str = "float"
    algorithm: str = "minmax"
    keep_float: tuple[str, ...] = ()
    keep_orders: tuple[int, ...] = ()
    block: int = 32

    @property
    def keeps(self) -> bool:
        """Whether something that could be quantized shall stay float."""
        return bool(self.keep_float or self.keep_orders)
