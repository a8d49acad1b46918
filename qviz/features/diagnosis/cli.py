"""`qviz diagnose`: why a variant loses objects, and what brings them back."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output
from qviz.errors import DatasetError, SettingsError

if TYPE_CHECKING:
    from qviz.features.diagnosis.result import Cause, Cure, Diagnosis


def add(parser: argparse.ArgumentParser) -> None:
    options.add_models(parser, variants="1")
    options.add_images(parser, required=False)
    options.add_dataset(parser)
    gate = parser.add_mutually_exclusive_group()
    gate.add_argument(
        "--min-agreement", type=options.fraction, metavar="X", help="exit with 1 if the agreement is lower than this"
    )
    gate.add_argument(
        "--max-ap-loss",
        type=options.fraction,
        metavar="X",
        help="exit with 1 if more AP than this is lost (needs --dataset)",
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help="build the cures, measure them on images that neither calibration nor search has used, write the best",
    )
    parser.add_argument(
        "-o", "--output", type=options.OutputPath, metavar="FILE", help="with --fix: the .tflite file to write"
    )
    options.add_calibration(parser)
    parser.add_argument(
        "--integers-only", action="store_true", help="with --fix: only cures that compute on integers alone"
    )
    parser.add_argument(
        "--npu",
        metavar="NAME",
        default="",
        help="time of the cures on an Arm accelerator, e.g. ethos-u55-256, as its compiler Vela estimates it",
    )
    options.add_common(parser, score=0.25, iou=True)


def run(args: argparse.Namespace) -> int:
    from qviz.features.diagnosis.text import no_cure

    _check(args)
    files = {}
    with options.session_of(args, progress=_ShowsFirstAnswer()) as session:
        if args.fix:
            result = session.diagnose(
                score=args.score, iou=args.iou, fix=True, integers_only=args.integers_only, npu=args.npu
            )
            files = _written(result, args.output)
        else:
            limits = {"min_agreement": args.min_agreement, "max_ap_loss": args.max_ap_loss}
            result = session.diagnose(score=args.score, iou=args.iou, npu=args.npu, **limits)
    options.remark(result.skipped)
    options.remark_warnings(result.warnings)
    output.print_result(result, args, _print, **files)
    if result.cure_holds and not (args.json or args.csv):
        print(f"\n{args.output} is written: the first of these.")
    if sentence := no_cure(result):
        options.remark([f"{sentence} {args.output} is not written."])
        return 2
    return 0 if result.gate is None or result.gate.passed else 1


class _ShowsFirstAnswer(options.TerminalProgress):
    """Also shows the first causes, on standard error if that is a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = False

    def partial(self, result: object) -> None:
        from qviz.features.diagnosis import Diagnosis
        from qviz.features.diagnosis.text import brings_back

        if self._shown or not isinstance(result, Diagnosis) or not result.causes or not sys.stderr.isatty():
            return
        print("\r\x1b[K", end="", file=sys.stderr)
        options.remark([f"so far: {result.verdict} ({brings_back(result.causes[0])})"])
        self._shown = True


def _written(result: Diagnosis, path: Path) -> dict[str, str]:
    """Write the file of the best cure. Returns its name for the JSON; empty if it is not better on other images."""
    if result.built is None:
        return {}
    options.remark_warnings(result.built.warnings)
    output.write(path, result.built.data)
    return {"file": str(path)}


def _check(args: argparse.Namespace) -> None:
    """Raise SettingsError or DatasetError for options that cannot be combined."""
    if not args.images and args.dataset is None:
        raise DatasetError("No image is given; give --images PATH..., or annotated images with --dataset FILE.")
    if args.max_ap_loss is not None and args.dataset is None:
        raise SettingsError("--max-ap-loss needs annotated images: give --dataset FILE.")
    if not args.fix:
        extra = {"-o": args.output, "--calibration": args.calibration, "--integers-only": args.integers_only}
        unused = [name for name, value in extra.items() if value]
        if unused:
            raise SettingsError(f"{unused[0]} has no effect without --fix.")
        return
    if args.output is None or not args.calibration:
        raise SettingsError("--fix needs -o FILE and --calibration PATH...")
    if args.min_agreement is not None or args.max_ap_loss is not None:
        raise SettingsError("--fix has no gate: run qviz diagnose on the written file.")
    output.check_writable(args.output)


def _print(result: Diagnosis) -> None:
    from qviz.features.diagnosis.text import estimate, note

    print(f"{result.verdict}\n{note(result)}")
    for title, causes in (("Causes", result.causes), ("Looks wrong, but is not a cause", result.suspects)):
        if causes:
            print(f"\n{title}:")
        for number, cause in enumerate(causes, start=1):
            _print_cause(number, cause)
    if result.traces:
        print("\nObjects that show it best:")
    for trace in result.traces:
        print(f"  {trace.image}: {trace.sentence}")
    if result.cures:
        print("\nWhat helps:" if result.cure_holds is not False else "\nWhat was tried:")
    if result.before is not None:
        name = "AP" if result.before.measure == "ap" else "agreement"
        print(f"  On {result.before.images} other images {result.variant} has an {name} of {estimate(result.before)}.")
    for cure in result.cures:
        _print_cure(result, cure)
    if result.gate is not None:
        print(f"\nGate: {'passed' if result.gate.passed else 'failed'}.")


def _print_cause(number: int, cause: Cause) -> None:
    from qviz.features.diagnosis.text import brings_back, figure_text
    from qviz.structures.operators import orders_text

    operators = f" (operators {orders_text(cause.operators)})" if cause.operators else ""
    print(f"  {number}. {cause.title}{operators}: {brings_back(cause)}\n     {cause.sentence}")
    for row in cause.evidence[1:]:
        print(f"       {figure_text(row)}")


def _print_cure(result: Diagnosis, cure: Cure) -> None:
    from qviz.features.diagnosis.text import estimate, price_figures
    from qviz.formatting import megabytes

    size = "" if cure.bytes is None else f", {megabytes(cure.bytes)}"
    name = "AP" if cure.measured is not None and cure.measured.measure == "ap" else "Agreement"
    figures = f" Predicted agreement: {estimate(cure.predicted)}." if cure.predicted is not None else ""
    figures += f" {name} measured: {estimate(cure.measured)}{size}." if cure.measured is not None else ""
    price = price_figures(result, cure)
    costs = f" Price: {'; '.join(price)}." if price else ""
    print(f"  {cure.sentence}{figures}{costs}")
    if cure.command:
        print(f"     {cure.command}")
