"""how many and which images calibration needs

Ranges are measured once; then calibrations on 1, 2, 4, ... images (several draws of each), on outliers' leavings and on
the usual mistakes (random numbers, wrong normalisation, one class, ...) are built, run and judged: in AP on a dataset,
or in agreement with the float32 model. Loss: float32 minus variant. Extra: a matching calibration minus variant.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from qviz.features.calibrating import Plan
    from qviz.features.calibrating.result import CalibrationLab, Tried
    from qviz.structures import Loss


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="float32 .tflite file, SavedModel, .keras or .h5")
    parser.add_argument(
        "--images", type=Path, nargs="+", required=True, metavar="PATH",
        help="images to calibrate with: files, folders or zip archives of them",
    )  # fmt: skip
    parser.add_argument("--dataset", type=Path, metavar="FILE", help="annotations to judge by, as for qviz evaluate")
    parser.add_argument("--dataset-images", type=Path, metavar="DIR", help="the folder of the dataset's images")
    parser.add_argument(
        "--reference-as-truth", action="store_true",
        help="no annotations: judged by agreement with SOURCE, on --judge or on half of the images",
    )  # fmt: skip
    parser.add_argument(
        "--judge", type=Path, nargs="+", default=[], metavar="PATH", help="other images, without annotations, to judge"
    )
    parser.add_argument("--recipe", default="int8", metavar="int8|int16x8")
    parser.add_argument("--ranges", default="minmax", metavar="minmax|moving_average|percentile")
    parser.add_argument("--draws", type=int, default=3, metavar="N", help="of each number of images (default 3)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the draws, splits and random numbers")
    parser.add_argument(
        "--mistakes", default="all", metavar="LIST", help="names with commas, all or none (default all)"
    )
    options.add_settings(parser, score=0.001)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    options.check_fraction("--score", args.score)
    _check(args)
    plan = _plan(args)
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start

        result = api.calibration(
            args.source, args.images, args.dataset, args.dataset_images, args.judge, engine, plan,
            options.settings_of(args), args.score, options.show_progress, args.threads, store,
        )  # fmt: skip
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raises DatasetError, SettingsError."""
    if (args.dataset is None) != args.reference_as_truth:
        raise DatasetError("Give either --dataset FILE or --reference-as-truth: what calibrations are judged by.")
    if args.judge and args.dataset is not None:
        raise DatasetError("--judge is for --reference-as-truth; a dataset brings its own images.")
    if args.dataset_images is not None and not args.dataset_images.is_dir():
        raise DatasetError(f"{args.dataset_images} is no folder; give the one that holds the annotated images.")
    if args.seed is not None and args.seed < 0:
        raise SettingsError(f"--seed is {args.seed}; give a number from 0 on.")


def _plan(args: argparse.Namespace) -> Plan:
    from qviz.features.calibrating import SEED, Plan
    from qviz.features.calibrating.trials import MISTAKES

    words = tuple(word.strip() for word in args.mistakes.split(",") if word.strip())
    chosen = {("all",): tuple(MISTAKES), ("none",): ()}.get(words, words)
    plan = Plan(args.recipe, args.ranges, args.draws, SEED if args.seed is None else args.seed, chosen)
    plan.check()
    return plan


def _show(lab: CalibrationLab) -> None:
    from qviz.features.calibrating.text import lab_verdict, sentences

    print(lab_verdict(lab))
    for sentence in sentences(lab):
        print(sentence)
    print(
        f"\n{lab.source}, {lab.recipe}, {lab.method}; judged on {lab.dataset}: {lab.judged} images,"
        f" {lab.measure} x100, float32 {output.ap(lab.reference)}; ranges measured in {lab.seconds:.1f} s"
    )
    print(f"\n{lab.measure} by number of images: mean over the draws, and the worst and best of them")
    output.print_table(
        ["images", "draws", lab.measure, "worst", "best"],
        [
            [point.images, len(point.tried), output.ap(point.value), output.ap(point.low), output.ap(point.high)]
            for point in lab.curve
        ],
    )
    rest = [*lab.mismatch, *lab.methods, *([lab.without_outliers] if lab.without_outliers else [])]
    print("\nother calibrations, x100, with 95% intervals (* significant)")
    output.print_table(
        ["calibration", "images", lab.measure, "loss", "", "extra", "", "what was done"],
        [_row(lab, row) for row in rest],
    )
    _show_images(lab)


def _row(lab: CalibrationLab, row: Tried) -> list[object]:
    told = row.refused or row.told
    return [row.name, row.images, output.ap(lab.value(row)), *_loss(row.loss), *_loss(row.extra), told]


def _loss(loss: Loss) -> list[str | None]:
    star = "*" if loss.significant else ""
    bracket = output.interval(loss.low, loss.high)
    return [output.signed_ap(loss.value), f"{bracket}{star}" if bracket else None]


def _show_images(lab: CalibrationLab) -> None:
    steady = lab.stability
    if steady is not None:
        print(f"\nranges of {steady.layers} layers in two disjoint subsets: how many change by more than a fifth")
        rows = [[row.images, row.changed, f"{row.median:.1%}", f"{row.worst:.1%}"] for row in steady.sizes]
        output.print_table(["images each", "layers changed", "median change", "largest"], rows)
    if lab.outliers:
        print("\nimages that widen the ranges most")
        output.print_table(
            ["image", "widens by", "layers", "most", "clipped without it"],
            [
                [row.image, f"{row.widening:.2%}", row.layers, f"{row.times:.2f}x", f"{row.clipped_share:.4%}"]
                for row in lab.outliers[:10]
            ],
        )
