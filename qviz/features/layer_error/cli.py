"""error of every layer, local and cumulative

Local is what the layer alone adds, cumulative what has gathered by there; SQNR in dB, higher is better.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import SettingsError

if TYPE_CHECKING:
    from qviz.features.layer_error import LayerErrors


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
    parser.add_argument(
        "--noise-budget",
        action="store_true",
        help="run the variant on other kernels too: what of its error is the kernels' and not the quantization's",
    )
    parser.add_argument(
        "--model-explorer",
        type=Path,
        metavar="FILE",
        help="write cumulative SQNR there too, as custom node data for Google's Model Explorer",
    )
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        reference, variant = api.load([args.reference, args.variant], engine, options.settings_of(args))
        result = api.layers(reference, variant, args.images, engine, args.local_inputs, options.show_progress)
        noise = None
        if args.noise_budget:
            noise = api.noise_budget(reference, variant, args.images, engine, args.score, options.show_progress)
    options.remark(result.skipped)
    if args.model_explorer is not None:
        _write_node_data(args.model_explorer, result)
    if args.json:
        output.print_json(result.to_json() | ({"noise_budget": noise.to_json()} if noise else {}))
    elif args.csv:
        output.print_frame(result.to_frame())
    else:
        _show(result)
    if noise and not args.json:
        print(*(kernels.sentence() for kernels in noise.sets), sep="\n", file=sys.stderr if args.csv else sys.stdout)
    return 0


def _write_node_data(path: Path, result: LayerErrors) -> None:
    from qviz.features.layer_error.model_explorer import node_data_json

    try:
        path.write_text(node_data_json(result), encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"{path} cannot be written ({error.strerror}); name a file in a folder where you may write."
        ) from error


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
