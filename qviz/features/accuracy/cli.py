"""mAP of every model and the loss of every variant by class

AP is pycocotools'; the loss is reference minus variant, so positive is worse, with its 95% interval.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser)
    parser.add_argument(
        "--dataset",
        type=Path,
        metavar="FILE",
        help="COCO JSON, a YOLO data.yaml, a TFRecord, or a folder or zip in COCO, YOLO or Pascal VOC layout",
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="images of a COCO file, or where a data.yaml's paths begin"
    )
    parser.add_argument(
        "--reference-as-truth",
        action="store_true",
        help="the reference's own detections stand for the truth; --dataset may be left out, --images not",
    )
    group = parser.add_argument_group("gate")
    group.add_argument(
        "--max-ap-loss", type=float, metavar="X", help="exit with 1 when a variant loses more AP (0..1) than this"
    )
    group.add_argument(
        "--confident",
        choices=("lower", "upper"),
        help="judge by a bound of the loss's interval: lower fails only what is surely worse, upper passes only what"
        " is surely good",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="append a summary for a pull request or a CI job")
    options.add_settings(parser, score=0.001)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    _check(args)
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start

        models = api.load([args.reference, *args.variants], engine, options.settings_of(args))
        result = api.evaluate(
            models,
            args.dataset,
            args.images,
            engine,
            args.score,
            options.show_progress,
            args.threads,
            store,
            args.reference_as_truth,
        )
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    gate = _gate(result, args)
    if args.markdown is not None:
        _append(args.markdown, result, gate)
    if args.json:
        output.print_json({**result.to_json(), "gate": gate.to_json() if gate else None})
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result, gate)
    return 1 if gate is not None and not gate.passed else 0


def _check(args: argparse.Namespace) -> None:
    options.check_fraction("--score", args.score)
    if args.max_ap_loss is not None and not -1 <= args.max_ap_loss <= 1:
        raise SettingsError(f"--max-ap-loss is {args.max_ap_loss:g}; AP lies in [0, 1], so give e.g. 0.01 for a point.")
    if args.confident and args.max_ap_loss is None:
        raise SettingsError("--confident judges a limit, and none is given: add e.g. --max-ap-loss 0.01.")
    if args.dataset is None and not (args.reference_as_truth and args.images):
        raise DatasetError(
            "No dataset is given; add --dataset FILE, or --reference-as-truth with --images DIR where nothing is"
            " annotated."
        )


def _gate(result: Evaluation, args: argparse.Namespace) -> Gate | None:
    if args.max_ap_loss is None:
        return None
    from qviz.features.accuracy.gate import judge_losses

    return judge_losses(result, args.max_ap_loss, args.confident)


def _append(path: Path, result: Evaluation, gate: Gate | None) -> None:
    from qviz.features.accuracy.text import markdown

    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(markdown(result, gate))
    except OSError as error:
        raise SettingsError(f"--markdown {path} cannot be written ({error.strerror}).") from error


def _show(result: Evaluation, gate: Gate | None) -> None:
    print(f"{result.dataset}: {result.images} images, {result.annotations} objects; AP x100")
    output.print_table(
        ["model", "AP", "AP50", "AP75", "small", "medium", "large", "AR"],
        [[model.name, *(output.ap(value) for value in model.figures())] for model in result.models],
    )
    print("\nloss, reference minus variant, AP x100, with its 95% interval (* significant)")
    output.print_table(
        ["variant", "loss", "interval", "", "best threshold", "reference's", "F1 recovered"],
        [
            [
                loss.variant,
                output.signed_ap(loss.ap.value),
                output.interval(loss.ap.low, loss.ap.high),
                "*" if loss.ap.significant else "",
                output.score(detail.threshold.variant.score),
                output.score(detail.threshold.reference.score),
                output.share(detail.threshold.recovered),
            ]
            for loss, detail in zip(result.losses, result.details, strict=True)
        ],
    )
    _show_classes(result)
    _show_errors(result)
    if gate is not None:
        told = "passed" if gate.passed else f"failed by {', '.join(gate.failed)}"
        print(f"\ngate: at most {100 * gate.max_ap_loss:.1f} AP points lost: {told}")
        options.remark(gate.remarks)


def _show_classes(result: Evaluation) -> None:
    print("\nloss by class (worst ten of each variant)")
    rows = [
        [
            loss.variant,
            row.label,
            output.signed_ap(row.loss.value),
            output.interval(row.loss.low, row.loss.high),
            "*" if row.loss.significant else "",
            row.truths,
            row.images,
        ]
        for loss in result.losses
        for row in loss.per_class[:10]
    ]
    output.print_table(["variant", "class", "loss", "interval", "", "truths", "images"], rows)


def _show_errors(result: Evaluation) -> None:
    print("\nwhat errors cost (TIDE's dAP x100): reference -> variant")
    rows = [
        [
            loss.variant,
            *(f"{output.ap(first.cost)} -> {output.ap(second.cost)}" for first, second in detail.errors),
        ]
        for loss, detail in zip(result.losses, result.details, strict=True)
    ]
    kinds = [first.kind for first, _ in result.details[0].errors] if result.details else []
    output.print_table(["variant", *kinds], rows)
