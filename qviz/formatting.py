"""How numbers are written on pages, on the command line and in the report.

AP is multiplied by 100 and has one decimal, confidences have two. Differences have a sign, intervals are in brackets,
ms and MB have three significant figures, and shares are in per cent. A value that rounds to zero has no sign, and an
unknown value is a dash.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

UNKNOWN = "–"


def points(value: float | None) -> str:
    """.315 -> 31.5"""
    return UNKNOWN if value is None else f"{_tenths(value):.1f}"


def signed_points(value: float | None) -> str:
    """.0031 -> +0.3"""
    if value is None:
        return UNKNOWN
    return f"{tenths:+.1f}" if (tenths := _tenths(value)) else "0.0"


def interval(low: float | None, high: float | None) -> str:
    """An interval of AP in points, e.g. `[-0.4, 1.1]`; empty if there is none."""
    return "" if low is None or high is None else f"[{points(low)}, {points(high)}]"


def _tenths(value: float) -> float:
    return round(100 * value, 1) + 0.0  # + 0.0 turns -0.0 into 0.0


def hundred(value: float | None) -> float | None:
    """The value times 100 as a number, for charts and tables that format numbers themselves: .315 -> 31.5"""
    return None if value is None else 100 * value


def score(value: float | None) -> str:
    """A confidence, an IoU or an agreement, e.g. 0.83"""
    return UNKNOWN if value is None else f"{value:.2f}"


def signed_score(value: float | None) -> str:
    """A difference of confidences, e.g. -0.12 or +0.03"""
    if value is None:
        return UNKNOWN
    return f"{rounded:+.2f}" if (rounded := round(value, 2)) else "0.00"


def score_difference(value: float | None, base: float | None) -> float | None:
    """The difference of two confidences or IoUs as shown, so that the three figures agree: .41 - .95 = -.54."""
    return None if value is None or base is None else round(round(value, 2) - round(base, 2), 2)


def share(value: float | None) -> str:
    """.2534 -> 25%"""
    return UNKNOWN if value is None else f"{value:.0%}"


def small_share(value: float) -> str:
    """.2534 -> 25%, .00213 -> 0.21%"""
    return f"{value:.0%}" if value >= 0.095 else f"{100 * value:.2g}%"


def three(value: float | None) -> str:
    """Three significant figures, including trailing zeros: 18.0, 5.37, 1240"""
    if value is None:
        return UNKNOWN
    return f"{float(f'{value:.3g}'):.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".removesuffix(".")


def megabytes(size: int) -> str:
    """13481234 -> 13.5 MB"""
    return f"{three(size / 1e6)} MB"


def milliseconds(value: float) -> str:
    """12.34 -> 12.3 ms"""
    return f"{three(value)} ms"


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `2.5 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plural(count: int, noun: str) -> str:
    """`1 image`, `3 images`, `2 classes`, `4 categories`."""
    if count == 1:
        return f"1 {noun}"
    if noun.endswith(("s", "x", "ch", "sh")):
        return f"{count} {noun}es"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") and noun[-2] not in "aeiou" else f"{count} {noun}s"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c, d, e and 2 more`."""
    shown = list(names[:limit])
    if rest := len(names) - len(shown):
        shown.append(f"{rest} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}" if shown else ""


def shortened(text: str, limit: int) -> str:
    """The text in at most `limit` characters, its middle replaced by an ellipsis.

    More of the end is kept than of the beginning, because tensor names often begin alike and differ at the end.

    Example:
        >>> shortened("FeatureExtractor/MobilenetV2/expanded_conv_13/depthwise", 32)
        'FeatureEx…nded_conv_13/depthwise'
    """
    if len(text) <= limit:
        return text
    tail = -(-(limit - 1) * 7 // 10)
    return f"{text[: limit - 1 - tail]}…{text[len(text) - tail :]}"


def as_text(text: str) -> str:
    """The text with all special characters of Markdown escaped."""
    for character in "\\`*_{}[]<>()#+-.!|~$:":
        text = text.replace(character, "\\" + character)
    return text


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as CSV with a header; None is an empty cell.

    Numbers that are not finite are empty cells, too. A text that begins with `=`, `+`, `-`, `@`, a tab or a line break
    gets an apostrophe in front, because a spreadsheet would run it as a formula. Names of files and classes are not
    trusted.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def frame_csv(frame: Any) -> str:
    """A pandas DataFrame as CSV, see `csv_text`; missing values are empty cells."""
    return csv_text(list(frame.columns), frame.astype(object).where(frame.notna(), None).values.tolist())


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULA_STARTS) else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def encodable(text: str) -> str:
    """The text with a question mark for each byte that is not UTF-8; file names may contain such bytes."""
    return text.encode("utf-8", "replace").decode("utf-8")
