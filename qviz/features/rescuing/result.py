"""What a rescue found: the smallest (or fastest) variant that keeps a budget, and all that was tried for it.

budget      at most so much AP below the reference, or an agreement with it of at least so much (see `changes`)
loss        reference minus variant in AP; 1 - agreement where the budget is one of agreement. Positive is worse.
search      half of the images, on which candidates were built, measured and chosen
report      the other half, which no choice has seen: the loss of the chosen one there, with its 95 % interval of a
            paired bootstrap over the images (see `significance`)
kept_float  operators of the float32 .tflite file that stay float, by order

The recipe of a rescued variant: as a command that builds it again, and as JSON that needs no images.

The JSON holds the measured ranges under the names that `qviz quantize --save-ranges` uses, so that the file itself can
be given as `--calibration`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from qviz.errors import SettingsError
from qviz.features.building import ALGORITHMS, Calibration, Options, recipe_of
from qviz.features.cost.tradeoff import SAME_LATENCY
from qviz.features.what_if.sets import orders_text
from qviz.structures import Loss

if TYPE_CHECKING:
    import pandas as pd


AP, AGREEMENT = "AP", "agreement"
SIZE, LATENCY = "size", "latency"


@dataclass(frozen=True, slots=True)
class Budget:
    """measure: AP or AGREEMENT; limit: the loss that a variant may have, in [0, 1]."""

    measure: str
    limit: float

    @classmethod
    def of(cls, max_ap_loss: float | None = None, min_agreement: float | None = None) -> Budget:
        """From one of the two. Raises SettingsError."""
        if (max_ap_loss is None) == (min_agreement is None):
            raise SettingsError("A rescue has one budget: a largest loss of AP, or a least agreement.")
        said = max_ap_loss if max_ap_loss is not None else min_agreement
        assert said is not None, "one of the two is given"
        if not 0 <= said <= 1:
            raise SettingsError(f"The budget is {said:g}; AP and agreement lie in [0, 1], so give e.g. 0.005 or 0.98.")
        return cls(AP, said) if max_ap_loss is not None else cls(AGREEMENT, 1 - said)

    @property
    def text(self) -> str:
        """In words."""
        if self.measure == AP:
            return f"at most {100 * self.limit:.3g} AP points below the reference"
        return f"an agreement of at least {1 - self.limit:.3g} with the reference"

    def to_json(self) -> dict[str, Any]:
        return {"measure": self.measure, "max_loss": self.limit}


@dataclass(frozen=True, slots=True)
class Candidate:
    """What can be built. method: how ranges are summed up (`building.METHODS`); kept: operators in float."""

    recipe: str
    algorithm: str = "minmax"
    method: str = "minmax"
    kept: tuple[int, ...] = ()

    @property
    def options(self) -> Options:
        return Options(algorithm=self.algorithm, keep_orders=self.kept)

    @property
    def name(self) -> str:
        """`int8 (octav), 8-17 float`"""
        said = [word for word in (self.algorithm, self.method) if word != "minmax"]
        more = f" ({', '.join(said)})" if said else ""
        return f"{self.recipe}{more}" + (f", {orders_text(self.kept)} float" if self.kept else "")


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate, built and measured on the search half. found_by: recipe, prefix, window and so on.

    bytes, digest: of the file; ap, agreement, search_loss: None where it could not be built or run: `error` says why.
    speed: the reference's latency over its own, in turns on this machine; None where size is what counts.
    """

    candidate: Candidate
    found_by: str
    bytes: int = 0
    scheme: str = ""
    digest: str = ""
    ap: float | None = None
    agreement: float | None = None
    search_loss: float | None = None
    within: bool = False
    speed: float | None = None
    seconds: float = 0.0
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `qviz rescue --json` lists it."""
        said = {name: getattr(self, name) for name in Tried.__slots__ if name != "candidate"}
        made = self.candidate
        return {
            "recipe": made.recipe,
            "algorithm": made.algorithm,
            "ranges": made.method,
            "kept_float": list(made.kept),
            **said,
        }


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best one on the report half: loss in the budget's measure; kept: whether the loss there is in the budget."""

    tried: Tried
    loss: Loss
    kept: bool
    images: int
    ap: float | None
    reference_ap: float | None
    agreement: float

    def to_json(self) -> dict[str, Any]:
        report = {name: getattr(self, name) for name in ("kept", "images", "ap", "reference_ap", "agreement")}
        return {**self.tried.to_json(), **{"loss": asdict(self.loss)}, **report}


