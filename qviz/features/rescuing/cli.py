"""find the smallest or fastest variant that keeps a budget

Recipes, and operators kept in float, are really built and measured on one half of the images; the loss of the chosen
one is reported on the other half. A search that was stopped goes on where it ended.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz import formatting
from qviz.cli import options_old as options
from qviz.cli import output
from qviz.errors import DatasetError

if TYPE_CHECKING:
    from qviz.features.rescuing.result import Rescue, Tried


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants=False)
    parser.add_argument(
        "--calibration", type=Path, nargs="+", required=True, metavar="PATH", help="images, folders or zips of them"
    )
    parser.add_argument("--dataset", type=Path, metavar="FILE", help="annotated images, as qviz evaluate reads them")
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="the folder of the dataset's images; without a dataset images to measure agreement on",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--max-ap-loss", type=float, metavar="X", help="AP (0..1) that may be lost, e.g. 0.005")
    budget.add_argument("--min-agreement", type=float, metavar="X", help="its least agreement with REF, e.g. 0.98")
    parser.add_argument("--prefer", choices=("size", "latency"), default="size", help="what is made small")
    parser.add_argument(
        "--recipes", nargs="+", default=[], metavar="NAME", help="only these, e.g. int8 (see qviz quantize --recipes)"
    )
    parser.add_argument("--tries", type=int, default=60, metavar="N", help="candidates at the most (default 60)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .tflite file to write")
    options.add_settings(parser, score=0.001)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    _check(args)
    with options.engine_of(args) as engine, options.store_of(args) as store:
        from qviz import api  # imported while the workers start

        found = api.rescue(
            args.reference, args.calibration, args.dataset, args.images, args.max_ap_loss, args.min_agreement, engine,
            args.prefer, args.recipes, args.tries, options.settings_of(args), args.score, args.threads, store,
            None if store is None else store.path.parent / "rescue", on_step=Steps(), watch=_Writer(args.output),
        )  # fmt: skip
    line = _command(args, found)
    _write_recipe(args.output, found, line)
    options.remark(found.remarks)
    _tell(args, found, line)
    return 0 if found.kept else 1


def _check(args: argparse.Namespace) -> None:
    options.check_fraction("--score", args.score)
    if args.dataset is None and args.max_ap_loss is not None:
        raise DatasetError(
            "A loss of AP is measured on annotated images: add --dataset FILE, or give --min-agreement X with --images."
        )
    output.check_writable(args.output)


class Steps:
    """What is being done, on standard error where a person watches it."""

    def __call__(self, text: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            end = "\n" if done >= total else ""
            print(f"\r{text}: {done} / {total}\x1b[K", end=end, file=sys.stderr, flush=True)


class _Writer:
    """The best file so far, written as soon as it is found: a search that is stopped leaves it."""

    def __init__(self, path: Path) -> None:
        self._path, self._written = path, ""

    def __call__(self, found: Rescue) -> None:
        best = found.best
        if best is None or best.digest == self._written or not (best.within or found.chosen):
            return
        output.write(self._path, found.data)
        self._written = best.digest


def _command(args: argparse.Namespace, found: Rescue) -> str:
    """How the file is built again, from the same images."""
    from qviz.features.rescuing.result import command

    assert found.best is not None, "a rescue that ends has found something"
    images = [str(path) for path in args.calibration]
    return command(found.best.candidate, str(args.reference), images, str(args.output))


def _write_recipe(path: Path, found: Rescue, line: str) -> None:
    from qviz.features.rescuing.result import recipe_json

    assert found.best is not None, "a rescue that ends has found something"
    document = recipe_json(found, found.best, path.name, line)
    output.write(_recipe_path(path), json.dumps(document, indent=1, allow_nan=False).encode())


def _recipe_path(path: Path) -> Path:
    """`small.tflite` -> `small.recipe.json`"""
    return path.with_suffix(".recipe.json")


def _tell(args: argparse.Namespace, found: Rescue, line: str) -> None:
    from qviz.features.rescuing.text import rescue_verdict

    if args.json:
        files = {"file": str(args.output), "recipe_file": str(_recipe_path(args.output)), "command": line}
        output.print_json({**files, **found.to_json()})
        return
    if args.csv:
        output.print_frame(found.to_frame())
        return
    print(rescue_verdict(found))
    print(f"\n{len(found.tried)} candidates, on the {found.search_images} images searched on:")
    columns = ["candidate", "found by", "size", "loss", "agreement", "speed", "budget"]
    output.print_table(columns, [_cells(row, found) for row in found.tried])
    print(f"\n{args.output}\n{line}")


def _cells(row: Tried, found: Rescue) -> list[object]:
    is_ap = found.budget.measure == "AP"
    loss = (
        None
        if row.search_loss is None
        else formatting.signed_points(row.search_loss)
        if is_ap
        else formatting.score(row.search_loss)
    )
    agreement = None if row.agreement is None else formatting.score(row.agreement)
    speed = None if row.speed is None else f"{row.speed:.2f}x"
    told = row.error[:60] if row.error else "kept" if row.within else ""
    name = row.candidate.name
    shown = name if len(name) <= 60 else f"{name[:57]}..."
    return [shown, row.found_by, output.megabytes(row.bytes), loss, agreement, speed, told]
