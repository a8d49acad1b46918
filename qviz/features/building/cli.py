"""build a quantized variant

From a float32 .tflite file (litert-quantizer), a SavedModel or a Keras file (TensorFlow's converter where it can).
Calibration images are prepared exactly as inference prepares them. `--recipes` says what there is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import QuantizeError

if TYPE_CHECKING:
    from qviz.engine import Engine
    from qviz.features.building import Built, Calibration, Options, Source
    from qviz.structures import EncodedImage


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="float32 .tflite file, SavedModel, .keras or .h5")
    parser.add_argument("--recipe", required=True, metavar="NAME", help="e.g. int8, dynamic_range; see --recipes")
    parser.add_argument(
        "--recipes", action=_Recipes, nargs=0, help="all recipes and algorithms, and what they cannot do"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .tflite file to write")
    parser.add_argument(
        "--calibration",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="images, folders or zip archives of them; or one file of --save-ranges",
    )
    parser.add_argument("--io", default="float", metavar="float|int8|uint8|int16", help="type of inputs and outputs")
    parser.add_argument("--algorithm", default="minmax", metavar="minmax|octav|mse|gptq|hadamard")
    parser.add_argument(
        "--keep-float",
        nargs="+",
        default=[],
        metavar="REGEX",
        help="operators stay float whose output tensors' names it is found in",
    )
    parser.add_argument(
        "--keep-operators", metavar="ORDERS", help="operators of the float32 .tflite file that stay float, e.g. 0-12,40"
    )
    parser.add_argument("--block", type=int, default=32, metavar="N", help="inputs that share a scale, where blockwise")
    parser.add_argument("--ranges", default="minmax", metavar="minmax|moving_average|percentile")
    parser.add_argument("--save-ranges", type=Path, metavar="FILE", help="keep the ranges for other recipes")
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser, csv=False)


class _Recipes(argparse.Action):
    """Prints both tables and ends, as --version does."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from qviz.features.building import ALGORITHMS, RECIPES

        for recipe in RECIPES.values():
            needs = "Needs calibration images. " if recipe.needs_calibration else ""
            print(f"{recipe.name}\n  {recipe.describe} {needs}{recipe.cannot}")
        print("\nalgorithms (--algorithm), how the weights' scales are chosen:")
        for algorithm in ALGORITHMS.values():
            print(f"{algorithm.name}\n  {algorithm.describe}" + (f" {algorithm.cannot}" if algorithm.cannot else ""))
        parser.exit()


def run(args: argparse.Namespace) -> int:
    from qviz.api.building import float_source
    from qviz.features.building import builders, check, recipe_of, start_building
    from qviz.features.detection.models import read_source

    recipe, asked = recipe_of(args.recipe), _options(args)
    output.check_writable(args.output, args.save_ranges)
    with options.engine_of(args) as engine:
        ranges, images = _calibration_files(args.calibration)
        source = float_source(engine, read_source(args.source, options.settings_of(args)), images)
        check(recipe, source.graph, asked)
        measured = _measured(engine, args, source, asked, images) if ranges is None else (ranges, {}, ())
        calibration, facts, unread = measured
        with builders() as workers:
            built = start_building(workers, source, recipe.name, asked, calibration, images).result()
    output.write(args.output, built.data)
    if args.save_ranges is not None and calibration is not None:
        output.write(args.save_ranges, json.dumps(calibration.to_json()).encode())
    options.remark(unread)
    _show(args, built, facts)
    return 0


def _options(args: argparse.Namespace) -> Options:
    from qviz.features.building import Options
    from qviz.features.what_if.sets import parse_orders

    orders = tuple(sorted(parse_orders(args.keep_operators))) if args.keep_operators else ()
    return Options(args.io, args.algorithm, tuple(args.keep_float), orders, args.block)


def _calibration_files(paths: Sequence[Path]) -> tuple[Calibration | None, list[EncodedImage]]:
    """Ranges measured before, or images. Raises QuantizeError, ImageError."""
    from qviz.datasets.files import load_images
    from qviz.features.building import Calibration

    if len(paths) == 1 and paths[0].suffix == ".json":
        try:
            said = json.loads(paths[0].read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise QuantizeError(f"{paths[0]} cannot be read as ranges of --save-ranges ({error}).") from error
        return Calibration.from_json(said, str(paths[0])), []
    return None, list(load_images(paths))


def _measured(
    engine: Engine, args: argparse.Namespace, source: Source, asked: Options, images: list[EncodedImage]
) -> tuple[Calibration | None, dict[str, Any], tuple[str, ...]]:
    """The ranges, facts on them, images not read; nothing where no ranges are needed."""
    from qviz.api.building import needs_ranges
    from qviz.features.building import calibrate

    needed = needs_ranges(source, args.recipe, asked, args.ranges, len(images))
    if not images or not (needed or args.save_ranges is not None):
        return None, {}, ()
    start = time.perf_counter()
    shared = engine.share(source.float_data, source.float_digest)
    found, skipped = calibrate(engine, shared, source.settings, images, args.ranges, options.show_progress, len(images))
    seconds = time.perf_counter() - start
    facts = {"images": found.images, "method": found.method, "digest": found.digest, "seconds": seconds}
    return found, facts, skipped


def _show(args: argparse.Namespace, built: Built, calibration: dict[str, Any]) -> None:
    options.remark([built.remark] if built.remark else [])
    if args.json:
        output.print_json({"file": str(args.output), **built.to_json(), "calibration": calibration or None})
        return
    measured = f", {calibration['images']} calibration images" if calibration else ""
    print(
        f"{args.output}: {built.scheme}, {output.megabytes(len(built.data))}, by {built.builder} in"
        f" {built.seconds:.1f} s{measured}"
    )
    if built.stayed_float:
        print(f"\n{len(built.stayed_float)} tensors stayed float:")
        output.print_table(["tensor", "reason"], [[name[-60:], reason] for name, reason in built.stayed_float])
