"""What the slider of the Robustness page moves: light by a free amount, or a corruption by its severity."""

from __future__ import annotations

from dataclasses import dataclass

from qviz.corruptions import CORRUPTIONS, SEVERITIES
from qviz.structures import EncodedImage, Shift


@dataclass(frozen=True, slots=True)
class Kind:
    """One slider. amounts: shown as pictures and points of the curve; neutral: the one that changes nothing."""

    name: str
    label: str
    amounts: tuple[float, ...]
    step: float
    neutral: float
    unit: str = ""
    help: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        return self.amounts[0], self.amounts[-1]

    def under(self, image: EncodedImage, amount: float) -> EncodedImage:
        """The image as the slider leaves it."""
        return image.under(None if amount == self.neutral else Shift(self.name, amount))

    def text(self, amount: float) -> str:
        """`-1.5 stops`, `clean`, `severity 3`."""
        if amount == self.neutral:
            return "clean"
        return f"severity {amount:g}" if self.name in CORRUPTIONS else f"{amount:+g} {self.unit}".strip()


_FREE = (
    Kind("exposure", "Exposure", (-4, -3, -2, -1.5, -1, -0.5, 0, 1, 2), 0.25, 0, "stops", "Half the light a stop."),
    Kind(
        "gamma", "Gamma", (0.3, 0.5, 0.7, 1, 1.4, 1.8, 2.2, 2.6, 3), 0.1, 1, "",
        "Above 1 darkens the midtones, below 1 lifts them.",
    ),
    Kind(
        "temperature", "Colour temperature", (-3500, -2500, -1500, -500, 0, 1000, 2500, 4000, 5500), 250, 0, "K",
        "From daylight: negative is warmer, positive is cooler.",
    ),
)  # fmt: skip


def title(corruption: str) -> str:
    """`exposure_down` as it is shown."""
    return corruption.replace("_", " ").capitalize()


KINDS: dict[str, Kind] = {kind.name: kind for kind in _FREE} | {
    row.name: Kind(row.name, title(row.name), (0, *SEVERITIES), 1, 0, "severity", row.describe)
    for row in CORRUPTIONS.values()
}
