"""error of every layer, local and cumulative

Local is what the layer alone adds, cumulative what has gathered by there; SQNR in dB, higher is better.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.analysis.layer_error import LayerErrors


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants=False)
    parser.add_argument("variant", type=Path, metavar="VARIANT", help="a quantized variant of it")
    options.add_images(parser)
    parser.add_argument(
        "--local-inputs",
        choices=("reference", "variant"),
        default="reference",
        help="what the layer alone is fed: the reference's activations, or the variant's own (as QuantizationDebugger)",
    )
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        reference, variant = api.load([args.reference, args.variant], engine, options.settings_of(args))
        result = api.layers(reference, variant, args.images, engine, args.local_inputs, options.show_progress)
    options.remark(result.skipped)
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    return 0


def _show(result: LayerErrors) -> None:
    print(
        f"{result.variant} against {result.reference}: {result.paired_share:.1%} of the operators paired,"
        f" {result.images} images; SQNR in dB, higher is better"
    )
    rows = [
        [
            layer.order,
            layer.op_kind,
            _one(layer.local_sqnr_db),
            _one(layer.cumulative_sqnr_db),
            _one(layer.fall_db),
            None if layer.clipped_share is None else f"{layer.clipped_share:.1%}",
            _one(layer.weight_sqnr_db),
            layer.tensor[-50:],
        ]
        for layer in result.layers
    ]
    output.print_table(["order", "operator", "local", "cumulative", "fall", "clipped", "weights", "tensor"], rows)


def _one(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"
