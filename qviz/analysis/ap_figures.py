"""The figures of accuracy: AP of a model, overall and by class, and what a variant loses.

AP, AP50, AP75, small, medium, large and AR lie in [0, 1]; a class without truths has none (None, not 0 and not -1).
Loss is reference minus variant: positive is worse.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qviz.structures import Loss

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class ClassAP:
    """truths: annotated objects that are no crowd; images: those that show one."""

    label: str
    ap: float | None
    ap50: float | None
    truths: int
    images: int


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """One model on one dataset."""

    name: str
    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None
    ar: float | None
    per_class: tuple[ClassAP, ...]

    def figures(self) -> tuple[float | None, ...]:
        """AP, AP50, AP75, small, medium, large, AR."""
        return (self.ap, self.ap50, self.ap75, self.ap_small, self.ap_medium, self.ap_large, self.ar)

    def to_frame(self) -> pd.DataFrame:
        """A row a class."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.per_class])


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """The loss of one class."""

    label: str
    loss: Loss
    truths: int
    images: int

    def to_json(self) -> dict[str, Any]:
        """One flat row."""
        return {"label": self.label, **asdict(self.loss), "truths": self.truths, "images": self.images}


@dataclass(frozen=True, slots=True)
class VariantLoss:
    """All losses of one variant, the worst class first."""

    variant: str
    ap: Loss
    per_class: tuple[ClassLoss, ...]

    def to_frame(self) -> pd.DataFrame:
        """A row a class."""
        import pandas as pd

        return pd.DataFrame([row.to_json() for row in self.per_class])

    def to_json(self) -> dict[str, Any]:
        """As `qviz evaluate --json` prints it."""
        return {"variant": self.variant, "ap": asdict(self.ap), "per_class": [row.to_json() for row in self.per_class]}
