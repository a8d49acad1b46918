"""Checks before anything runs: whether a recipe fits a network, and which operators stay in float.

Each failed check raises a `QuantizeError` of one or two sentences. In all functions, `graph` is the graph of the
float32 .tflite file; other formats are converted to such a file first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from qviz.errors import QuantizeError
from qviz.features.building.calibration import Calibration
from qviz.features.building.channel_parts import whole_name
from qviz.features.building.recipes import (
    BLOCKS,
    RECIPES,
    REWRITTEN,
    WIDE_KINDS,
    Algorithm,
    Builder,
    Options,
    Recipe,
    algorithm_of,
)
from qviz.features.building.source import with_unique_tensor_names
from qviz.structures import Graph, Op, Scheme
from qviz.structures.operators import orders_text
from qviz.tensorflow_models import SourceKind
from qviz.tflite.scheme import scheme_facts


def builder_of(recipe: Recipe, kind: SourceKind, options: Options, method: str = "minmax", images: int = 0) -> Builder:
    """TensorFlow's converter if it supports the source and all options, else litert-quantizer.

    The converter cannot read .tflite files, keep operators in float or give 16 bits to some of them. It does its own
    calibration, with min-max ranges only.

    Args:
        method: Method that computes the ranges, a name in `METHODS`.
        images: Number of calibration images.
    """
    plain = options.algorithm == "minmax" and not options.keeps_float and not options.widens
    calibrates = not recipe.needs_calibration or (method == "minmax" and images > 0)
    if kind is not SourceKind.TFLITE and Builder.CONVERTER in recipe.builders and plain and calibrates:
        return Builder.CONVERTER
    return Builder.LITERT_QUANTIZER


def check(recipe: Recipe, graph: Graph, options: Options = Options()) -> None:
    """Raise QuantizeError if the recipe or the options do not fit the network or each other."""
    graph = with_unique_tensor_names(graph)
    _check_source(recipe, graph)
    _check_options(recipe, options)
    algorithm = algorithm_of(options.algorithm)
    _check_algorithm(recipe, algorithm)
    in_float = operators_in_float(graph, options)
    _check_wide(recipe, graph, options, in_float)
    kinds = {op.kind for op in graph.ops if op.order not in in_float}
    _check_kinds(f"recipe {recipe.name}", recipe.kinds, kinds, bool(in_float))
    if algorithm.name != "minmax":
        _check_kinds(f"algorithm {algorithm.name}", algorithm.kinds & recipe.kinds, kinds, bool(in_float))


def check_calibration(
    recipe: Recipe, model: str, options: Options, calibration: Calibration | None, images: int
) -> None:
    """Raise QuantizeError if ranges or images are missing, or if the ranges belong to another model.

    model: digest of the float32 .tflite file.
    """
    if algorithm_of(options.algorithm).needs_images and not images:
        raise QuantizeError(
            f"Algorithm {options.algorithm} needs the calibration images themselves (--calibration DIR)."
        )
    if recipe.needs_calibration and calibration is None:
        raise QuantizeError(
            f"Recipe {recipe.name} needs calibration: give 50 to 500 representative images (--calibration DIR)."
        )
    if calibration is not None and calibration.model != model:
        raise QuantizeError("The ranges were measured on another model; calibrate on this one.")


def operators_in_float(graph: Graph, options: Options) -> dict[int, str]:
    """Index of each operator that the options keep in float -> the reason.

    Raises QuantizeError if an option matches no operator.
    """
    return _chosen(graph, options.keep_float, options.keep_orders, "kept by --keep-float", "kept by --keep-operators")


def wide_operators(graph: Graph, options: Options) -> dict[int, str]:
    """Index of each operator that the options give 16-bit activations -> the reason.

    Operators of kinds that cannot have 16-bit activations are included, although they will keep 8 bits. Raises
    QuantizeError if an option matches no operator.
    """
    return _chosen(graph, options.wide, options.wide_orders, "--wide", "--wide-operators")


def _chosen(
    graph: Graph, patterns: Iterable[str], numbers: Iterable[int], by_name: str, by_number: str
) -> dict[int, str]:
    """Index of each matching operator -> the reason, which names the option.

    by_name, by_number: how the reason begins if a pattern or a number matched.
    """
    reasons: dict[int, str] = {}
    for pattern in patterns:
        orders = [op.order for op in graph.ops if _matches(pattern, op, graph)]
        if not orders:
            raise QuantizeError(
                f"No operator's name contains {pattern!r}. Names are e.g. {_some_names(graph)}; qviz layers lists them."
            )
        reasons = dict.fromkeys(orders, f"{by_name} {pattern}") | reasons
    for order in numbers:
        if not 0 <= order < len(graph.ops):
            raise QuantizeError(f"There is no operator {order}: the network has {len(graph.ops)}, counted from 0.")
        reasons.setdefault(order, f"{by_number} {order}")
    return reasons


def _check_wide(recipe: Recipe, graph: Graph, options: Options, in_float: Collection[int]) -> None:
    """Raise QuantizeError if 16-bit activations of some operators do not fit the recipe or the network."""
    wide = wide_operators(graph, options)
    if not wide:
        return
    if recipe.activation_bits != 8:
        raise QuantizeError(
            f"16-bit activations of some operators fit recipe int8, not {recipe.name}; choose --recipe int8."
        )
    if both := sorted(set(wide) & set(in_float)):
        raise QuantizeError(f"Operators {orders_text(both)} cannot be in float and in 16 bits; choose one of the two.")
    kinds = {graph.ops[order].kind for order in wide}
    if not kinds & (WIDE_KINDS | REWRITTEN):
        raise QuantizeError(f"None of these operators has a 16-bit kernel: {', '.join(sorted(kinds))}.")


def _matches(pattern: str, op: Op, graph: Graph) -> bool:
    try:
        names = {name for tensor in graph.op_outputs(op) for name in (tensor.name, whole_name(tensor.name))}
        return any(re.search(pattern, name) for name in names)
    except re.error as error:
        raise QuantizeError(
            f"{pattern!r} is not a regular expression ({error}); escape ( [ * with a backslash."
        ) from error


def _some_names(graph: Graph) -> str:
    return ", ".join(repr(tensor.name[:80]) for op in graph.ops[:2] for tensor in graph.op_outputs(op))


def _check_source(recipe: Recipe, graph: Graph) -> None:
    scheme = scheme_facts(graph).scheme
    if scheme is not Scheme.FLOAT32:
        raise QuantizeError(
            f"The file is already {scheme}, and recipe {recipe.name} starts from float32 weights; give the float32"
            " .tflite file or the SavedModel that it was made from."
        )
    if len(graph.inputs) != 1:
        raise QuantizeError(f"The network has {len(graph.inputs)} inputs; a detector with one image input is expected.")
    if graph.subgraphs > 1 and recipe.needs_calibration:
        raise QuantizeError(
            f"The network has control flow ({graph.subgraphs} subgraphs), which cannot be calibrated; choose"
            " dynamic_range or a weight-only recipe."
        )


def _check_options(recipe: Recipe, options: Options) -> None:
    if options.io not in recipe.io:
        others = ", ".join(name for name, other in RECIPES.items() if options.io in other.io)
        where = f"choose {others}" if others else "no recipe supports it"
        raise QuantizeError(
            f"Recipe {recipe.name} has inputs and outputs of {' or '.join(recipe.io)}, not {options.io}; {where}."
        )
    if options.block not in BLOCKS:
        raise QuantizeError(
            f"A block of {options.block} is not supported; choose one of {', '.join(map(str, BLOCKS))}."
        )


def _check_algorithm(recipe: Recipe, algorithm: Algorithm) -> None:
    if recipe.scheme not in algorithm.schemes or (recipe.blockwise and not algorithm.blockwise):
        raise QuantizeError(f"Algorithm {algorithm.name} does not fit recipe {recipe.name}. {algorithm.limitation}")


def _check_kinds(name: str, supported: Iterable[str], kinds: set[str], some_in_float: bool) -> None:
    if not kinds.intersection(supported):
        where = "left to quantize" if some_in_float else "in this network"
        raise QuantizeError(f"No operator {where} suits {name}, which is for {', '.join(sorted(supported))}.")
