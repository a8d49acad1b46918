"""`qviz layers`: local and cumulative error of every layer, and what other kernels change."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import plural, shortened

if TYPE_CHECKING:
    import pandas as pd

    from qviz.features.backends.recorded_layers import RecordedLayers
    from qviz.features.cost.npu import NpuCost
    from qviz.features.layer_error import LayerErrors

CAUSE = (
    "These are measurements: a drop in SQNR shows where error appears, not what causes it. `qviz what-if` and `qviz"
    " diagnose` run sets of operators in float and find what does."
)


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants="1")
    options.add_images(parser)
    parser.add_argument(
        "--local-inputs",
        choices=("reference", "variant"),
        default="reference",
        help="inputs for the local error: activations of the reference or the variant (as QuantizationDebugger does)",
    )
    parser.add_argument(
        "--noise-budget",
        action="store_true",
        help="run the variant on other kernels too: separates kernel differences from quantization error",
    )
    parser.add_argument(
        "--recording",
        type=Path,
        metavar="FILE.zip",
        help="compare the tensors that a device recorded (qviz device read --tensors) with REF and with VARIANT here",
    )
    parser.add_argument(
        "--npu",
        metavar="NAME",
        default="",
        help="cycles of each operator on an Arm accelerator, e.g. ethos-u55-256, as its compiler Vela estimates them",
    )
    _add_files(parser)
    options.add_settings(parser)
    parser.add_argument(
        "--score",
        type=options.fraction,
        metavar="X",
        help="minimum confidence of the objects that --noise-budget compares (default 0.25)",
    )
    options.add_work(parser)
    options.add_output(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
    """Add the options for files that Model Explorer reads."""
    parser.add_argument(
        "--model-explorer",
        type=options.OutputPath,
        metavar="FILE",
        help="write cumulative SQNR to this file too, as custom node data for Google's Model Explorer",
    )
    parser.add_argument(
        "--model-explorer-sync",
        type=options.OutputPath,
        metavar="FILE",
        help="write which operators belong together, as its mapping for synchronised navigation (REF left)",
    )


def run(args: argparse.Namespace) -> int:
    if args.score is not None and not args.noise_budget:
        options.remark(["--score has an effect only with --noise-budget."])
    output.check_writable(args.model_explorer, args.model_explorer_sync)
    with options.session_of(args) as session:
        recorded = None if args.recording is None else session.recorded_layers(recording=args.recording)
        npu = session.npu_cost(accelerator=args.npu) if args.npu else None
        result = session.layers(local_inputs=args.local_inputs)
        noise = (
            session.noise_budget(**({} if args.score is None else {"score": args.score})) if args.noise_budget else None
        )
    options.remark([*result.skipped, *(recorded.skipped if recorded else ())])
    if args.model_explorer is not None:
        from qviz.features.layer_error.metrics import node_data_json

        output.write(args.model_explorer, node_data_json(result.layers).encode())
    if args.model_explorer_sync is not None:
        from qviz.features.layer_error.metrics import sync_mapping_json

        output.write(args.model_explorer_sync, sync_mapping_json(result.pairs).encode())
    if args.json:
        from qviz.result import to_json

        added = {"noise_budget": noise, "recording": recorded, "npu": npu}
        output.print_json(result.to_json() | {key: to_json(value) for key, value in added.items() if value})
    elif args.csv:
        output.print_frame(_frame(result, recorded, npu))
    else:
        _print(result, npu)
        if recorded:
            _print_recording(recorded)
    if noise and not args.json:
        print(*(kernels.sentence for kernels in noise.sets), sep="\n", file=sys.stderr if args.csv else sys.stdout)
    return 0


def _print(result: LayerErrors, npu: NpuCost | None) -> None:
    from qviz.features.cost.text import npu_sentence
    from qviz.features.layer_error.metrics import TABLE_METRICS
    from qviz.features.layer_error.text import verdict

    print(verdict(result))
    if result.paired_share == 0:
        return
    print(CAUSE)
    print(
        f"{result.variant} against {result.reference}: {result.paired_share:.1%} of the operators paired,"
        f" {plural(result.images, 'image')}; SQNR (local, cumulative, weights) in dB, higher is better"
    )
    costs = {} if npu is None else npu.by_order
    columns = ["order", "in REF", "operator", *(metric.name for metric in TABLE_METRICS)]
    rows = [
        [
            layer.order,
            layer.reference_order,
            layer.op_kind,
            *(metric.number(layer) for metric in TABLE_METRICS),
            *([] if npu is None else [costs[layer.order].text if layer.order in costs else None]),
            shortened(layer.tensor, 50),
        ]
        for layer in result.layers
    ]
    output.print_table([*columns, *([] if npu is None else ["NPU cycles"]), "tensor"], rows)
    if npu is not None:
        print(npu_sentence(result.variant, npu))


def _frame(result: LayerErrors, recorded: RecordedLayers | None, npu: NpuCost | None) -> pd.DataFrame:
    """A table with one row per layer, with further columns from the device's recording and the NPU's cycles."""
    frame = result.to_frame()
    if recorded is not None:
        columns = recorded.to_frame().drop(columns=["tensor", "op_kind", "max_abs"])
        frame = frame.merge(columns, how="left", on="order")
    if npu is not None:
        cycles = {order: row.cycles for order, row in npu.by_order.items() if row.runs_on == "npu"}
        frame["npu_cycles"] = frame["order"].map(cycles).astype("Int64")
    return frame


def _print_recording(recorded: RecordedLayers) -> None:
    from qviz.features.backends.text import recorded_sentence

    print(f"\n{recorded_sentence(recorded)}")
    rows = [
        [
            layer.order,
            layer.op_kind,
            *(None if value is None else f"{value:.1f}" for value in (layer.recorded_sqnr_db, layer.here_sqnr_db)),
            None if layer.kernel_sqnr_db is None else f"{layer.kernel_sqnr_db:.1f}",
            layer.local_steps,
            shortened(layer.tensor, 50),
        ]
        for layer in recorded.layers
    ]
    columns = ["order", "operator", "device", "here", "device to here", "steps alone", "tensor"]
    output.print_table(columns, rows)
