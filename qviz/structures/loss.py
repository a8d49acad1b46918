"""A loss: reference minus variant, so positive is worse, with its interval."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """Reference minus variant, in AP, with its 95 % interval (None: too few images)."""

    value: float | None
    low: float | None = None
    high: float | None = None
    significant: bool | None = None
