"""`qviz export`: images and objects as files that other tools open."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.features.exporting.forms import FORMS

if TYPE_CHECKING:
    from qviz.features.exporting import Export


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "The boxes of coco and yolo are the reference's detections: they save drawing, but are no ground truth until"
        " somebody has checked them."
    )
    options.add_models(parser, "1")
    options.add_images(parser)
    parser.add_argument(
        "--as",
        dest="form",
        choices=FORMS,
        required=True,
        help="pictures: the worst images with both models' boxes; coco, yolo: the changed images with the reference's"
        " boxes, to relabel; fiftyone: all images with every object and its change",
    )
    parser.add_argument(
        "--worst", type=options.whole_number(1, 100_000), metavar="N", help="only the N most damaged images"
    )
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FOLDER", help="new or empty folder"
    )
    options.add_common(parser, score=0.25, detects=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.export(form=args.form, score=args.score, worst=args.worst)
    options.remark(result.skipped)
    folder = result.save(args.output)
    output.print_result(result, args, _print, folder=str(folder))
    return 0


def _print(result: Export) -> None:
    print(result)
    output.print_table(
        ["image", "file", "lost", "spurious", "relabelled", "shifted"],
        [[row.image, row.file, row.lost, row.spurious, row.relabelled, row.shifted] for row in result.images[:12]],
    )
