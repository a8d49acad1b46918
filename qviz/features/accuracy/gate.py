"""Whether a variant may be released: its loss of AP against a limit, optionally using a bound of the interval.

confident None     fails where the loss itself exceeds the limit
confident "lower"  fails only where the lower bound does: never because of noise, but few images pass everything
confident "upper"  fails where the upper bound does: passes only what is shown to be good

An unknown loss fails; so does, with `confident`, a loss without an interval. A remark says where an interval wider than
the limit cannot decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss
from qviz.formatting import plural
from qviz.result import to_json


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome.

    Attributes:
        failed: Names of the variants that fail.
        remarks: One sentence per variant that the data cannot decide.
    """

    max_ap_loss: float
    confident: str | None
    passed: bool
    failed: tuple[str, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        document: dict[str, Any] = to_json(self)
        return document


def check_losses(result: Evaluation, limit: float, confident: str | None = None) -> Gate:
    """limit: AP in [0, 1] that a variant may lose; confident: `lower`, `upper` or None."""
    failed = tuple(loss.variant for loss in result.losses if _fails(loss, limit, confident))
    remarks = (_undecided(loss, limit, result.images) for loss in result.losses)
    return Gate(limit, confident, not failed, failed, tuple(remark for remark in remarks if remark))


def _fails(loss: VariantLoss, limit: float, confident: str | None) -> bool:
    bound = {None: loss.ap.value, "lower": loss.ap.low, "upper": loss.ap.high}[confident]
    return bound is None or bound > limit


def _undecided(loss: VariantLoss, limit: float, images: int) -> str | None:
    low, high = loss.ap.low, loss.ap.high
    if low is None or high is None or high - low <= abs(limit):
        return None
    if low > limit or high <= limit:
        return None  # clearly worse, or clearly within the limit
    return (
        f"{plural(images, 'image')} cannot decide {limit:.3g}: the loss of {loss.variant} lies in [{low:.3f},"
        f" {high:.3f}]. More annotated images narrow it."
    )
