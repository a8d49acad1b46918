"""open the dashboard

Without models it opens on the bundled sample.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from qviz.errors import InputError
from qviz.limits import limits


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "models", type=Path, nargs="*", metavar="MODEL", help="in any order: the least quantized one is the reference"
    )
    parser.add_argument("--images", type=Path, nargs="*", default=[], metavar="PATH")
    parser.add_argument("--port", type=int, default=8501, metavar="N")


def run(args: argparse.Namespace) -> int:
    home = Path(__file__).resolve().parents[2] / "app.py"
    if not home.is_file():
        raise InputError("The dashboard (app.py) is not beside the package; run qviz app from a clone.")
    for path in [*args.models, *args.images]:
        if not path.exists():
            raise InputError(f"{path} does not exist; give .tflite files, and images or folders after --images.")
    max_mb = limits().upload_mb  # a bad limits file is told here, before the browser opens
    opened = {name: [str(path.resolve()) for path in getattr(args, name)] for name in ("models", "images")}
    os.environ["QVIZ_OPEN"] = json.dumps(opened)
    os.chdir(home.parent)  # Streamlit reads .streamlit/config.toml from here
    options = ["--server.port", str(args.port), "--server.maxUploadSize", str(max_mb)]
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", str(home), *options])
