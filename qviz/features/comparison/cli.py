"""`qviz compare` says which objects are kept, shifted, relabelled, lost or spurious, and why objects are lost."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.features.comparison.text import conversion_sentences, shape_sentences
from qviz.formatting import score, score_difference, signed_score

if TYPE_CHECKING:
    from qviz.features.comparison import Comparison


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser)
    options.add_images(parser)
    options.add_common(parser, score=0.25, iou=True, detects=True)


def run(args: argparse.Namespace) -> int:
    with options.session_of(args) as session:
        result = session.compare(score=args.score, iou=args.iou)
    options.remark_warnings(result.warnings)
    options.remark(result.skipped)
    output.print_result(result, args, _print)
    return 0


def _print(result: Comparison) -> None:
    columns = ["variant", "scheme", "kept", "shifted", "relabelled", "lost", "spurious", "agreement", "mean Δscore"]
    rows = []
    for variant in result.variants:
        summary = variant.summary
        counts = [summary.kept, summary.shifted, summary.relabelled, summary.lost, summary.spurious]
        agreement = None if summary.agreement is None else f"{summary.agreement:.3f}"
        delta = None if summary.mean_score_delta is None else f"{summary.mean_score_delta:+.3f}"
        rows.append([variant.name, variant.scheme, *counts, agreement, delta])
    print(f"reference {result.reference}")
    output.print_table(columns, rows)
    if any(variant.summary.agreement is None for variant in result.variants):
        print("–: neither model finds an object at this confidence. Lower --score, or use other images.")
    for sentence in conversion_sentences(result):
        print(sentence)
    for variant in result.variants:
        for sentence in shape_sentences(variant):
            print(sentence)
    changed = [
        [
            variant.name,
            image.image,
            row.change,
            row.label,
            row.variant_label if row.change == "relabelled" else None,
            score(row.reference_score),
            score(row.variant_score),
            signed_score(score_difference(row.variant_score, row.reference_score)),
            row.lost_because,
        ]
        for variant in result.variants
        for image in variant.images
        for row in image.objects
        if row.change != "kept"
    ]
    if changed:
        print("\nObjects that are not kept (--json and --csv list all)")
        names = ["variant", "image", "change", "label", "now", "reference", "score", "Δscore", "lost because"]
        output.print_table(names, changed)
