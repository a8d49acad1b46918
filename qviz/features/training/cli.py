"""train a model for its quantization, without labels

FP32 teaches the network that computes as the quantized one will; images held out tell what that gained. A killed run
goes on where it stopped, from the checkpoint beside FILE.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options_old as options
from qviz.cli import output
from qviz.progress import TimeLeft

if TYPE_CHECKING:
    from qviz.features.training import QatResult

DEFAULT_STEPS = 240


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="float32 .tflite file, SavedModel, .keras or .h5")
    options.add_images(parser)
    parser.add_argument("--recipe", default="int8", metavar="NAME", help="as in qviz quantize --recipes (default int8)")
    parser.add_argument(
        "--steps", type=int, default=DEFAULT_STEPS, metavar="N", help=f"of training (default {DEFAULT_STEPS})"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the .tflite file to write")
    parser.add_argument("--save-float", type=Path, metavar="FILE", help="keep the trained network as float32, too")
    options.add_settings(parser, score=0.25)
    options.add_work(parser)
    options.add_output(parser)


def run(args: argparse.Namespace) -> int:
    from qviz.api.training import Hooks, qat
    from qviz.features.training.trainer import forget

    checkpoint = args.output.with_name(f"{args.output.name}.checkpoint.npz")
    output.check_writable(args.output, args.save_float)
    said = options.settings_of(args)
    shown = _Shown(args.steps)
    hooks = Hooks(losses=shown.losses, phase=shown.phase)
    with options.engine_of(args) as engine:
        result = qat(args.model, args.images, args.recipe, args.steps, checkpoint, engine, said, hooks)
    output.write(args.output, result.trained.trained.data)
    if args.save_float is not None:
        output.write(args.save_float, result.trained.float_data)
    forget(checkpoint)
    _show(args, result)
    return 0


class _Shown:
    """Progress on standard error, where a person watches it."""

    def __init__(self, steps: int) -> None:
        self._steps, self._left, self._begun = steps, TimeLeft(), False

    def phase(self, words: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{words} …\x1b[K", end="", file=sys.stderr, flush=True)

    def losses(self, losses: tuple[float, ...]) -> None:
        if not self._begun:  # what a checkpoint had says nothing of the pace
            self._left, self._begun = TimeLeft(), True
        seconds = self._left.after(len(losses), self._steps)
        if sys.stderr.isatty():
            left = "" if seconds is None else f", {options.duration(seconds)} left"
            mean = sum(losses[-20:]) / len(losses[-20:])
            said = f"step {len(losses)} / {self._steps}, loss {mean:.3g}{left}"
            print(f"\r{said}\x1b[K", end="\n" if len(losses) >= self._steps else "", file=sys.stderr, flush=True)


def _show(args: argparse.Namespace, result: QatResult) -> None:
    trained = result.trained
    options.remark([trained.trained.remark] if trained.trained.remark else [])
    if args.json:
        output.print_json({"file": str(args.output), **result.to_json()})
        return
    if args.csv:
        output.print_frame(result.to_frame())
        return
    built = trained.trained
    resumed = f", {trained.resumed_at} of them before it was interrupted" if trained.resumed_at else ""
    print(
        f"{args.output}: {built.scheme}, {output.megabytes(len(built.data))}, {len(trained.losses)} steps on"
        f" {result.trained_on} images in {options.duration(trained.seconds)}{resumed}"
    )
    print(result.gain.verdict)
