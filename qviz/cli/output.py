"""Results on standard output: tables for people, one JSON document or CSV for programs."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz import formatting
from qviz.errors import SettingsError

if TYPE_CHECKING:
    from qviz.result import Result


def print_json(document: dict[str, Any]) -> None:
    """One document; numbers unrounded, unknown is null, never NaN."""
    from qviz.result import to_json

    print(formatting.encodable(json.dumps(to_json(document), ensure_ascii=False, allow_nan=False)))


def print_result(result: Result, args: argparse.Namespace, show: Callable[[Any], object], **files: str) -> None:
    """Print a result as JSON (after the names of the `files` written) or CSV if requested, else with `show`."""
    if args.json:
        print_json({**files, **result.to_json()})
    elif getattr(args, "csv", False):
        print_frame(result.to_frame())
    else:
        show(result)


def print_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Rows with a header; unknown is empty."""
    from qviz.result import to_json

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(to_json(row) for row in rows)
    print(formatting.encodable(text.getvalue()), end="")


def print_frame(frame: Any) -> None:
    """A pandas DataFrame as CSV, unknown empty."""
    print_csv(list(frame.columns), frame.astype(object).where(frame.notna(), None).values.tolist())


def loss_cells(loss: Any) -> list[str | None]:
    """Value, 95% interval and a star where it is significant, of a row with `value`, `low`, `high`, `significant`."""
    bounds = formatting.interval(loss.low, loss.high) or None
    return [formatting.signed_points(loss.value), bounds, "*" if loss.significant else ""]


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Columns aligned, numbers to the right, unknown as a dash."""
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
    """Printable on one line: names come from files and may hold control characters."""
    text = "–" if cell is None else str(cell)
    return "".join(character if character.isprintable() else "�" for character in text)


def _is_number(text: str) -> bool:
    return text == "–" or text.lstrip("+-−[").replace(".", "", 1).rstrip("% MBms").isdigit()


def check_writable(*paths: Path | None) -> None:
    """Check before the work that a file can be written. Raises SettingsError if not."""
    for path in paths:
        if path is not None and not path.resolve().parent.is_dir():
            raise SettingsError(f"{path} cannot be written: its folder does not exist; create it first.")


def write(path: Path, data: bytes) -> None:
    """Write a file. Raises SettingsError if that fails."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise SettingsError(f"{path} cannot be written ({error.strerror}); name a file where you may write.") from error


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write one document as a file. Raises SettingsError if that fails."""
    from qviz.result import to_json

    write(path, json.dumps(to_json(document), ensure_ascii=False, allow_nan=False).encode())
