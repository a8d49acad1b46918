"""`qviz trace`: at which operators one object's confidence is lost, and the causes of the steepest steps."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import shortened, signed_score

if TYPE_CHECKING:
    from qviz.features.tracing import Trace


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants="1")
    parser.add_argument("--image", type=Path, required=True, metavar="PATH", help="the image")
    parser.add_argument(
        "--object",
        type=int,
        metavar="N",
        help="number of REF's object by falling score, from 0 (default: the one that fell most)",
    )
    parser.add_argument("--quick", action="store_true", help="bisect: only operators around the steepest step")
    options.add_common(parser, score=0.25)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.trace(image=args.image, object_number=args.object, quick=args.quick, score=args.score)
    output.print_result(result, args, _print)
    return 0


def _print(result: Trace) -> None:
    print(f"{result.image}, object {result.object.number} of {result.objects}: {result.sentence}")
    rows = [
        [
            row.order,
            row.reference_order,
            row.op_kind,
            signed_score(row.gain),
            signed_score(row.alone),
            row.cause,
            row.sentence,
            shortened(row.tensor, 40),
        ]
        for row in (*result.culprits, *result.box_culprits)
    ]
    if rows:
        output.print_table(["order", "in REF", "operator", "gain", "alone", "cause", "why", "tensor"], rows)
    scores = [
        [point.order, point.op_kind, f"{point.score:.3f}", f"{point.iou:.2f}", shortened(point.tensor, 50)]
        for point in result.points
    ]
    print(f"\nScore when {result.reference} runs up to an operator and {result.variant} from it on; IoU of the box")
    output.print_table(["order", "operator", "score", "IoU", "tensor"], scores)
