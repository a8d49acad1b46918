"""`qviz backends`: run the same files on other kernels and compare objects, scores and AP; list what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.errors import ImageError
from qviz.formatting import milliseconds, points, score

if TYPE_CHECKING:
    from qviz.features.backends import BackendComparison

COLUMNS = (
    *("model", "backend", "agreement", "kept", "shifted", "relabelled", "lost", "spurious", "max Δscore"),
    *("AP", "ms", "precision"),
)
MAX_REFUSED = 10
"""Maximum number of refused operators that are printed for each model."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("reference", type=Path, metavar="MODEL", help=".tflite file")
    parser.add_argument("variants", type=Path, nargs="*", metavar="MODEL", help="more .tflite files")
    options.add_images(parser, required=False)
    options.add_dataset(parser)
    parser.add_argument(
        "--on",
        type=options.names,
        metavar="LIST",
        help="of xnnpack,builtin,reference,gpu,micro (default: all that are available); the first that runs a file is"
        " what the others are compared with",
    )
    parser.add_argument(
        "--first-difference",
        action="store_true",
        help="name the first operator that differs between xnnpack and each of builtin, reference (on two images)",
    )
    options.add_settings(parser)
    options.add_score(parser, 0.25)
    options.add_iou(parser)
    options.add_work(parser, detects=True)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    options.check_one_source(args)
    if not args.images and args.dataset is None:
        raise ImageError("No image is given; give --images PATH... or --dataset FILE.")
    names = [name.strip() for name in (args.on or "").split(",") if name.strip()]
    with options.session_of(args) as session:
        result = session.backends(on=names, score=args.score, iou=args.iou, first_difference=args.first_difference)
    options.remark([f"{row.name}: {row.reason}" for row in result.backends if not row.available])
    options.remark(result.skipped)
    output.print_result(result, args, _print)
    return 0


def _print(result: BackendComparison) -> None:
    from qviz.features.backends.text import first_difference_sentence, refusal_sentence

    print(f"{result}\n")
    rows = [
        [
            model.name,
            row.backend,
            None if row.agreement is None else f"{row.agreement:.3f}",
            *(row.kept, row.shifted, row.relabelled, row.lost, row.spurious),
            score(row.max_score_delta),
            None if row.ap is None else points(row.ap),
            None if row.ms is None else milliseconds(row.ms),
            row.precision,
        ]
        for model in result.models
        for row in model.results
    ]
    output.print_table(list(COLUMNS), rows)
    _print_pairs(result)
    for model in result.models:
        for refusal in model.refused[:MAX_REFUSED]:
            print(refusal_sentence(model.name, refusal))
        for row in model.first_differences:
            print(first_difference_sentence(model.name, row))
        if len(model.refused) > MAX_REFUSED:
            print(f"{model.name}: {len(model.refused) - MAX_REFUSED} more (--json lists all)")
    print(result.time_caveat)


def _print_pairs(result: BackendComparison) -> None:
    """Print the agreement of every pair of backends, if more than two ran."""
    if all(len(model.results) < 3 for model in result.models):
        return
    names = list(dict.fromkeys(row.backend for model in result.models for row in model.results))
    for model in result.models:
        pairs = {(pair.first, pair.second): pair.agreement for pair in model.pairs}
        cells = [
            [f"{model.name} on {one}", *(_agreement(pairs.get((one, other))) for other in names[1:])]
            for one in names[:-1]
        ]
        print()
        output.print_table(["agreement with", *names[1:]], cells)
    print()


def _agreement(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
