"""which operators in float bring back what was lost, without rebuilding

Explained is the share of the agreement lost that comes back; share of score is what is left of FP32's confidences.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output

if TYPE_CHECKING:
    from qviz.features.what_if import FloatSet, WhatIf


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants=False)
    parser.add_argument("variant", type=Path, metavar="VARIANT", help="a quantized variant of it")
    options.add_images(parser)
    parser.add_argument(
        "--float",
        action="append",
        metavar="ORDERS",
        help="operators of VARIANT by order (qviz layers lists them), e.g. 0-12,40; again for another set. With an"
        " operator goes the QUANTIZE that feeds it. Without it sets are searched for",
    )
    options.add_settings(parser, score=0.25)
    options.add_iou(parser)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from qviz.structures.operators import parse_orders

    sets = [parse_orders(text) for text in args.float] if args.float else None
    score = options.check_fraction("--score", args.score)
    iou = options.check_fraction("--iou", args.iou)
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        reference, variant = api.load([args.reference, args.variant], engine, options.settings_of(args))
        result = api.what_if(reference, variant, args.images, engine, sets, score, iou, _show_progress)
    options.remark(result.skipped)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    return 0


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\r{done} sets of operators measured", end=end, file=sys.stderr, flush=True)


def _show(result: WhatIf) -> None:
    print(
        f"{result.variant} agrees with {result.reference} by {result.base:.3f} as it is"
        f" ({result.images} images, {result.operators} operators). With operators in float:"
    )
    columns = ["set", "operators", "agreement", "explained", "score delta", "share of score", "orders"]
    output.print_table(columns, [_cells(row) for row in result.sets])
    if len(result.smallest) > 1 and not all(row.kind == "given" for row in result.sets):
        print("\nthe best of each size:")
        output.print_table(columns, [_cells(row) for row in result.smallest])
    stayed = sorted({order for row in result.sets for order in row.stayed})
    if stayed:
        print(f"\n{len(stayed)} operators have no counterpart in {result.reference} and stayed as they are")


def _cells(row: FloatSet) -> list[object]:
    explained = None if row.explained is None else f"{row.explained:.1%}"
    share = None if row.score_share is None else f"{row.score_share:.2f}"
    delta = output.signed(row.mean_score_delta)
    return [row.kind, len(row.orders), f"{row.agreement:.3f}", explained, delta, share, _shortened(row.text)]


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
