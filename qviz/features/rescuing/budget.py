"""The budget of a rescue: how much may be lost and, on an NPU, how many cycles an image may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qviz.errors import SettingsError
from qviz.features.cost.npu import check_accelerator

AP, AGREEMENT = "AP", "agreement"


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget.

    Attributes:
        measure: AP or AGREEMENT.
        limit: Maximum loss in this measure, in [0, 1].
        max_cycles: Maximum number of cycles of one image on `accelerator`, as Vela estimates them; None for any number.
    """

    measure: str
    limit: float
    max_cycles: int | None = None
    accelerator: str = ""

    JSON_NAMES: ClassVar = {"limit": "max_loss"}

    @classmethod
    def of(
        cls,
        max_ap_loss: float | None = None,
        min_agreement: float | None = None,
        max_cycles: int | None = None,
        npu: str = "",
    ) -> Budget:
        """The budget from exactly one of the first two values, each in [0, 1], and possibly cycles on an NPU.

        Raises:
            InputError: Vela, which estimates the cycles, is not installed.
            SettingsError: Values are missing or out of range.
        """
        if (max_ap_loss is None) == (min_agreement is None):
            raise SettingsError("A rescue needs one budget: either a maximum loss of AP or a minimum agreement.")
        limit = max_ap_loss if max_ap_loss is not None else min_agreement
        assert limit is not None, "one of the two is given"
        if not 0 <= limit <= 1:
            raise SettingsError(f"The budget is {limit:g}; AP and agreement lie in [0, 1], so give e.g. 0.005 or 0.98.")
        _check_cycles(max_cycles, npu)
        loss = (AP, limit) if max_ap_loss is not None else (AGREEMENT, 1 - limit)
        return cls(*loss, max_cycles, npu)

    @property
    def text(self) -> str:
        """For example `at most 0.5 AP points below the reference`."""
        cycles = ""
        if self.max_cycles is not None:
            cycles = f", in at most {self.max_cycles:,} cycles on {self.accelerator}"
        if self.measure == AP:
            lost = f"{100 * self.limit:.3g}"
            return f"at most {lost} AP {'point' if lost == '1' else 'points'} below the reference{cycles}"
        return f"an agreement of at least {1 - self.limit:.3g} with the reference{cycles}"


def _check_cycles(max_cycles: int | None, npu: str) -> None:
    """Raises SettingsError or InputError for a budget of cycles that cannot be checked."""
    if max_cycles is None and not npu:
        return
    if max_cycles is None or not npu:
        raise SettingsError("A budget of cycles needs both the number and the NPU: --max-cycles N --npu NAME.")
    if max_cycles < 1:
        raise SettingsError(f"A budget of {max_cycles} cycles leaves nothing to run; give a number from 1 on.")
    check_accelerator(npu)
