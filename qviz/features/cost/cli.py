"""size, latency by thread count, time by operator, peak memory

Latency is measured in one pinned process on this machine, all models in turns; keep it quiet meanwhile.
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
    from qviz.features.cost import ModelProfile, Profile

SHOWN = 5
"""Operator kinds in the table."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", type=Path, nargs="+", metavar="MODEL", help=".tflite files")
    parser.add_argument(
        "--threads", dest="counts", default="1", metavar="N[,N]", help="thread counts, e.g. 1,2 (default 1)"
    )
    parser.add_argument("--runs", type=int, default=50, metavar="N", help="runs of each model that count (default 50)")
    parser.add_argument("--operators", action="store_true", help="every operator in the table or --csv")
    options.add_settings(parser, score=0.25)
    options.add_output(parser)
    parser.set_defaults(workers="1", threads=1)  # one process: a second one would only disturb it


def run(args: argparse.Namespace) -> int:
    counts = _counts(args.counts)
    with options.engine_of(args) as engine:
        from qviz import api  # imported while the workers start

        models = api.load(args.models, engine, options.settings_of(args))
        result = api.profile(models, counts, args.runs, engine, _show_progress)
    options.remark([*result.skipped, *result.remarks])
    if args.json:
        output.print_json(result.to_json())
    elif args.csv:
        output.print_frame(result.operators_frame() if args.operators else result.to_frame())
    else:
        _show(result, args.operators)
    return 0


def _counts(text: str) -> list[int]:
    """`1,2` -> [1, 2]. Raises SettingsError."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 4 for part in parts):
        raise SettingsError(f"--threads is {text}; give thread counts with commas, e.g. 1,2.")
    return [int(part) for part in parts]


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done >= total else ""
        print(f"\rmeasuring: {done / max(total, 1):.0%}\x1b[K", end=end, file=sys.stderr, flush=True)


def _show(result: Profile, operators: bool) -> None:
    columns = ["model", "scheme", "size", "threads", "runs", "mean ms", "p50 ms", "p95 ms", "CPU ms", "peak MB"]
    output.print_table(columns, [_cells(row) for row in result.models])
    for row in result.models:
        print(f"\n{row.name}, {row.threads} thread{'s' * (row.threads > 1)}, by operator:")
        if operators:
            times = [[one.order, one.op_kind, output.three(one.ms), one.tensor[-60:]] for one in row.operators]
            output.print_table(["order", "operator", "ms", "tensor"], times)
        else:
            kinds = [[kind.op_kind, kind.steps, output.three(kind.ms)] for kind in row.by_kind[:SHOWN]]
            output.print_table(["operator", "steps", "ms"], kinds)


def _cells(row: ModelProfile) -> list[object]:
    peak = output.three(row.peak_mb)
    times = [output.three(value) for value in (row.mean_ms, row.p50_ms, row.p95_ms, row.cpu_ms)]
    return [row.name, row.scheme, output.megabytes(row.bytes), row.threads, row.runs, *times, peak]
