"""Whether a recipe can be carried out, told before anything runs; and which operators were asked to stay float.

Every refusal is a `QuantizeError` of one or two sentences. `graph` is always that of the float32 .tflite file: what a
SavedModel becomes when it is converted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from qviz.errors import QuantizeError
from qviz.features.building.ranges import Calibration
from qviz.features.building.recipes import ALGORITHMS, BLOCKS, RECIPES, Algorithm, Builder, Options, Recipe
from qviz.structures import Graph, Op, Scheme
from qviz.tensorflow_models import SourceKind
from qviz.tflite.scheme import scheme_facts

FLOAT = "float32"


def recipe_of(name: str) -> Recipe:
    """The row of that name. Raises QuantizeError."""
    if name not in RECIPES:
        raise QuantizeError(f"{name!r} is no recipe; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]


def algorithm_of(name: str) -> Algorithm:
    """The row of that name. Raises QuantizeError."""
    if name not in ALGORITHMS:
        raise QuantizeError(f"{name!r} is no algorithm; choose one of {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]


def builder_of(recipe: Recipe, kind: SourceKind, options: Options, method: str = "minmax", images: int = 0) -> Builder:
    """TensorFlow's converter where there is something to convert and it can do all that is asked.

    It knows min-max only, keeps nothing in float by name, and calibrates by itself, on images. method: of calibration.
    """
    plain = options.algorithm == "minmax" and not options.keeps
    calibrates = not recipe.needs_calibration or (method == "minmax" and images > 0)
    if kind is not SourceKind.TFLITE and Builder.CONVERTER in recipe.builders and plain and calibrates:
        return Builder.CONVERTER
    return Builder.LITERT_QUANTIZER


def check(recipe: Recipe, graph: Graph, options: Options = Options()) -> None:
    """Raises QuantizeError where the network, the recipe and the options do not fit together."""
    _check_source(recipe, graph)
    _check_options(recipe, options)
    algorithm = algorithm_of(options.algorithm)
    _check_algorithm(recipe, algorithm)
    kept = kept_orders(graph, options)
    left = {op.kind for op in graph.ops if op.order not in kept}
    _check_kinds(f"recipe {recipe.name}", recipe.kinds, left, bool(kept))
    if algorithm.name != "minmax":
        _check_kinds(f"algorithm {algorithm.name}", algorithm.kinds & recipe.kinds, left, bool(kept))


def check_calibration(
    recipe: Recipe, model: str, options: Options, calibration: Calibration | None, images: int
) -> None:
    """What images have to tell is there, and of this model (its digest). Raises QuantizeError."""
    if algorithm_of(options.algorithm).needs_images and not images:
        raise QuantizeError(
            f"Algorithm {options.algorithm} needs the calibration images themselves (--calibration DIR)."
        )
    if recipe.needs_calibration and calibration is None:
        raise QuantizeError(
            f"Recipe {recipe.name} needs calibration: give 50 to 500 images that look like those in use"
            " (--calibration DIR)."
        )
    if calibration is not None and calibration.model != model:
        raise QuantizeError("The calibration was measured on another model's tensors; calibrate on this one.")


def kept_orders(graph: Graph, options: Options) -> dict[int, str]:
    """Operators that were asked to stay float, by order, and how. Raises QuantizeError where one is not there."""
    kept: dict[int, str] = {}
    for pattern in options.keep_float:
        found = [op.order for op in graph.ops if _matches(pattern, op, graph)]
        if not found:
            raise QuantizeError(
                f"{pattern!r} is found in no operator's name, e.g. {_some_names(graph)}; qviz layers lists them."
            )
        kept |= {order: f"kept by --keep-float {pattern}" for order in found if order not in kept}
    for order in options.keep_orders:
        if not 0 <= order < len(graph.ops):
            raise QuantizeError(f"There is no operator {order}: the {len(graph.ops)} are counted from 0.")
        kept.setdefault(order, f"chosen to stay float (operator {order})")
    return kept


def _matches(pattern: str, op: Op, graph: Graph) -> bool:
    try:
        return any(re.search(pattern, tensor.name) for tensor in graph.op_outputs(op))
    except re.error as error:
        raise QuantizeError(
            f"{pattern!r} is no regular expression ({error}); escape ( [ * with a backslash."
        ) from error


def _some_names(graph: Graph) -> str:
    return ", ".join(repr(tensor.name[:80]) for op in graph.ops[:2] for tensor in graph.op_outputs(op))


def _check_source(recipe: Recipe, graph: Graph) -> None:
    scheme = scheme_facts(graph).scheme
    if scheme is not Scheme.FLOAT32:
        raise QuantizeError(
            f"The file is {scheme} already, and recipe {recipe.name} starts from float32 weights; give the float32"
            " .tflite file or the SavedModel that it was made from."
        )
    if len(graph.inputs) != 1:
        raise QuantizeError(f"The network has {len(graph.inputs)} inputs; a detector of one image is expected.")
    if graph.subgraphs > 1 and recipe.needs_calibration:
        raise QuantizeError(
            f"The network has control flow ({graph.subgraphs} subgraphs), whose insides cannot be calibrated; choose"
            " dynamic_range or a weight-only recipe."
        )


def _check_options(recipe: Recipe, options: Options) -> None:
    if options.io not in recipe.io:
        able = ", ".join(name for name, other in RECIPES.items() if options.io in other.io)
        reach = f"{able} can have it" if able else "no recipe has it"
        raise QuantizeError(
            f"Recipe {recipe.name} has inputs and outputs of {' or '.join(recipe.io)}, not {options.io}; {reach}."
        )
    if options.block not in BLOCKS:
        raise QuantizeError(f"A block of {options.block} is not known; choose one of {', '.join(map(str, BLOCKS))}.")


def _check_algorithm(recipe: Recipe, algorithm: Algorithm) -> None:
    if recipe.scheme not in algorithm.schemes:
        raise QuantizeError(f"Algorithm {algorithm.name} does not fit recipe {recipe.name}. {algorithm.cannot}")
    if recipe.blockwise and not algorithm.blockwise:
        raise QuantizeError(f"Algorithm {algorithm.name} does not fit recipe {recipe.name}. {algorithm.cannot}")


def _check_kinds(who: str, wanted: Iterable[str], found: set[str], kept: bool) -> None:
    if not found.intersection(wanted):
        left = "left to quantize" if kept else "in this network"
        raise QuantizeError(f"There is nothing for {who} {left}: it is for {', '.join(sorted(wanted))}.")
