"""Whether a variant may be released: its loss of AP against a limit, with or without the interval's word.

confident None     fails where the loss itself exceeds the limit
confident "lower"  fails only where even the lower bound does: never on noise, but small data passes everything
confident "upper"  fails where the upper bound does: passes only what is shown to be good
A loss that is unknown fails; so does, with `confident`, one without an interval. An interval wider than the limit
cannot decide it, and that is said.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss

CONFIDENT = ("lower", "upper")


@dataclass(frozen=True, slots=True)
class Gate:
    """failed: names of variants; remarks: a sentence for each that the data cannot decide."""

    max_ap_loss: float
    confident: str | None
    passed: bool
    failed: tuple[str, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "failed": list(self.failed), "remarks": list(self.remarks)}


def judge_losses(result: Evaluation, limit: float, confident: str | None = None) -> Gate:
    """limit: AP in [0, 1] that a variant may lose; confident: one of CONFIDENT or None."""
    failed = tuple(loss.variant for loss in result.losses if _fails(loss, limit, confident))
    remarks = (_undecided(loss, limit, result.images) for loss in result.losses)
    return Gate(limit, confident, not failed, failed, tuple(said for said in remarks if said))


def _fails(loss: VariantLoss, limit: float, confident: str | None) -> bool:
    bound = {None: loss.ap.value, "lower": loss.ap.low, "upper": loss.ap.high}[confident]
    return bound is None or bound > limit


def _undecided(loss: VariantLoss, limit: float, images: int) -> str | None:
    low, high = loss.ap.low, loss.ap.high
    if low is None or high is None or high - low <= abs(limit):
        return None
    clear = low > limit or high <= limit
    if clear:
        return None
    return (
        f"{images} images cannot decide {limit:.3g}: the loss of {loss.variant} lies in [{low:.3f}, {high:.3f}]."
        " More annotated images narrow it."
    )
