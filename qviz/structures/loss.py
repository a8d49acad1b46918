"""A loss with its interval: reference minus variant, so positive is worse."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """Reference minus variant in AP, in [-1, 1], with its 95 % interval (None if there are too few images)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    significant: bool | None = None
