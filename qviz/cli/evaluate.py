"""mAP of every model and the loss of every variant by class

AP is pycocotools'; the loss is reference minus variant, so positive is worse.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.cli import options, output
from qviz.errors import SettingsError

if TYPE_CHECKING:
    from qviz.analysis.evaluation import Evaluation


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser)
    parser.add_argument("--dataset", type=Path, required=True, metavar="FILE", help="COCO annotations or a TFRecord")
    parser.add_argument("--images", type=Path, metavar="DIR", help="their images (default: beside FILE, or in images/)")
    parser.add_argument(
        "--max-ap-loss", type=float, metavar="X", help="exit with 1 when a variant loses more AP (0..1) than this"
    )
    options.add_settings(parser, score=0.001)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    options.check_fraction("--score", args.score)
    if args.max_ap_loss is not None and not -1 <= args.max_ap_loss <= 1:
        raise SettingsError(f"--max-ap-loss is {args.max_ap_loss:g}; AP lies in [0, 1], so give e.g. 0.01 for a point.")
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        models = api.load([args.reference, *args.variants], engine, options.settings_of(args))
        result = api.evaluate(
            models, args.dataset, args.images, engine, args.score, options.show_progress, args.threads
        )
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    gate = _gate(result, args.max_ap_loss)
    if args.json:
        output.print_json({**result.to_json(), "gate": gate})
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result, gate)
    return 1 if gate is not None and not gate["passed"] else 0


def _gate(result: Evaluation, limit: float | None) -> dict[str, Any] | None:
    if limit is None:
        return None
    failed = [loss.variant for loss in result.losses if loss.ap.value is None or loss.ap.value > limit]
    return {"max_ap_loss": limit, "passed": not failed, "failed": failed}


def _show(result: Evaluation, gate: dict[str, Any] | None) -> None:
    print(f"{result.dataset}: {result.images} images, {result.annotations} objects; AP x100")
    columns = ["model", "AP", "AP50", "AP75", "small", "medium", "large", "AR"]
    output.print_table(
        columns,
        [
            [
                model.name,
                *(
                    output.ap(value)
                    for value in (
                        model.ap,
                        model.ap50,
                        model.ap75,
                        model.ap_small,
                        model.ap_medium,
                        model.ap_large,
                        model.ar,
                    )
                ),
            ]
            for model in result.models
        ],
    )
    print("\nloss by class, reference minus variant, AP x100 (worst ten of each variant)")
    rows = [
        [loss.variant, row.label, output.signed_ap(row.loss.value), row.truths, row.images]
        for loss in result.losses
        for row in loss.per_class[:10]
    ]
    output.print_table(["variant", "class", "loss", "truths", "images"], rows)
    if gate is not None:
        told = "passed" if gate["passed"] else f"failed by {', '.join(gate['failed'])}"
        print(f"\ngate: at most {100 * gate['max_ap_loss']:.1f} AP points lost: {told}")
