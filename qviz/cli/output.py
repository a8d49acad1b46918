"""Results on standard output: tables for people, one JSON document or CSV for programs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz import formatting
from qviz.cli.options import OutputPath
from qviz.errors import SettingsError

if TYPE_CHECKING:
    from qviz.result import Result


def print_json(document: dict[str, Any]) -> None:
    """Print one JSON document. Numbers are not rounded; unknown and infinite numbers are null."""
    from qviz.result import to_json

    print(formatting.encodable(json.dumps(to_json(document), ensure_ascii=False, allow_nan=False)))


def print_result(result: Result, args: argparse.Namespace, show: Callable[[Any], object], **files: str) -> None:
    """Print a result as JSON or CSV if requested, else with `show`. JSON begins with the `files` that were written."""
    if args.json:
        print_json({**files, **result.to_json()})
    elif getattr(args, "csv", False):
        print_frame(result.to_frame())
    else:
        show(result)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as CSV with a header; unknown values are empty."""
    from qviz.result import to_json

    print(formatting.encodable(formatting.csv_text(columns, (to_json(row) for row in rows))), end="")


def print_frame(frame: Any) -> None:
    """Print a pandas DataFrame as CSV; missing values are empty."""
    print(formatting.encodable(formatting.frame_csv(frame)), end="")


def loss_cells(loss: Any) -> list[str | None]:
    """Three table cells for a loss: its value, its 95% interval, and a star if it is significant.

    loss: any object with `value`, `low`, `high` and `significant`.
    """
    bounds = formatting.interval(loss.low, loss.high) or None
    return [formatting.signed_points(loss.value), bounds, "*" if loss.significant else ""]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table with aligned columns; columns of numbers are right-aligned, and unknown values are a dash."""
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(name), *(len(row[i]) for row in texts), 0) for i, name in enumerate(columns)]
    numeric = [all(_is_number(row[i]) for row in texts) for i in range(len(columns))]
    for row in [list(columns), *texts]:
        cells = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _text(cell: Any) -> str:
    """The cell as one printable line; names come from files and may contain control characters."""
    text = "–" if cell is None else str(cell)
    return "".join(character if character.isprintable() else "�" for character in text)


def _is_number(text: str) -> bool:
    return text == "–" or text.lstrip("+-−[").replace(".", "", 1).rstrip("% MBms").isdigit()


def check_inputs_stay(args: argparse.Namespace) -> None:
    """Raise SettingsError if a file to be written is also a file to be read, or is named twice."""
    given = [value for values in vars(args).values() for value in (values if isinstance(values, list) else [values])]
    written = [value for value in given if isinstance(value, OutputPath)]
    read = [Path(value) for value in given if isinstance(value, str | Path) and not isinstance(value, OutputPath)]
    for number, path in enumerate(written):
        if any(_is_same(path, other) for other in read):
            raise SettingsError(
                f"{path} is read by this command and would be overwritten; give the output another name."
            )
        if any(path.resolve() == other.resolve() for other in written[:number]):
            raise SettingsError(f"{path} is named for two outputs; give each a name of its own.")


def _is_same(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except (OSError, ValueError):  # one of them does not exist, or is no path at all
        return False


def check_writable(*paths: Path | None) -> None:
    """Raise SettingsError if the folder of one of these files does not exist; to be called before the work starts."""
    for path in paths:
        if path is not None and not path.resolve().parent.is_dir():
            raise SettingsError(f"{path} cannot be written: its folder does not exist; create it first.")


def write(path: Path, data: bytes) -> None:
    """Write a file. Raises SettingsError if that fails; an earlier file of this name then stays as it was."""
    from qviz.store.whole_files import write_whole

    try:
        write_whole(path, data)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); name a file where you may write.") from error


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write one JSON document to a file. Raises SettingsError if that fails."""
    from qviz.result import to_json

    write(path, json.dumps(to_json(document), ensure_ascii=False, allow_nan=False).encode())
