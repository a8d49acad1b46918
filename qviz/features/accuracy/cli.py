"""`qviz evaluate`: the AP of every model, and what every variant loses, overall and by class."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import gate_files, options, output, slice_ranges
from qviz.errors import DatasetError, SettingsError
from qviz.features.accuracy import cli_operating
from qviz.features.accuracy.operating_at import BEST, read_at
from qviz.formatting import UNKNOWN, plural, points, score, share

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate

SHOWN_CLASSES = 10


def add(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "AP is computed as pycocotools does. The loss is reference minus variant, so positive is worse; its 95%"
        " interval comes from a paired bootstrap over the images."
    )
    options.add_models(parser, "*")
    options.add_dataset(parser)
    options.add_images(parser, required=False)
    parser.add_argument(
        "--reference-as-truth",
        action="store_true",
        help="use the reference's own detections as the ground truth; needs --images or --dataset",
    )
    cli_operating.add(parser)
    slice_ranges.add(parser)
    group = parser.add_argument_group("gate")
    group.add_argument(
        "--max-ap-loss",
        type=options.number(-1, 1),
        metavar="X",
        help="exit with 1 when a variant loses more AP (0..1) than this, e.g. 0.01 for one point; with 2 if the"
        " reference itself detects none of the annotated objects",
    )
    cli_operating.add_gate(group)
    group.add_argument(
        "--confident",
        choices=("lower", "upper"),
        help="end of the loss's interval that is compared with the limit: with lower, a variant fails only if its loss"
        " is surely above the limit; with upper, it passes only if its loss is surely below",
    )
    group.add_argument("--strict", action="store_true", help="exit with 2 if the interval is too wide to decide")
    parser.add_argument(
        "--markdown", type=options.OutputPath, metavar="FILE", help="append a summary for a pull request or a CI job"
    )
    gate_files.add(parser)
    options.add_common(parser, score=0.001, detects=True)


def run(args: argparse.Namespace) -> int:
    from qviz.features.accuracy.gate import check_limits

    _check(args)
    with options.session_of(args) as session:
        point = BEST if args.at is None else args.at
        slices = "all" if args.gate_slices and args.slices is None and args.traits is None else args.slices
        result = session.evaluate(
            score=args.score,
            reference_as_truth=args.reference_as_truth,
            at=point,
            slices=slices,
            traits=args.traits,
        )
        worst = gate_files.worst_images(session, args.worst_images)
        ranges = slice_ranges.ranges_of(session, args, result)
    options.remark_warnings(result.warnings)
    options.remark(result.remarks)
    gates = check_limits(result, cli_operating.limits_of(args), args.confident, args.strict, args.gate_slices)
    cli_operating.write_slice_images(result, args.slice_images)
    if args.markdown is not None:
        _append(args.markdown, result, gates, worst)
    gate_files.write_sarif(args.sarif, args, result, gates)
    if args.json:
        gate = cli_operating.gates_to_json(gates)
        output.print_json({**result.to_json(), "gate": gate, "out_of_range": ranges})
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _print(result)
        cli_operating.show(result, args, gates)
        slice_ranges.show(ranges)
    statuses = [gate.status for gate in gates]
    return 1 if 1 in statuses else max(statuses, default=0)


def _check(args: argparse.Namespace) -> None:
    limits = [name for name, limit in cli_operating.limits_of(args).items() if limit is not None]
    if args.confident and not limits:
        raise SettingsError("--confident needs a limit, and none is given: add e.g. --max-ap-loss 0.01.")
    if args.strict and not limits:
        raise SettingsError("--strict needs a limit, and none is given: add e.g. --max-ap-loss 0.01.")
    if limits and not args.variants:
        option = f"--max-{limits[0].replace('_', '-')}-loss"
        raise SettingsError(f"{option} is for the loss of a variant, and only one model is given; add a variant.")
    if args.gate_slices and args.max_recall_loss is None:
        raise SettingsError("--gate-slices needs a limit, and none is given: add e.g. --max-recall-loss 0.05.")
    cli_operating.check_slices(args)
    slice_ranges.check(args)
    if args.at is not None:
        read_at(args.at)  # to report a mistake before the models run
    if args.dataset is None and not (args.reference_as_truth and args.images):
        raise DatasetError(
            "No dataset is given; add --dataset FILE, or --reference-as-truth with --images PATH if nothing is"
            " annotated."
        )
    options.check_one_source(args)


def _append(path: Path, result: Evaluation, gates: Sequence[Gate], worst: str) -> None:
    from qviz.features.accuracy.text import markdown

    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write("\n".join(filter(None, [markdown(result, *gates), worst and f"{worst}\n"])))
    except OSError as error:
        raise SettingsError(f"--markdown {path} cannot be written ({error.strerror}).") from error


def _print(result: Evaluation) -> None:
    from qviz.features.accuracy.ap import TABLE_METRICS

    print(result)
    print(f"\n{result.dataset}: {plural(result.images, 'image')}, {plural(result.annotations, 'object')}; AP x100")
    output.print_table(
        ["model", *(metric.label for metric in TABLE_METRICS)],
        [[model.name, *(metric.text(model) for metric in TABLE_METRICS)] for model in result.models],
    )
    _print_shapes(result)
    if result.losses:
        _print_losses(result)
    else:
        _print_one(result)


def _print_shapes(result: Evaluation) -> None:
    from qviz.features.accuracy.text import shape_caption

    for row in result.shapes:
        if row.remark:
            print(f"\n{row.remark}")
            continue
        loss_header = ["loss", "interval", ""] if row.losses else []
        note = ", the loss with its 95% interval (* significant)" if row.losses else ""
        print(f"\n{shape_caption(row)}; AP x100{note}")
        losses = [None, *row.losses]
        output.print_table(
            ["model", *(metric.label for metric in row.metrics), *loss_header],
            [
                [
                    name,
                    *(UNKNOWN if model is None else metric.text(model) for metric in row.metrics),
                    *([""] * len(loss_header) if loss is None else output.loss_cells(loss.ap)),
                ]
                for name, model, loss in zip((one.name for one in result.models), row.models, losses, strict=True)
            ],
        )


def _print_one(result: Evaluation) -> None:
    """Print the result of a single model: its worst classes and COCO's summary."""
    from qviz.features.accuracy.ap import coco_lines

    (model,) = result.models
    shown = sorted((row for row in model.per_class if row.truths), key=lambda row: row.ap or 0.0)
    print(f"\nAP by class (worst {SHOWN_CLASSES} of {len(shown)})")
    output.print_table(
        ["class", "AP", "AP50", "truths", "images"],
        [[row.label, points(row.ap), points(row.ap50), row.truths, row.images] for row in shown[:SHOWN_CLASSES]],
    )
    print("\nas COCOeval prints it:", *coco_lines(model), sep="\n")


