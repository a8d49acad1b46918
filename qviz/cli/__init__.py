"""The command line: every analysis of the pages, with the same result types.

Exit status 0 done, 1 a gate failed, 2 bad input (one sentence, no traceback). A command is one file with `add` and
`run`, and one row of `COMMANDS`; it imports what it needs when it runs, so that `qviz --help` is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from qviz import __version__
from qviz.cli import app
from qviz.errors import QvizError
from qviz.features.accuracy import cli as evaluate
from qviz.features.building import cli as quantize
from qviz.features.calibrating import cli as calibration
from qviz.features.comparison import cli as compare
from qviz.features.corruption_sweep import cli as robustness
from qviz.features.cost import cli as profile
from qviz.features.detection import cli as detect
from qviz.features.inspection import cli as info
from qviz.features.layer_error import cli as layers
from qviz.features.reporting import cli as report
from qviz.features.rescuing import cli as rescue
from qviz.features.tracing import cli as trace
from qviz.features.training import cli as qat
from qviz.features.what_if import cli as what_if

COMMANDS = {
    "info": info,
    "detect": detect,
    "compare": compare,
    "evaluate": evaluate,
    "robustness": robustness,
    "layers": layers,
    "trace": trace,
    "what-if": what_if,
    "quantize": quantize,
    "calibration": calibration,
    "rescue": rescue,
    "qat": qat,
    "profile": profile,
    "report": report,
    "app": app,
}


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="qviz",
        description="What quantization does to a TensorFlow object detector: any two .tflite files will do.",
    )
    parser.add_argument("--version", action="version", version=f"qviz {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        first = (module.__doc__ or "").splitlines()[0]
        child = commands.add_parser(name, help=first, description=first)
        module.add(child)
        child.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status."""
    parsed = build_parser().parse_args(arguments)
    try:
        status = parsed.run(parsed)
        sys.stdout.flush()
    except QvizError as error:
        print(f"qviz: {error}", file=sys.stderr)
        status = 2
    except BrokenPipeError:  # `qviz ... | head` closed the pipe: nothing more to say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt:
        print("qviz: stopped", file=sys.stderr)
        status = 130
    sys.exit(status or 0)
