"""What a sweep over corruptions and severities found (Michaelis et al., Benchmarking Robustness in Object Detection,
2019), and what quantization loses beyond what FP32 loses.

value        AP where objects are annotated, else agreement with what the reference finds on the clean images
P            value on the clean images
mPC          mean over corruptions of the mean over severities
rPC          mPC / P
interaction  (reference - variant) under the corruption, averaged over the severities, minus the same when clean: above
             0 the variant breaks where the reference holds. 95 % interval of a paired bootstrap over the images (see
             `significance`); significant after Holm over the corruptions of one variant.
breaking     severity at which half of the model's own clean objects are gone, between severities on a line; None: never
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

CLEAN = "clean"
"""The corruption's name in the rows of severity 0."""


@dataclass(frozen=True, slots=True)
class Point:
    """One model under one corruption at one severity; see `shift_cell`. low, high: 95 % interval of `value`.

    clipped_share: mean over the variant's layers of the share of FP32's activations outside of its ranges (see
    `saturation`); None where it was not measured.
    """

    model: str
    corruption: str
    severity: int
    ap: float | None
    agreement: float
    mean_score: float | None
    still_found: float | None
    value: float | None
    low: float | None
    high: float | None
    clipped_share: float | None = None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """breaking_point: of the share still found, averaged over the corruptions."""

    model: str
    p: float | None
    mpc: float | None
    rpc: float | None
    breaking_point: float | None


@dataclass(frozen=True, slots=True)
class Interaction:
    """One variant under one corruption; in AP, or in agreement."""

    model: str
    corruption: str
    value: float | None
    low: float | None
    high: float | None
    significant: bool | None


@dataclass(frozen=True, slots=True)
class Breaking:
    """One model under one corruption."""

    model: str
    corruption: str
    severity: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Robustness:
    """models: the reference first. corruptions: those that are done. annotated: whether `value` is AP."""

    dataset: str
    images: int
    annotated: bool
    models: tuple[str, ...]
    corruptions: tuple[str, ...]
    severities: tuple[int, ...]
    points: tuple[Point, ...]
    summary: tuple[ModelSummary, ...]
    interactions: tuple[Interaction, ...]
    breaking_points: tuple[Breaking, ...]
    images_per_second: float = 0.0
    skipped: tuple[str, ...] = ()
    warnings: tuple[dict[str, Any], ...] = ()

    @property
    def measure(self) -> str:
        """What `value` is, in a word."""
        return "AP" if self.annotated else "agreement"

    def curve(self, model: str, corruption: str) -> tuple[Point, ...]:
        """The clean point and those of one corruption, by severity."""
        rows = (row for row in self.points if row.model == model and row.corruption in (CLEAN, corruption))
        return tuple(sorted(rows, key=lambda row: row.severity))

    def interaction(self, model: str, corruption: str) -> Interaction | None:
        """What quantization loses beyond FP32 there."""
        rows = (row for row in self.interactions if (row.model, row.corruption) == (model, corruption))
        return next(rows, None)

    def to_json(self) -> dict[str, Any]:
        """As `qviz robustness --json` prints it."""
        return {
            "dataset": {"name": self.dataset, "images": self.images, "annotated": self.annotated},
            "measure": self.measure,
            "corruptions": list(self.corruptions),
            "severities": list(self.severities),
            "points": [asdict(row) for row in self.points],
            "summary": [asdict(row) for row in self.summary],
            "interactions": [asdict(row) for row in self.interactions],
            "breaking_points": [asdict(row) for row in self.breaking_points],
            "images_per_second": self.images_per_second,
            "skipped": list(self.skipped),
            "warnings": list(self.warnings),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a model, corruption and severity."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.points], columns=list(Point.__slots__))