def _print_losses(result: Evaluation) -> None:
    print("\nloss, reference minus variant, AP x100, with its 95% interval (* significant)")
    output.print_table(
        ["variant", "loss", "interval", "", "best threshold", "reference's", "F1 recovered"],
        [
            [
                loss.variant,
                *output.loss_cells(loss.ap),
                score(detail.threshold.variant.score),
                score(detail.threshold.reference.score),
                share(detail.threshold.recovered),
            ]
            for loss, detail in zip(result.losses, result.details, strict=True)
        ],
    )
    print(f"\nloss by class (worst {SHOWN_CLASSES} of each variant)")
    output.print_table(
        ["variant", "class", "loss", "interval", "", "truths", "images"],
        [
            [loss.variant, row.label, *output.loss_cells(row.loss), row.truths, row.images]
            for loss in result.losses
            for row in loss.per_class[:SHOWN_CLASSES]
        ],
    )
    _print_errors(result)


def _print_errors(result: Evaluation) -> None:
    print("\ncost of errors (TIDE's dAP x100): reference -> variant")
    rows = [
        [
            loss.variant,
            *(f"{points(reference.cost)} -> {points(variant.cost)}" for reference, variant in detail.errors),
        ]
        for loss, detail in zip(result.losses, result.details, strict=True)
    ]
    kinds = [reference.kind for reference, _ in result.details[0].errors] if result.details else []
    output.print_table(["variant", *kinds], rows)
