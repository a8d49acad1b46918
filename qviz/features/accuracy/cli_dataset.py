"""`qviz dataset`: what the annotations contain, and reasons to doubt them before AP is computed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.accuracy.dataset_health import DatasetHealth

SHOWN_CATEGORIES = 20


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Exit status 1 where AP would be meaningless, e.g. boxes in another unit; with --strict on any problem. Every"
        " image file is read."
    )
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="COCO JSON, a YOLO data.yaml, a TFRecord, or a folder or zip in COCO, YOLO or Pascal VOC layout",
    )
    parser.add_argument(
        "--dataset-images", type=Path, metavar="DIR", help="the dataset's images, if they are not beside the file"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="FILE", help="class names of the model, to compare with the categories"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 on any problem")
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from qviz.top_level import dataset

    result = dataset(args.file, args.dataset_images, labels=args.labels, progress=options.TerminalProgress())
    output.print_result(result, args, _print)
    return int(result.serious or (args.strict and bool(result.problems)))


def _print(result: DatasetHealth) -> None:
    print(result)
    for problem in result.problems:
        print(f"\n{'! ' if problem.serious else '- '}{problem.code}: {problem.message}\n  {problem.fix}")
        for example in problem.examples:
            print(f"    {example}")
    shown = sorted(result.categories, key=lambda row: -row.objects)[:SHOWN_CATEGORIES]
    print(f"\ncategories (the {len(shown)} with most objects, of {len(result.categories)})")
    output.print_table(["category", "objects", "images"], [[row.name, row.objects, row.images] for row in shown])
