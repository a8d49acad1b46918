"""`qviz detect` prints one row per object: class, confidence, and box in pixels of the original image."""

from __future__ import annotations

import argparse
from pathlib import Path

from qviz import formatting
from qviz.cli import options, output


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help=".tflite file, SavedModel, .keras or .h5 file")
    options.add_images(parser)
    options.add_common(parser, score=0.25, detects=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args, [args.model]) as session:
        result = session.detect(score=args.score)
        from qviz.features.inspection.lint import lint_all

        warnings = lint_all(session.context, session.models_for(session.images_of()))
    options.remark_warnings(warnings)
    options.remark(result.skipped)
    if args.json:
        output.print_json(result.to_json())
        return 0
    frame = result.to_frame().drop(columns="model")
    if args.csv:
        output.print_frame(frame)
        return 0
    rows = frame.values.tolist()
    shown = [[*row[:3], formatting.score(row[3]), *(f"{side:.0f}" for side in row[4:])] for row in rows]
    output.print_table(list(frame.columns), shown)
    return 0
