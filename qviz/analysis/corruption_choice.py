"""Corruptions as people name them: by family (`lighting published pose`), `all`, or one by one."""

from __future__ import annotations

from collections.abc import Sequence

from qviz.corruptions import CORRUPTIONS
from qviz.errors import SettingsError

FAMILIES = tuple(dict.fromkeys(row.family for row in CORRUPTIONS.values()))
USUAL = "lighting"


def named(words: Sequence[str]) -> tuple[str, ...]:
    """The corruptions that these words stand for, each once. Raises SettingsError."""
    found: dict[str, None] = {}
    for word in words:
        rows = [row.name for row in CORRUPTIONS.values() if word in ("all", row.family, row.name)]
        if not rows:
            raise SettingsError(
                f"{word!r} is no corruption; give all, a family ({', '.join(FAMILIES)}) or some of"
                f" {', '.join(CORRUPTIONS)}."
            )
        found |= dict.fromkeys(rows)
    if not found:
        raise SettingsError(f"No corruption is named; give all, a family ({', '.join(FAMILIES)}) or some by name.")
    return tuple(found)
