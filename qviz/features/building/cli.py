"""`qviz quantize`: build a quantized variant.

The source is a float32 .tflite file (built by litert-quantizer), a SavedModel or a Keras file (built by TensorFlow's
converter if it supports the options). Calibration images are prepared exactly as for inference.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.building.result import Built


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, None)
    parser.add_argument("--recipe", required=True, metavar="NAME", help="e.g. int8, dynamic_range; see --recipes")
    parser.add_argument("--recipes", action=_ListRecipes, nargs=0, help="list all recipes and algorithms")
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FILE", help="the .tflite file to write"
    )
    _add_calibration(parser)
    parser.add_argument("--io", default="float", metavar="float|int8|uint8|int16", help="type of inputs and outputs")
    parser.add_argument(
        "--algorithm", default="minmax", metavar="minmax|octav|mse|gptq|hadamard", help="how weights get their scales"
    )
    _add_float_operators(parser)
    _add_wide_operators(parser)
    parser.add_argument(
        "--block", type=int, default=32, metavar="N", help="how many inputs share a scale, in blockwise recipes"
    )
    parser.add_argument(
        "--cures",
        type=options.names,
        metavar="NAME,...",
        help="split_head, equalize, split_channels, round_weights, correct_biases: changes that need no labels",
    )
    options.add_common(parser, csv=False)


def _add_calibration(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="calibration images, folders or zip archives of them; or one file of --save-ranges",
    )
    parser.add_argument(
        "--ranges",
        default="mean",
        metavar="mean|minmax|moving_average|percentile",
        help="how the activation ranges of the images are combined (default: mean)",
    )
    parser.add_argument(
        "--save-ranges",
        type=options.OutputPath,
        metavar="FILE",
        help="write the measured ranges to a file, to build other recipes from",
    )


def _add_float_operators(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keep-float",
        nargs="+",
        default=[],
        metavar="REGEX",
        help="keep in float the operators whose output tensor's name matches",
    )
    parser.add_argument(
        "--keep-operators",
        default="",
        metavar="ORDERS",
        help="keep these operators of the float32 .tflite file in float, e.g. 0-12,40",
    )


def _add_wide_operators(parser: argparse.ArgumentParser) -> None:
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--wide-operators",
        default="",
        metavar="ORDERS",
        help="recipe int8: 16-bit activations for these operators of the float32 .tflite file, e.g. 0-17",
    )
    group.add_argument(
        "--wide",
        nargs="+",
        default=[],
        metavar="REGEX",
        help="recipe int8: 16-bit activations for the operators whose output tensor's name matches",
    )


class _ListRecipes(argparse.Action):
    """Prints the tables of recipes and algorithms and then exits, as `--version` does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from qviz.features.building.recipes import ALGORITHMS, RECIPES

        for recipe in RECIPES.values():
            needs = "Needs calibration images. " if recipe.needs_calibration else ""
            print(f"{recipe.name}\n  {recipe.description} {needs}{recipe.limitation}")
        print("\nalgorithms (--algorithm), how weights get their scales:")
        for algorithm in ALGORITHMS.values():
            print(f"{algorithm.name}\n  {algorithm.description} {algorithm.limitation}".rstrip())
        parser.exit()


def run(args: argparse.Namespace) -> int:
    output.check_writable(args.output, args.save_ranges)
    with options.session_of(args) as session:
        built = session.quantize(
            args.recipe,
            ranges=args.ranges,
            cures=args.cures or (),
            keep_ranges=args.save_ranges is not None,
            io=args.io,
            algorithm=args.algorithm,
            keep_float=args.keep_float,
            keep_operators=args.keep_operators or (),
            block=args.block,
            wide=args.wide,
            wide_operators=args.wide_operators or (),
        )
    output.write(args.output, built.data)
    if args.save_ranges is not None and built.ranges is not None:
        output.write(args.save_ranges, json.dumps(built.ranges.to_json()).encode())
    _print(args, built)
    return 0


def _print(args: argparse.Namespace, built: Built) -> None:
    options.remark_warnings(built.warnings)
    options.remark(built.ranges.skipped if built.ranges is not None else ())
    if args.json:
        output.print_json({"file": str(args.output), **built.to_json()})
        return
    print(f"{args.output}: {built}")
    if built.stayed_float:
        print()
        output.print_table(["tensor", "reason"], [[row.tensor[-60:], row.reason] for row in built.stayed_float])
