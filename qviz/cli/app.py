"""The command `qviz app`, which opens the dashboard. Without models it opens with the bundled sample."""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from pathlib import Path

from qviz.cli.options import whole_number
from qviz.errors import InputError
from qviz.limits import limits


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", type=Path, nargs="*", metavar="MODEL", help="in any order: the least quantized one is the reference"
    )
    parser.add_argument("--images", type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--port", type=whole_number(1, 65535), default=8501, metavar="N")


def run(args: argparse.Namespace) -> int:
    home = _script()
    for path in [*args.models, *args.images]:
        if not path.exists():
            raise InputError(f"{path} does not exist; give .tflite files, and images or folders after --images.")
    _require_free(args.port)
    max_mb = limits().upload_mb  # an invalid limits file is reported here, before the browser opens
    opened = {name: [str(path.resolve()) for path in getattr(args, name)] for name in ("models", "images")}
    os.environ["QVIZ_OPEN"] = json.dumps(opened)
    os.chdir(home.parent)  # Streamlit reads .streamlit/config.toml from the current folder
    options = ["--server.port", str(args.port), "--server.maxUploadSize", str(max_mb)]
    os.execv(sys.executable, [sys.executable, "-m", "qviz.ui", str(home), *options])


def _require_free(port: int) -> None:
    """Raise InputError if another program uses this port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise InputError(
                f"Port {port} cannot be used ({error.strerror}): is a dashboard running already at"
                f" http://127.0.0.1:{port}? Else choose another with --port."
            ) from error


def _script() -> Path:
    """The path of app.py: in the folder `dashboard` of an installed package, or at the top of a clone.

    Raises InputError if it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    clone, installed = package.parent / "app.py", package / "dashboard" / "app.py"
    for script in (installed, clone):
        if script.is_file():
            return script
    raise InputError(f"The dashboard is missing: neither {installed} nor {clone} exists; install qviz again.")
