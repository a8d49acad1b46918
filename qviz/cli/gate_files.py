"""Files that a gate writes for code hosts: alerts (SARIF), and pictures of the worst images for an artifact."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qviz import __version__
from qviz.cli import options, output

if TYPE_CHECKING:
    from qviz.features.accuracy import Evaluation
    from qviz.features.accuracy.gate import Gate
    from qviz.session import Session


def add(parser: argparse.ArgumentParser) -> None:
    """Add --sarif FILE and --worst-images FOLDER."""
    parser.add_argument(
        "--sarif", type=options.OutputPath, metavar="FILE", help="write failed gates and warnings about files as SARIF"
    )
    parser.add_argument(
        "--worst-images",
        type=options.OutputPath,
        metavar="FOLDER",
        help="write small pictures of each variant's six worst images, of at most 200, and name them in --markdown",
    )


def worst_images(session: Session, folder: Path | None) -> str:
    """Write pictures of the worst images of every variant into a new folder, and return their tables as Markdown."""
    from qviz.features.exporting import save_worst
    from qviz.features.exporting.text import worst_tables

    if folder is None:
        return ""
    output.check_writable(folder)
    return worst_tables(save_worst([session.export(model.name) for model in session.models[1:]], folder))


def write_sarif(path: Path | None, args: argparse.Namespace, result: Evaluation, gates: Sequence[Gate]) -> None:
    """Write the SARIF file, unless `path` is None. Raises SettingsError if it cannot be written."""
    from qviz.features.exporting.text_sarif import sarif

    if path is not None:
        output.write_json(path, sarif(result, gates, [args.reference, *args.variants], __version__))
