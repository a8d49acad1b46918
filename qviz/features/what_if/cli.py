"""`qviz what-if`: which operators in float bring back what was lost, without rebuilding the file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import UNKNOWN, plural, signed_score
from qviz.structures.operators import parse_orders

if TYPE_CHECKING:
    from qviz.features.what_if import FloatSet, WhatIf


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants="1")
    options.add_images(parser)
    parser.add_argument(
        "--float",
        action="append",
        metavar="ORDERS",
        help="operators of VARIANT to run in float, by number (see qviz layers), e.g. 0-12,40; include the QUANTIZE"
        " before them. Repeat it for more sets (default: a search finds sets)",
    )
    options.add_common(parser, score=0.25, iou=True)


def run(args: argparse.Namespace) -> int:
    sets = [parse_orders(text) for text in args.float] if args.float else None
    with options.session_of(args) as session:
        result = session.what_if(sets=sets, score=args.score, iou=args.iou)
    options.remark(result.skipped)
    output.print_result(result, args, _print)
    return 0


def _print(result: WhatIf) -> None:
    from qviz.features.what_if.text import culprit_sentence

    for warning in result.warnings:
        print(warning.message)
    print(
        f"{result.variant} as it is has an agreement of {_three(result.base)} with {result.reference}"
        f" ({plural(result.images, 'image')}, {plural(result.operators, 'operator')}). With operators in float:"
    )
    columns = ["set", "operators", "agreement", "explained", "score delta", "share of score", "orders"]
    output.print_table(columns, [_cells(row) for row in result.sets])
    if len(result.smallest) > 1 and not all(row.kind == "given" for row in result.sets):
        print("\nThe best of each size:")
        output.print_table(columns, [_cells(row) for row in result.smallest])
    if result.named is not None:
        print(f"\n{culprit_sentence(result)}")
    stayed = {order for row in result.sets for order in row.stayed}
    if stayed:
        print(f"\n{plural(len(stayed), 'operator')} without a counterpart in {result.reference} cannot run in float.")


def _three(agreement: float | None) -> str:
    """An agreement with three decimals; a dash if neither model has an object."""
    return UNKNOWN if agreement is None else f"{agreement:.3f}"


def _cells(row: FloatSet) -> list[object]:
    explained = None if row.explained is None else f"{row.explained:.1%}"
    share = None if row.score_share is None else f"{row.score_share:.2f}"
    delta = signed_score(row.mean_score_delta)
    return [row.kind, len(row.orders), _three(row.agreement), explained, delta, share, row.short_text]
