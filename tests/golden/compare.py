"""Compare two recordings: which values are equal, are left out, or differ.

Numbers are equal if they differ by at most 1e-9, relative or absolute. Keys may be added but not removed. Rows must
keep their order. Names must be identical; in sentences, only numbers are compared. On pages and in reports, sentences
may be moved or rewritten, so all numbers of a text are compared together: each number of the base must still be there.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.golden.exceptions import TEXT_EXCEPTIONS, is_free_text, is_phrase, reason_for, tolerance
from tests.golden.reading import TABLE, TEXT

CLOSE = 1e-9
NUMBER = re.compile(r"(?<![\w.])[-+\u2212]?(?:\d+(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:e[-+]?\d+)?")
"""Matches a number that is not part of a word: none in `int8`, but `.85` and `1,234`."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference.

    Attributes:
        kind: number, name, phrase, missing, rows, columns, type, text or wording.
        base, new: The values of the two sides. For a text, `base` is a line with the missing numbers.
    """

    path: str
    kind: str
    base: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}: {_shown(self.base)} -> {_shown(self.new)}"


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 160 else f"{text[:157]}..."


@dataclass(slots=True)
class Tally:
    """The comparison of one part.

    Attributes:
        left_out: Reason -> number of values that are not compared.
        wording: Sentences with other words or numbers.
    """

    compared: int = 0
    equal: int = 0
    added: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    wording: list[Difference] = field(default_factory=list)
    reworded: int = 0

    def count(self, path: str, kind: str, base: Any, new: Any, same: bool) -> None:
        """Count one compared value; if it is not the same, add a difference."""
        self.compared += 1
        if same:
            self.equal += 1
        else:
            self.differences.append(Difference(path, kind, base, new))


def compare(path: str, base: Any, new: Any, tally: Tally) -> Tally:
    """Compare two values, with everything in them, and add the outcome to the tally."""
    why = reason_for(path)
    if why is not None:
        tally.left_out[why] += 1
    elif isinstance(base, dict) and isinstance(new, dict):
        _dicts(path, base, new, tally)
    elif isinstance(base, list) and isinstance(new, list):
        _lists(path, base, new, tally)
    elif _is_number(base) and _is_number(new):
        tally.count(path, "number", base, new, close(base, new, tolerance(path, CLOSE)))
    elif isinstance(base, str) and isinstance(new, str):
        _strings(path, base, new, tally)
    else:
        tally.count(path, "type" if base is not None and new is not None else "number", base, new, base == new)
    return tally


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def close(base: float, new: float, apart: float) -> bool:
    """Whether two numbers differ by at most the tolerance, relative or absolute."""
    return math.isclose(base, new, rel_tol=apart, abs_tol=apart)


def _dicts(path: str, base: dict[str, Any], new: dict[str, Any], tally: Tally) -> None:
    if TEXT in base and TEXT in new:
        _texts(path, base[TEXT], new[TEXT], tally)
        return
    if TABLE in base and TABLE in new:
        _tables(path, base[TABLE], new[TABLE], tally)
        return
    tally.added += len(new.keys() - base.keys())
    for key, value in base.items():
        if key in new:
            compare(f"{path}/{key}", value, new[key], tally)
        elif reason_for(f"{path}/{key}") is None:
            tally.count(f"{path}/{key}", "missing", value, None, False)


def _lists(path: str, base: list[Any], new: list[Any], tally: Tally) -> None:
    if len(base) != len(new):
        first = next((i for i, (one, other) in enumerate(zip(base, new, strict=False)) if one != other), None)
        at = "" if first is None else f", another one at {first}: {_shown(new[first])}"
        tally.count(path, "rows", f"{len(base)} rows", f"{len(new)} rows{at}", False)
        return
    if _width(base) != _width(new):
        if path.endswith("/customdata"):  # hover texts: cells may be joined
            _texts(path, _lines(base), _lines(new), tally)
            return
        tally.count(path, "columns", base[0], new[0], False)
        return
    for number, (one, other) in enumerate(zip(base, new, strict=True)):
        compare(f"{path}/{number}", one, other, tally)


def _width(rows: list[Any]) -> int | None:
    """The number of values per row; None if rows have different numbers."""
    widths = {len(row) if isinstance(row, list) else -1 for row in rows}
    return widths.pop() if len(widths) == 1 and widths != {-1} else None


def _lines(rows: list[Any]) -> list[str]:
    """Each row as one line of text."""
    return [" | ".join(map(str, row)) if isinstance(row, list) else str(row) for row in rows]


def _strings(path: str, base: str, new: str, tally: Tally) -> None:
    """Compare two strings. Names must be equal, and so must the numbers of phrases.

    A sentence with other numbers is only listed in `wording`.
    """
    if base == new or not is_free_text(path, base):
        tally.count(path, "name", base, new, base == new)
        return
    tally.reworded += 1
    same = numbers([base]) == numbers([new])
    if is_phrase(path, base):
        tally.count(path, "phrase", base, new, same)
    elif not same:
        tally.wording.append(Difference(path, "wording", base, new))


def numbers(lines: list[str], tally: Tally | None = None) -> Counter[float]:
    """Each number of these lines -> how often it occurs. Parts that are left out are counted in the tally."""
    counted: Counter[float] = Counter()
    for line in lines:
        for pattern, why in TEXT_EXCEPTIONS.items():
            line, count = re.subn(pattern, " ", line)
            if tally is not None and count:
                tally.left_out[why] += count
        counted.update(float(_plain(word)) for word in NUMBER.findall(line) if any(map(str.isdigit, word)))
    return counted


def _plain(word: str) -> str:
    return word.replace("\u2212", "-").replace(",", "")


def only_in(base: Counter[float], new: Counter[float]) -> tuple[Counter[float], Counter[float]]:
    """(numbers that only the base has, numbers that only the new side has)."""
    return base - new, new - base


def _texts(path: str, base: list[str], new: list[str], tally: Tally) -> None:
    """Compare all numbers of a text together. A missing number is reported with its line."""
    before, after = numbers(base, tally), numbers(new)
    missing, added = only_in(before, after)
    tally.compared += before.total()
    tally.equal += before.total() - missing.total()
    tally.added += added.total()
    tally.reworded += base != new
    for value in missing:
        line = next((line for line in base if value in numbers([line])), "")
        instead = [line for line in new if any(other in numbers([line]) for other in added)]
        tally.differences.append(Difference(path, f"text, {value:g} is gone", line, instead[0] if instead else None))


def _tables(path: str, base: dict[str, Any], new: dict[str, Any], tally: Tally) -> None:
    """Compare tables by the names of columns or, if one is missing, by position if their number is equal."""
    columns, others = base["columns"], new["columns"]
    if len(set(columns)) == len(columns) and set(columns) <= set(others):
        tally.added += len(others) - len(columns)
        at = [others.index(name) for name in columns]
        rows = [[row[i] for i in at] for row in new["rows"]] if at else new["rows"]
    else:
        rows = new["rows"]
        tally.reworded += columns != others
    _lists(path, base["rows"], rows, tally)
