"""Print the outcome: a table, the values that were left out, and the differences."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping

from tests.golden.compare import Difference, Tally

MAX_LINES = 50
"""Maximum number of differences that are listed."""
MAX_SIMILAR = 3
"""Maximum number of listed differences whose paths differ only in numbers of rows."""


def show(tallies: Mapping[str, Tally], strict: bool) -> int:
    """Print the outcome; returns the exit status, 0 if all is equal, else 1.

    strict: sentences with other numbers are differences, too.
    """
    print(f"\n{'part':10} {'compared':>10} {'equal':>10} {'exceptions':>10} {'added':>7} {'reworded':>9}")
    for part, row in tallies.items():
        out = row.left_out.total()
        print(f"{part:10} {row.compared:10} {row.equal:10} {out:10} {row.added:7} {row.reworded:9}")
    _show_reasons(tallies)
    wording = [row for tally in tallies.values() for row in tally.wording]
    differences = [row for tally in tallies.values() for row in tally.differences]
    _list("sentences with other numbers (wording)", wording)
    _list("differences", differences)
    print("equal" if not differences else f"{len(differences)} differences")
    return 1 if differences or (strict and wording) else 0


def _show_reasons(tallies: Mapping[str, Tally]) -> None:
    reasons: Counter[str] = Counter()
    for tally in tallies.values():
        reasons.update(tally.left_out)
    if reasons:
        print("\nleft out: " + ", ".join(f"{count} x {why}" for why, count in reasons.most_common()))


def _list(title: str, rows: list[Difference]) -> None:
    """List the first differences of each kind, so that a change in many rows does not hide others."""
    if not rows:
        return
    similar: dict[tuple[str, str], list[Difference]] = defaultdict(list)
    for row in rows:
        similar[re.sub(r"/\d+(?=/|$)", "/*", row.path), row.kind.partition(",")[0]].append(row)
    print(f"\n{len(rows)} {title}:")
    lines = [line for group in similar.values() for line in _few(group)]
    print("\n".join(lines[:MAX_LINES]))
    if len(lines) > MAX_LINES:
        print(f"  and {len(lines) - MAX_LINES} lines more")


def _few(group: list[Difference]) -> list[str]:
    """The lines to print for similar differences."""
    lines = [f"  {row}" for row in group[:MAX_SIMILAR]]
    return [*lines, f"    and {len(group) - MAX_SIMILAR} more like these"] if len(group) > MAX_SIMILAR else lines
