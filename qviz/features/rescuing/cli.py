"""`qviz rescue`: find the smallest or fastest variant within a budget (constrained quantization search).

Candidates are built and measured on one half of the images; the loss of the chosen one is reported on the other half.
If a search is stopped, the next one continues where it ended.
"""

from __future__ import annotations

import argparse
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from qviz import formatting
from qviz.cli import options, output
from qviz.errors import DatasetError
from qviz.structures.operators import orders_text

if TYPE_CHECKING:
    from qviz.features.rescuing import Rescue
    from qviz.features.rescuing.result import Contribution, Tried

MAX_NAME, MAX_ERROR = 60, 60
"""Maximum number of characters in the table's cells for names and for errors."""


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, None)
    options.add_calibration(parser, required=True)
    options.add_images(parser, required=False)
    options.add_dataset(parser)
    parser.add_argument(
        "--report-dataset",
        type=Path,
        metavar="FILE",
        help="report on these annotated images, and search on all of --dataset instead of one half",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument(
        "--max-ap-loss", type=options.number(-1, 1), metavar="X", help="largest loss of AP (0..1), e.g. 0.005"
    )
    budget.add_argument(
        "--min-agreement", type=options.fraction, metavar="X", help="minimum agreement with REF, e.g. 0.98"
    )
    parser.add_argument(
        "--prefer", choices=("size", "latency"), default="size", help="what to minimise: file size or latency"
    )
    parser.add_argument(
        "--recipes", nargs="+", default=[], metavar="NAME", help="only these, e.g. int8 (see qviz quantize --recipes)"
    )
    parser.add_argument(
        "--integers-only", action="store_true", help="no operator in float: 16-bit activations for a few instead"
    )
    _add_limits(parser)
    parser.add_argument("--tries", type=int, default=60, metavar="N", help="maximum number of candidates (default 60)")
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, required=True, metavar="FILE", help="the .tflite file to write"
    )
    options.add_common(parser, score=0.001, detects=True)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--max-cycles",
        type=int,
        metavar="N",
        help="largest number of cycles of one image on --npu, as its compiler Vela estimates them (--integers-only)",
    )
    parser.add_argument(
        "--max-size",
        default="",
        metavar="SIZE",
        help="largest file, in bytes or times the plain int8 file, e.g. 1.02x; the best one within it is chosen",
    )
    parser.add_argument(
        "--max-wide-operators",
        type=int,
        metavar="N",
        help="largest number of operators with 16-bit activations; the best file within it is chosen",
    )
    parser.add_argument("--npu", metavar="NAME", default="", help="an Arm accelerator, e.g. ethos-u55-256")


def run(args: argparse.Namespace) -> int:
    if args.dataset is None and args.max_ap_loss is not None:
        raise DatasetError(
            "A loss of AP is measured on annotated images: add --dataset FILE, or give --min-agreement X with --images."
        )
    options.check_one_source(args)
    output.check_writable(args.output)
    with options.session_of(args, progress=_SavesBest(args.output)) as session:
        result = session.rescue(
            max_ap_loss=args.max_ap_loss,
            min_agreement=args.min_agreement,
            prefer=args.prefer,
            recipes=args.recipes,
            tries=args.tries,
            integers_only=args.integers_only,
            max_cycles=args.max_cycles,
            npu=args.npu,
            max_size=args.max_size,
            max_wide_operators=args.max_wide_operators,
            score=args.score,
            report_dataset=args.report_dataset,
        )
    best = result.best
    assert best is not None, "a search that finishes has a best candidate"
    command = best.candidate.command(str(args.reference), [str(path) for path in args.calibration], str(args.output))
    command = shlex.join([*shlex.split(command), *options.settings_words(args)])
    recipe = args.output.with_suffix(".recipe.json")
    document = result.recipe_json(best, args.output.name, command)
    output.write(recipe, json.dumps(document, indent=1, allow_nan=False).encode())
    options.remark_warnings(result.warnings)
    options.remark(result.remarks)
    files = {"file": str(args.output), "recipe_file": str(recipe), "command": command}
    output.print_result(result, args, lambda shown: _print(shown, files), **files)
    return 0 if result.within_budget else 1


class _SavesBest(options.TerminalProgress):
    """Writes the best file within the budget as soon as it is found, so that it remains if the search is stopped."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._written = path, ""

    def partial(self, result: object) -> None:
        from qviz.features.rescuing import Rescue

        if not isinstance(result, Rescue) or result.best is None or result.best.digest == self._written:
            return
        if result.best.within or result.chosen is not None:
            output.write(self._path, result.data)
            self._written = result.best.digest


def _print(result: Rescue, files: dict[str, str]) -> None:
    print(result)
    search = formatting.plural(result.images.search, "search image")
    print(f"\n{formatting.plural(len(result.tried), 'candidate')} on {search}:")
    cycles = [] if result.budget.max_cycles is None else ["NPU cycles"]
    columns = ["candidate", "found by", "size", "loss", "agreement", "quality", "speed", *cycles, "budget"]
    output.print_table(columns, [_cells(row, result) for row in result.tried])
    if result.contributions:
        print("\nthe chosen candidate with one of its moves left out at a time, on the same images:")
        moves = ["move", "operators", "size", "loss", "agreement", "quality"]
        output.print_table(moves, [_contribution(row, result) for row in result.contributions])
    print(f"\n{files['file']}\n{files['command']}")


def _contribution(row: Contribution, result: Rescue) -> list[object]:
    write = formatting.signed_points if result.budget.measure == "AP" else formatting.score
    return [
        row.code,
        orders_text(row.operators)[:MAX_NAME] or None,
        formatting.megabytes(row.bytes),
        None if row.loss is None else write(row.loss),
        None if row.agreement is None else formatting.score(row.agreement),
        None if row.quality is None else f"{row.quality:.3f}",
    ]


def _cells(row: Tried, result: Rescue) -> list[object]:
    write = formatting.signed_points if result.budget.measure == "AP" else formatting.score
    name = row.candidate.name
    return [
        name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 3]}...",
        row.origin,
        formatting.megabytes(row.bytes) if row.bytes else None,
        None if row.search_loss is None else write(row.search_loss),
        None if row.agreement is None else formatting.score(row.agreement),
        None if row.quality is None else f"{row.quality:.3f}",
        None if row.speed is None else f"{row.speed:.2f}x",
        *([] if result.budget.max_cycles is None else [row.npu_cycles]),
        row.error[:MAX_ERROR] if row.error else "kept" if row.within else "floods" if row.floods else "",
    ]
