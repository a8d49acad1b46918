"""`qviz diagnose`: why a variant loses objects, and what brings them back."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.diagnosis.result import Diagnosis


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants="1")
    options.add_images(parser)
    options.add_common(parser, score=0.25, iou=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.diagnose(score=args.score, iou=args.iou)
    options.remark(result.skipped)
    options.remark_warnings(result.warnings)
    output.print_result(result, args, _print)
    return 0


def _print(result: Diagnosis) -> None:
    from qviz.features.diagnosis.text import brings_back, estimate, note
    from qviz.formatting import UNKNOWN, megabytes
    from qviz.structures.operators import orders_text

    print(f"{result.verdict}\n{note(result)}")
    for title, causes in (("Causes", result.causes), ("Looks wrong, but is no cause", result.suspects)):
        if causes:
            print(f"\n{title}:")
        for number, cause in enumerate(causes, start=1):
            operators = f" (operators {orders_text(cause.operators)})" if cause.operators else ""
            print(f"  {number}. {cause.title}{operators}: {brings_back(cause)}\n     {cause.sentence}")
            for row in cause.evidence[1:]:
                value = UNKNOWN if row.value is None else f"{row.value:.3g}"
                print(f"       {value} {row.unit} {row.figure}, {row.where}")
    if result.traces:
        print("\nObjects that show it best:")
    for trace in result.traces:
        print(f"  {trace.image}: {trace.sentence}")
    if result.cures:
        print("\nWhat helps:")
    for cure in result.cures:
        size = "" if cure.bytes is None else f", about {megabytes(cure.bytes)}"
        print(f"  {cure.sentence} Agreement predicted: {estimate(cure.predicted)}{size}")
        if cure.command:
            print(f"     {cure.command}")
