"""where one object's confidence is lost, operator by operator

FP32 runs up to an operator and the variant from there; the steepest steps of that curve are named with their cause.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output

if TYPE_CHECKING:
    from qviz.features.tracing import Trace


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants=False)
    parser.add_argument("variant", type=Path, metavar="VARIANT", help="a quantized variant of it")
    parser.add_argument("--image", type=Path, required=True, metavar="PATH", help="the image")
    parser.add_argument(
        "--object",
        type=int,
        metavar="N",
        help="of REF's objects by falling score, from 0 (default: the one that fell most)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="bisect: a few operators around the steepest step instead of all"
    )
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    score = options.check_fraction("--score", args.score)
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        reference, variant = api.load([args.reference, args.variant], engine, options.settings_of(args))
        result = api.trace(reference, variant, args.image, engine, args.object, args.quick, score)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    return 0


def _show(result: Trace) -> None:
    seen = result.object
    print(f"{result.image}, object {seen.number} of {result.objects}: {result.sentence}")
    rows = [
        [row.order, row.op_kind, output.signed(row.gain), row.cause, row.sentence, row.tensor[-40:]]
        for row in result.culprits
    ]
    if rows:
        output.print_table(["order", "operator", "gain", "cause", "why", "tensor"], rows)
    scores = [[point.order, point.op_kind, f"{point.score:.3f}", point.tensor[-50:]] for point in result.points]
    print(f"\nscore when {result.variant} takes over at an operator, {result.reference} before it")
    output.print_table(["order", "operator", "score", "tensor"], scores)
