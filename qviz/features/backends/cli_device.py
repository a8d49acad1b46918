"""`qviz device`: pack inputs for a device, run the network on them, and read the outputs as recorded results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.backends.device import DevicePack, DeviceResults, DeviceRun
    from qviz.result import Result

    Actions = argparse._SubParsersAction[argparse.ArgumentParser]


def add(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_pack(actions)
    text = "run a packed folder on this machine; the runner in the folder is not executed"
    run_parser = actions.add_parser("run", help=text, description=text)
    run_parser.add_argument("folder", type=Path, metavar="FOLDER")
    options.add_work(run_parser)
    options.add_output(run_parser, csv=False)
    _add_read(actions)


def _add_pack(actions: Actions) -> None:
    text = "write prepared inputs, the model and a single-file runner into a folder, to be copied to a device"
    pack = actions.add_parser("pack", help=text, description=text)
    pack.add_argument("model", type=Path, metavar="MODEL", help=".tflite file")
    options.add_images(pack)
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="a new or empty folder")
    pack.add_argument(
        "--inner",
        default="",
        metavar="all|ORDERS|REGEX",
        help="record tensors inside the network too: all, operators by order (0-12,40) or tensors by name",
    )
    options.add_settings(pack)
    options.add_work(pack)
    options.add_output(pack, csv=False)


def _add_read(actions: Actions) -> None:
    text = "check what a device returned, and decode it into results that can be given in place of a VARIANT"
    read = actions.add_parser("read", help=text, description=text)
    read.add_argument("folder", type=Path, metavar="FOLDER")
    read.add_argument("-o", "--output", type=options.OutputPath, required=True, metavar="RESULTS.json")
    read.add_argument(
        "--outputs",
        type=Path,
        metavar="FILE|FOLDER",
        help="what another tool has recorded with these inputs: an .npz file with one array per output (also of ST Edge"
        " AI), an .h5 file of Qualcomm AI Hub, or a folder of Result_N/NAME.raw",
    )
    read.add_argument(
        "--tensors",
        type=options.OutputPath,
        metavar="FILE.zip",
        help="write all recorded tensors to this file too, for qviz layers --recording",
    )
    options.add_score(read, 0.001)
    options.add_work(read)
    options.add_output(read, csv=False)


def run(args: argparse.Namespace) -> int:
    result = ACTIONS[args.action](args)
    options.remark(getattr(result, "skipped", ()))
    output.print_result(result, args, print)
    return 0


def _pack(args: argparse.Namespace) -> DevicePack:
    with options.session_of(args, [args.model]) as session:
        return session.device_pack(args.output, inner=args.inner)


def _run(args: argparse.Namespace) -> DeviceRun:
    from qviz.top_level import device_run

    return device_run(args.folder, workers=args.workers, progress=options.TerminalProgress())


def _read(args: argparse.Namespace) -> DeviceResults:
    from qviz.top_level import device_read

    output.check_writable(args.output, args.tensors)
    progress = options.TerminalProgress()
    result = device_read(
        args.folder,
        outputs=args.outputs,
        tensors=args.tensors,
        score=args.score,
        workers=args.workers,
        progress=progress,
    )
    output.write_json(args.output, result.to_json())
    return result


ACTIONS: dict[str, Callable[[argparse.Namespace], Result]] = {"pack": _pack, "run": _run, "read": _read}
