"""`qviz calibration`: how many and which calibration images are needed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz import formatting
from qviz.cli import options, output
from qviz.errors import DatasetError

if TYPE_CHECKING:
    from qviz.features.calibrating.result import CalibrationLab, Tried
    from qviz.structures import Loss

SHOWN_OUTLIERS = 10


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Ranges are measured once. Then calibrations on 1, 2, 4, ... images (several draws of each), without outliers"
        " and with the usual mistakes (random numbers, wrong normalisation, one class, ...) are built, run and"
        " measured, in AP on a dataset or in agreement with the float32 model. Loss: float32 minus variant. Extra: the"
        " loss beyond that of correct calibrations on the same number of images."
    )
    parser.add_argument("source", type=Path, metavar="SOURCE", help="float32 .tflite file, SavedModel, .keras or .h5")
    options.add_calibration(parser)
    options.add_dataset(parser)
    options.add_images(parser, required=False)
    parser.add_argument("--judge", type=Path, nargs="+", default=[], help=argparse.SUPPRESS)
    parser.add_argument(
        "--reference-as-truth",
        action="store_true",
        help="agreement with SOURCE, on --images or on half of the calibration images (default without --dataset)",
    )
    parser.add_argument("--recipe", default="int8", metavar="int8|int16x8")
    parser.add_argument("--ranges", default="minmax", metavar="minmax|mean|moving_average|percentile")
    parser.add_argument(
        "--draws",
        type=options.whole_number(1, 50),
        default=3,
        metavar="N",
        help="random draws per number of images (default 3)",
    )
    parser.add_argument(
        "--seed",
        type=options.whole_number(0, 2**53),
        metavar="N",
        help="seed of the draws, of the split of the images and of the random numbers",
    )
    parser.add_argument(
        "--mistakes",
        type=options.names,
        default="all",
        metavar="LIST",
        help="names separated by commas, all or none (default all)",
    )
    options.add_common(parser, score=0.001, detects=True)


def run(args: argparse.Namespace) -> int:
    from qviz.features.calibrating import Plan

    _take_older_names(args)
    _check(args)
    plan = _plan(args)
    Plan.of(**plan)  # to report a mistake before the workers start
    with options.session_of(args, [args.source]) as session:
        result = session.calibration(score=args.score, **plan)
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    output.print_result(result, args, _show)
    return 0


def _take_older_names(args: argparse.Namespace) -> None:
    """Translate the older option names: `--images` alone meant `--calibration`, and `--judge` meant `--images`."""
    if args.images and not args.calibration:
        args.calibration, args.images = args.images, []
        options.remark(["Calibration images are now given with --calibration; --images are those to measure on."])
    if args.judge:
        args.images = args.judge
        options.remark(["--judge is now called --images; the older name will be removed."])


def _check(args: argparse.Namespace) -> None:
    """Raise DatasetError if the options do not fit together."""
    if not args.calibration:
        raise DatasetError("No calibration images are given; give --calibration PATH.")
    if args.reference_as_truth and args.dataset is not None:
        raise DatasetError("Give --dataset FILE or --reference-as-truth, not both.")
    options.check_one_source(args)
    if args.dataset_images is not None and not args.dataset_images.is_dir():
        raise DatasetError(f"{args.dataset_images} is not a folder; give the folder of the annotated images.")


def _plan(args: argparse.Namespace) -> dict[str, Any]:
    plan: dict[str, Any] = {"recipe": args.recipe, "ranges": args.ranges, "draws": args.draws}
    if args.seed is not None:
        plan["seed"] = args.seed
    if args.mistakes != "all":
        words = tuple(word.strip() for word in args.mistakes.split(",") if word.strip())
        plan["mistakes"] = () if words == ("none",) else words
    return plan


def _show(lab: CalibrationLab) -> None:
    from qviz.features.calibrating.text import sentences

    print(lab)
    for sentence in sentences(lab):
        print(sentence)
    print(
        f"\n{lab.source}, {lab.recipe}, {lab.method}; measured on {lab.dataset}:"
        f" {formatting.plural(lab.evaluated_images, 'image')}, {lab.measure} x100, float32"
        f" {formatting.points(lab.reference)}; ranges measured in {lab.seconds:.1f} s"
    )
    print(f"\n{lab.measure} by number of images: mean over the draws, and the worst and best of them")
    output.print_table(
        ["images", "draws", lab.measure, "worst", "best"],
        [
            [point.images, len(point.tried), *(formatting.points(v) for v in (point.value, point.low, point.high))]
            for point in lab.curve
        ],
    )
    print("\nother calibrations, x100, with 95% intervals (* significant)")
    output.print_table(
        ["calibration", "images", lab.measure, "loss", "", "extra", "", "what was done"],
        [_row(lab, row) for row in lab.other_calibrations],
    )
    _show_images(lab)


def _row(lab: CalibrationLab, row: Tried) -> list[object]:
    value, description = formatting.points(lab.value(row)), row.refused or row.description
    return [row.name, row.images, value, *_loss(row.loss), *_loss(row.extra), description]


def _loss(loss: Loss) -> list[str | None]:
    star = "*" if loss.significant else ""
    bracket = formatting.interval(loss.low, loss.high)
    return [formatting.signed_points(loss.value), f"{bracket}{star}" if bracket else None]


def _show_images(lab: CalibrationLab) -> None:
    if lab.stability is not None:
        limit = f"{lab.stability.limit:.0%}"
        print(
            f"\nranges of {lab.stability.layers} layers in two disjoint subsets: how many change by more than {limit}"
        )
        rows = [[row.images, row.changed, f"{row.median:.1%}", f"{row.worst:.1%}"] for row in lab.stability.sizes]
        output.print_table(["images each", "layers changed", "median change", "largest"], rows)
    if lab.outliers:
        print("\nimages that widen the ranges most")
        output.print_table(
            ["image", "widens by", "layers", "largest factor", "clipped without it"],
            [
                [row.image, f"{row.widening:.2%}", row.layers, f"{row.times:.2f}x", f"{row.clipped_share:.4%}"]
                for row in lab.outliers[:SHOWN_OUTLIERS]
            ],
        )
