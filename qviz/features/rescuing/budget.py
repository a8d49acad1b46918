"""The budget of a rescue: how much may be lost, and limits of the size, of 16-bit operators and of cycles on an NPU."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from qviz.errors import SettingsError
from qviz.features.cost.npu import check_accelerator
from qviz.formatting import plural

AP, AGREEMENT = "AP", "agreement"
TIMES = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)x")
"""A size as a multiple of the plain int8 file's, e.g. `1.02x`."""


@dataclass(frozen=True, slots=True)
class Budget:
    """A budget.

    Attributes:
        measure: AP or AGREEMENT.
        limit: Maximum loss in this measure, in [0, 1].
        max_cycles: Maximum number of cycles of one image on `accelerator`, as Vela estimates them; None for any number.
        max_size: Maximum size of the file: a number of bytes, or a multiple of the plain int8 file such as `1.02x`;
            empty for any size.
        max_wide: Maximum number of operators with 16-bit activations; None for any number.
    """

    measure: str
    limit: float
    max_cycles: int | None = None
    accelerator: str = ""
    max_size: str = ""
    max_wide: int | None = None

    JSON_NAMES: ClassVar = {"limit": "max_loss", "max_wide": "max_wide_operators"}

    @classmethod
    def of(
        cls,
        max_ap_loss: float | None = None,
        min_agreement: float | None = None,
        max_cycles: int | None = None,
        npu: str = "",
        max_size: str | int = "",
        max_wide_operators: int | None = None,
    ) -> Budget:
        """The budget from exactly one of the first two values, each in [0, 1], and possibly limits.

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
        _check_limits(str(max_size), max_wide_operators)
        loss = (AP, limit) if max_ap_loss is not None else (AGREEMENT, 1 - limit)
        return cls(*loss, max_cycles, npu, str(max_size), max_wide_operators)

    @property
    def limits_files(self) -> bool:
        """Whether the size or the number of 16-bit operators is limited."""
        return bool(self.max_size) or self.max_wide is not None

    @property
    def is_relative(self) -> bool:
        """Whether the maximum size is a multiple of the plain int8 file's."""
        return TIMES.fullmatch(self.max_size) is not None

    def bytes_allowed(self, plain: int) -> int | None:
        """The maximum size in bytes; None for any. plain: size of the plain int8 file, for a relative limit."""
        if not self.max_size:
            return None
        times = TIMES.fullmatch(self.max_size)
        return int(self.max_size) if times is None else int(float(times[1]) * plain)

    @property
    def text(self) -> str:
        """For example `at most 0.5 AP points below the reference`."""
        cycles = ""
        if self.max_cycles is not None:
            cycles = f", in at most {self.max_cycles:,} cycles on {self.accelerator}"
        cycles += self._limits_text
        if self.measure == AP:
            lost = f"{100 * self.limit:.3g}"
            return f"at most {lost} AP {'point' if lost == '1' else 'points'} below the reference{cycles}"
        return f"an agreement of at least {1 - self.limit:.3g} with the reference{cycles}"

    @property
    def _limits_text(self) -> str:
        """For example `, with at most 1.02x the size of plain int8 and at most 60 operators in 16 bits`."""
        limits = []
        if self.is_relative:
            limits.append(f"at most {self.max_size} the size of plain int8")
        elif self.max_size:
            limits.append(f"at most {int(self.max_size):,} bytes")
        if self.max_wide is not None:
            limits.append(f"at most {plural(self.max_wide, 'operator')} in 16 bits")
        return f", with {' and '.join(limits)}" if limits else ""


def _check_limits(max_size: str, max_wide: int | None) -> None:
    """Raises SettingsError for a limit that is not a size, or not a number of operators."""
    is_size = not max_size or TIMES.fullmatch(max_size) or re.fullmatch(r"[1-9]\d{0,11}", max_size)
    if not is_size:
        raise SettingsError(
            f"{max_size!r} is not a size of a file; give a number of bytes, e.g. 1250000, or a multiple of the plain"
            " int8 file, e.g. 1.02x."
        )
    if max_wide is not None and max_wide < 0:
        raise SettingsError(f"{max_wide} operators in 16 bits are not possible; give a number from 0 on, e.g. 60.")


def _check_cycles(max_cycles: int | None, npu: str) -> None:
    """Raises SettingsError or InputError for a budget of cycles that cannot be checked."""
    if max_cycles is None and not npu:
        return
    if max_cycles is None or not npu:
        raise SettingsError("A budget of cycles needs both the number and the NPU: --max-cycles N --npu NAME.")
    if max_cycles < 1:
        raise SettingsError(f"A budget of {max_cycles} cycles leaves nothing to run; give a number from 1 on.")
    check_accelerator(npu)
