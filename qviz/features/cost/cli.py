"""`qviz profile`: latency of all models, run in turns in one pinned process. Keep the machine idle meanwhile."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.formatting import megabytes, plural, shortened, three

if TYPE_CHECKING:
    from qviz.features.cost import ModelProfile, Profile

SHOWN_KINDS = 5
"""Maximum number of operator kinds in the table."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=".tflite files")
    parser.add_argument(
        "--threads",
        dest="counts",
        type=_counts,
        default=[1],
        metavar="N[,N]",
        help="thread counts, e.g. 1,2 (default 1)",
    )
    parser.add_argument(
        "--runs",
        type=options.whole_number(1, 10_000),
        default=50,
        metavar="N",
        help="timed runs per model (default 50)",
    )
    parser.add_argument(
        "--npu",
        metavar="NAME",
        default="",
        help="cycles, memory and operators left to the CPU on an Arm accelerator, e.g. ethos-u55-256, estimated by its"
        " compiler Vela",
    )
    parser.add_argument("--operators", action="store_true", help="every operator in the table or --csv")
    options.add_settings(parser)
    options.add_output(parser)
    parser.set_defaults(workers="1")  # a second process would disturb the measurement


def run(args: argparse.Namespace) -> int:
    with options.session_of(args, args.models) as session:
        result = session.profile(threads=args.counts, runs=args.runs, npu=args.npu)
    options.remark([*result.skipped, *result.remarks])
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.operators_frame() if args.operators else result.to_frame())
    else:
        _show(result, args.operators)
    return 0


def _counts(text: str) -> list[int]:
    """Parse an argument such as `1,2` into [1, 2]; used as an argparse type."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= 256 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of thread counts from 1 to 256; give e.g. 1,2.")
    return [int(part) for part in parts]


def _show(result: Profile, operators: bool) -> None:
    columns = ["model", "scheme", "size", "threads", "runs", "mean ms", "p50 ms", "p95 ms", "CPU ms", "peak MB"]
    output.print_table(columns, [_cells(row) for row in result.models])
    for row in result.models:
        print(f"\n{row.name}, {plural(row.threads, 'thread')}, by operator:")
        if operators:
            times = [[one.order, one.op_kind, three(one.ms), shortened(one.tensor, 60)] for one in row.operators]
            output.print_table(["order", "operator", "ms", "tensor"], times)
        else:
            kinds = [[kind.op_kind, kind.steps, three(kind.ms)] for kind in row.by_kind[:SHOWN_KINDS]]
            output.print_table(["operator", "steps", "ms"], kinds)

    for row in {row.digest: row for row in result.models if row.npu is not None}.values():
        _show_npu(row, operators)


def _show_npu(row: ModelProfile, operators: bool) -> None:
    from qviz.features.cost.text import npu_sentence

    assert row.npu is not None, "only models that were compiled are shown"
    print(f"\n{npu_sentence(row.name, row.npu)}")
    costs = [one for one in row.npu.operators if operators or one.runs_on == "cpu"]
    if not operators:
        costs = sorted(row.npu.operators, key=lambda one: -one.cycles)[:SHOWN_KINDS] + costs[:SHOWN_KINDS]
    cells = [
        [one.order, one.op_kind, one.runs_on, one.cycles, shortened(one.tensor, 50), shortened(one.reason, 60)]
        for one in costs
    ]
    output.print_table(["order", "operator", "on", "cycles", "tensor", "why on the CPU"], cells)


def _cells(row: ModelProfile) -> list[object]:
    times = [three(value) for value in (row.mean_ms, row.p50_ms, row.p95_ms, row.cpu_ms, row.peak_mb)]
    return [row.name, row.scheme, megabytes(row.bytes), row.threads, row.runs, *times]
