"""A loss with its interval: reference minus variant, so positive is worse."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loss:
    """The reference's value minus the variant's, in [-1, 1], e.g. a loss of AP.

    Attributes:
        value: The loss; None if it is unknown.
        low, high: Its 95 % interval; None if there are too few images.
        significant: Whether the loss differs significantly from 0; None if this is unknown.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    significant: bool | None = None
