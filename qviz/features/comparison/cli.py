"""objects of the reference against each variant's

Each object is kept, shifted, relabelled, lost or spurious; a lost one says why.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output

if TYPE_CHECKING:
    from qviz.features.comparison import Comparison


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser)
    options.add_images(parser)
    options.add_settings(parser, score=0.25)
    options.add_iou(parser)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    options.check_fraction("--score", args.score)
    options.check_fraction("--iou", args.iou)
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start

        models = api.load([args.reference, *args.variants], engine, options.settings_of(args))
        result = api.compare(
            models, args.images, engine, args.score, args.iou, options.show_progress, args.threads, store
        )
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    return 0


def _show(result: Comparison) -> None:
    columns = ["variant", "scheme", "kept", "shifted", "relabelled", "lost", "spurious", "agreement", "mean Δscore"]
    rows = []
    for variant in result.variants:
        found = variant.summary
        counts = [found.kept, found.shifted, found.relabelled, found.lost, found.spurious]
        delta = None if found.mean_score_delta is None else f"{found.mean_score_delta:+.3f}"
        rows.append([variant.name, variant.scheme, *counts, f"{found.agreement:.3f}", delta])
    print(f"reference {result.reference}")
    output.print_table(columns, rows)
    changed = [
        [
            variant.name,
            image.image,
            row.change,
            row.label,
            row.variant_label if row.change == "relabelled" else None,
            output.score(row.reference_score),
            output.score(row.variant_score),
            output.signed(row.score_delta),
            row.lost_because,
        ]
        for variant in result.variants
        for image in variant.images
        for row in image.objects
        if row.change != "kept"
    ]
    if changed:
        print("\nevery object that is not kept (--json and --csv hold all)")
        names = ["variant", "image", "change", "label", "now", "reference", "score", "Δscore", "lost because"]
        output.print_table(names, changed)
