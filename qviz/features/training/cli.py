"""`qviz qat`: train a model for its quantization, without labels.

If a run is killed, the next one continues from the checkpoint beside the output file.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz import formatting
from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.building.result import Built
    from qviz.features.training import QatResult

DEFAULT_STEPS = 240


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, None)
    options.add_calibration(parser)
    options.add_older_name(parser, "--images", "--calibration")
    parser.add_argument("--recipe", default="int8", metavar="NAME", help="as in qviz quantize --recipes (default int8)")
    parser.add_argument(
        "--steps", type=int, default=DEFAULT_STEPS, metavar="N", help=f"training steps (default {DEFAULT_STEPS})"
    )
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FILE", help="the .tflite file to write"
    )
    parser.add_argument(
        "--save-float", type=options.OutputPath, metavar="FILE", help="write the trained network as float32, too"
    )
    options.add_common(parser)


def run(args: argparse.Namespace) -> int:
    from qviz.features.training.trainer import remove_checkpoint

    checkpoint = args.output.with_name(f"{args.output.name}.checkpoint.npz")
    output.check_writable(args.output, args.save_float)
    with options.session_of(args) as session:
        result = session.qat(recipe=args.recipe, steps=args.steps, checkpoint=checkpoint)
    output.write(args.output, result.data)
    if args.save_float is not None:
        output.write(args.save_float, result.float_data)
    remove_checkpoint(checkpoint)
    built = result.built
    assert built is not None, "the training is finished"
    options.remark_warnings(built.warnings)
    options.remark([built.remark] if built.remark else [])
    output.print_result(result, args, lambda shown: _print(shown, built, args.output), file=str(args.output))
    return 0


def _print(result: QatResult, built: Built, path: Path) -> None:
    resumed = f", {result.resumed_at} of them before it was interrupted" if result.resumed_at else ""
    print(
        f"{path}: {built.scheme}, {formatting.megabytes(built.size)},"
        f" {formatting.plural(len(result.losses), 'step')} on {formatting.plural(result.trained_on, 'image')} in"
        f" {formatting.duration(result.seconds)}{resumed}"
    )
    print(result)
