"""Sets of operators as text, e.g. `0-12,40`. Operators are counted from 0 in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from qviz.errors import SettingsError

MAX_OPERATORS = 10_000
_RANGE = re.compile(r"([0-9]{1,15})(?:-([0-9]{1,15}))?")


def parse_orders(text: str) -> frozenset[int]:
    """The operator numbers in a text such as `0-12,40`. Raises SettingsError."""
    orders: set[int] = set()
    for part in text.split(","):
        matched = _RANGE.fullmatch(part.strip())
        if matched is None:
            raise SettingsError(f"{text[:60]!r} does not name operators; give operators by order, e.g. 0-12,40.")
        low, high = int(matched[1]), int(matched[2] or matched[1])
        if high >= MAX_OPERATORS:
            raise SettingsError(f"There is no operator {high}: qviz reads networks of up to {MAX_OPERATORS} operators.")
        if low > high:
            raise SettingsError(
                f"{part.strip()[:30]!r} is not a range of operators; give ranges from the lower to the higher order."
            )
        orders.update(range(low, high + 1))
    return frozenset(orders)


def stretches(orders: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of consecutive numbers, ascending."""
    runs: list[tuple[int, int]] = []
    for order in sorted(orders):
        if runs and order == runs[-1][1] + 1:
            runs[-1] = runs[-1][0], order
        else:
            runs.append((order, order))
    return runs


def orders_text(orders: Iterable[int]) -> str:
    """Operator numbers as `0-12,40`, which `parse_orders` reads."""
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in stretches(orders))


def operator_name(order: int, kind: str, reference_order: int | None = None) -> str:
    """`operator 12 (CONV_2D)`, with the variant's number; the reference's is added in the brackets if it differs."""
    other = "" if reference_order is None or reference_order == order else f"; {reference_order} in the reference"
    return f"operator {order} ({kind}{other})"
