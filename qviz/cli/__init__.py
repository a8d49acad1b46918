"""The command line: every analysis of the pages, with the same result types.

The exit status is 0 if the work is done, 1 if a gate failed, and 2 for bad input (one sentence, no traceback). Each
command is a file with the functions `add` and `run`, and a row of `COMMANDS`. It imports what it needs only when it
runs, so that `qviz --help` is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import NoReturn

from qviz import __version__
from qviz.cli import output
from qviz.errors import QvizError
from qviz.formatting import listed

COMMANDS = {
    "info": ("qviz.features.inspection.cli", "how a model file is quantized, and its problems"),
    "detect": ("qviz.features.detection.cli", "detections of one model"),
    "compare": ("qviz.features.comparison.cli", "objects that each variant keeps, loses or adds"),
    "diagnose": ("qviz.features.diagnosis.cli", "why a variant loses objects, and what brings them back"),
    "evaluate": ("qviz.features.accuracy.cli", "mAP of every model and the loss of every variant by class"),
    "dataset": ("qviz.features.accuracy.cli_dataset", "whether annotations can be trusted, before AP is computed"),
    "robustness": (
        "qviz.features.corruption_sweep.cli",
        "lighting and other corruptions: where the variant breaks before the reference does",
    ),
    "layers": ("qviz.features.layer_error.cli", "error of every layer, local and cumulative"),
    "trace": ("qviz.features.tracing.cli", "where one object's confidence is lost, operator by operator"),
    "what-if": (
        "qviz.features.what_if.cli",
        "which operators bring lost objects back when they run in float, without a rebuild",
    ),
    "risk": ("qviz.features.object_risk.cli", "which objects the variant will probably lose or relabel"),
    "backends": ("qviz.features.backends.cli", "the same files on other kernels: CPU, GPU, microcontroller"),
    "device": ("qviz.features.backends.cli_device", "run a model on another device, and read what it returned"),
    "quantize": ("qviz.features.building.cli", "build a quantized variant"),
    "calibration": ("qviz.features.calibrating.cli", "how many and which images calibration needs"),
    "rescue": ("qviz.features.rescuing.cli", "find the smallest or fastest variant within a loss budget"),
    "qat": ("qviz.features.training.cli", "train a model for its quantization, without labels"),
    "video": ("qviz.features.video.cli", "both models on the frames of a video: what flickers, and when"),
    "profile": ("qviz.features.cost.cli", "size, latency by thread count, time by operator, peak memory"),
    "report": ("qviz.features.reporting.cli", "one self-contained HTML page for the meeting"),
    "card": ("qviz.features.reporting.cli_card", "a model card in Markdown, from a saved study"),
    "doctor": ("qviz.features.installation.cli", "versions, machine, limits and a self-test: what a bug report needs"),
    "export": ("qviz.features.exporting.cli", "images and objects for FiftyOne, COCO, YOLO, or as pictures"),
    "app": ("qviz.cli.app", "open the dashboard on these files"),
}
"""Command -> (its module, with `add(parser)` and `run(args) -> exit status`; one line on what the command does)."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Exit with status 2 and one sentence: what is missing, unknown or invalid, and where to look."""
        help_text = f"{self.prog} --help lists what it expects."
        missing, unknown = "the following arguments are required: ", "unrecognized arguments: "
        if message.startswith(missing):
            names = listed(message.removeprefix(missing).split(", "))
            self.exit(2, f"{self.prog}: {names} {'are' if ' and ' in names else 'is'} missing. {help_text}\n")
        if message.startswith(unknown):
            self.exit(2, f"{self.prog}: {message.removeprefix(unknown)} is not an option of it. {help_text}\n")
        if message.startswith("argument COMMAND: invalid choice: "):
            word = message.split("'")[1]
            close = get_close_matches(word, COMMANDS, 1)
            hint = f"did you mean {close[0]}?" if close else help_text
            self.exit(2, f"qviz: {word!r} is not a command; {hint}\n")
        self.exit(2, f"qviz: {message.removeprefix('argument ')}\n")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The argument parser, with the options of this command; with None, those of all commands."""
    parser = _Parser(
        prog="qviz",
        description="What quantization does to a TensorFlow object detector: any two .tflite files will do.",
    )
    parser.add_argument("--version", action="version", version=f"qviz {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module_name, text) in COMMANDS.items():
        child = commands.add_parser(name, help=text, description=text)
        if command in (None, name):
            module = import_module(module_name)
            module.add(child)
            child.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = build_parser(next((word for word in words if word in COMMANDS), "")).parse_args(words)
        output.check_inputs_stay(parsed)
        status = parsed.run(parsed)
        sys.stdout.flush()
    except QvizError as error:
        print(f"qviz: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # `qviz ... | head` has closed the pipe, so no further output is possible
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print("qviz: stopped", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
