"""A result as one flat dictionary of numbers, for experiment trackers and for the properties of test reports.

The key of a number is its path in the result's JSON. In the path, a row of a list is named by the fields that identify
it. Characters that trackers do not accept become `_`. If several rows have the same name, the later ones get a number.
Rows about single images and objects are left out, and so are texts and unknown numbers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

IDENTITY = (
    "model",
    "variant",
    "name",
    "backend",
    "label",
    "trait",
    "group",
    "corruption",
    "severity",
    "order",
    "threads",
)
"""Fields that identify a row, in the order in which they appear in the key."""
REFUSED = re.compile(r"[^\w .-]+")
"""Characters that are replaced. MLflow accepts letters, digits, `_`, `-`, `.`, spaces and, between the parts, `/`."""


def flat_metrics(document: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a JSON document, by its path; true and false count as 1 and 0.

    Example:
        >>> flat_metrics({"models": [{"name": "int8", "ap": 0.3, "ap75": None}], "images": 4}, "qviz/")
        {'qviz/models/int8/ap': 0.3, 'qviz/images': 4.0}
    """
    return {prefix + "/".join(path): value for path, value in _leaves(document, ())}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    if isinstance(value, (bool, int, float)):
        yield path, float(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not (key in IDENTITY and path and isinstance(item, (int, float))):
                yield from _leaves(item, (*path, _name(key)))
    elif isinstance(value, list):
        counts = Counter[tuple[str, ...]]()
        for row in value:
            if isinstance(row, Mapping) and "image" not in row and (names := _names(row)):
                counts[names] += 1
                number = () if counts[names] == 1 else (str(counts[names]),)
                yield from _leaves(row, (*path, *names, *number))


def _names(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(_name(row[key]) for key in IDENTITY if isinstance(row.get(key), (str, int)))


def _name(value: Any) -> str:
    return REFUSED.sub("_", str(value)).strip() or "_"