@dataclass(frozen=True, slots=True, eq=False)
class Rescue:
    """A search, done or under way. best: of what was tried so far; data: its file; chosen: once it was reported.

    ranges: by method, for building any of them again. search_images, report_images: how many each half has.
    """

    reference: str
    reference_digest: str
    reference_bytes: int
    budget: Budget
    prefer: str
    search_images: int
    report_images: int
    tried: tuple[Tried, ...] = ()
    best: Tried | None = None
    data: bytes = field(default=b"", repr=False)
    chosen: Chosen | None = None
    ranges: dict[str, Calibration] = field(default_factory=dict, repr=False)
    remarks: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def kept(self) -> bool:
        """The budget is kept, also on the images that no choice has seen."""
        return self.chosen is not None and self.chosen.tried.within and self.chosen.kept

    def to_json(self) -> dict[str, Any]:
        """As `qviz rescue --json` prints it, the file's name left out."""
        return {
            "reference": {"name": self.reference, "sha256": self.reference_digest, "bytes": self.reference_bytes},
            "budget": self.budget.to_json(),
            "prefer": self.prefer,
            "images": {"search": self.search_images, "report": self.report_images},
            "tried": [row.to_json() for row in self.tried],
            "chosen": None if self.chosen is None else self.chosen.to_json(),
            "kept": self.kept,
            "remarks": list(self.remarks),
            "seconds": self.seconds,
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a candidate, in the order of trying; kept_float as `0-12,40`."""
        import pandas as pd

        rows = [row.to_json() | {"kept_float": orders_text(row.candidate.kept)} for row in self.tried]
        return pd.DataFrame(rows, columns=list(Tried(Candidate(""), "").to_json()))


def best_of(tried: tuple[Tried, ...], prefer: str) -> Tried | None:
    """The smallest or fastest within the budget; where none is, the one that loses least.

    Speeds within `SAME_LATENCY` are the same: the smaller file wins then.
    """
    known = [row for row in tried if row.search_loss is not None]
    within = [row for row in known if row.within]
    if not within:
        return min(known, key=lambda row: (row.search_loss or 0.0, row.bytes), default=None)
    if prefer == LATENCY:
        fastest = max(row.speed or 0.0 for row in within)
        within = [row for row in within if (row.speed or 0.0) * (1 + SAME_LATENCY) >= fastest]
    return min(within, key=lambda row: (row.bytes, row.search_loss or 0.0))


def command(candidate: Candidate, source: str, calibration: Sequence[str], output: str) -> str:
    """`qviz quantize ...`, quoted for a shell. calibration: images, folders, or one file of ranges."""
    words = ["qviz", "quantize", source, "--recipe", candidate.recipe]
    if candidate.algorithm != "minmax":
        words += ["--algorithm", candidate.algorithm]
    if candidate.kept:
        words += ["--keep-operators", orders_text(candidate.kept)]
    if needs_images(candidate) or recipe_of(candidate.recipe).needs_calibration:
        words += ["--ranges", candidate.method] if candidate.method != "minmax" else []
        words += ["--calibration", *calibration]
    return shlex.join([*words, "-o", output])


def needs_images(candidate: Candidate) -> bool:
    """The builder looks at the calibration images themselves; ranges do not stand in for them."""
    return ALGORITHMS[candidate.algorithm].needs_images


def recipe_json(found: Rescue, row: Tried, output: str, command_line: str) -> dict[str, Any]:
    """All that says how the file `output` came about and builds it again."""
    made = row.candidate
    ranges = found.ranges.get(made.method) if recipe_of(made.recipe).needs_calibration else None
    chosen = found.chosen if found.chosen is not None and found.chosen.tried.candidate == made else None
    return {
        "file": {"name": output, "sha256": row.digest, "bytes": row.bytes, "scheme": row.scheme},
        "source": {"name": found.reference, "sha256": found.reference_digest},
        "recipe": made.recipe,
        "algorithm": made.algorithm,
        "keep_operators": orders_text(made.kept),
        "budget": found.budget.to_json(),
        "search": {"images": found.search_images, "loss": row.search_loss},
        "report": None if chosen is None else {"images": chosen.images, **chosen.to_json()["loss"]},
        "command": command_line,
        **(ranges.to_json() if ranges is not None else {}),
    }
