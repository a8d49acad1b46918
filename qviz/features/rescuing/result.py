"""The result of a rescue: the smallest (or fastest) variant within a budget, and every candidate that was tried.

budget      a maximum loss of AP against the reference, or a minimum agreement with it
loss        reference minus variant in AP, or 1 - agreement; positive is worse
search      half of the images, on which candidates are measured and chosen
report      the other half, which no choice depends on: the loss of the chosen candidate there, with the 95 % interval
            of a paired bootstrap over the images
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from qviz.features.building.calibration import DEFAULT_METHOD, Calibration
from qviz.features.building.cures import cures_of
from qviz.features.building.recipes import ALGORITHMS, Options, recipe_of
from qviz.features.cost.tradeoff import SAME_LATENCY
from qviz.features.inspection.warning import Warning
from qviz.features.rescuing.budget import AGREEMENT as AGREEMENT
from qviz.features.rescuing.budget import AP as AP
from qviz.features.rescuing.budget import Budget as Budget
from qviz.result import Result, to_json
from qviz.structures import Loss
from qviz.structures.operators import orders_text

if TYPE_CHECKING:
    import pandas as pd

SIZE, LATENCY = "size", "latency"
QUALITY = "quality"
"""What decides among files within the limits of a budget on their size or 16-bit operators, see `Candidates.prefer`."""


@dataclass(frozen=True, slots=True)
class Move:
    """One change of a plain recipe.

    Attributes:
        code: `ranges`, `algorithm`, `wide` (16-bit activations), `float`, or a name of `building.cures.CURES`.
        operators: Indices of the operators of the float32 file that it affects; empty if it affects all.
    """

    code: str
    operators: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Contribution:
    """The contribution of one move of the chosen candidate: figures of the candidate without it, on the search half.

    Attributes:
        code, operators: The move that was left out.
        loss, agreement, quality: Figures without the move; None if that file could not be measured.
        bytes: Size of the file without the move.
    """

    code: str
    operators: tuple[int, ...]
    loss: float | None
    agreement: float | None
    bytes: int
    quality: float | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A variant that can be built.

    Attributes:
        recipe, algorithm: Names of `building.RECIPES` and `building.ALGORITHMS`.
        ranges: Method that computes the ranges of activations, a name of `building.METHODS`.
        float_operators: Indices of the operators in float, in the float32 file.
        wide_operators: Indices of the operators with 16-bit activations.
        cures: Names of `building.cures.CURES`.
    """

    recipe: str
    algorithm: str = "minmax"
    ranges: str = DEFAULT_METHOD
    float_operators: tuple[int, ...] = ()
    wide_operators: tuple[int, ...] = ()
    cures: tuple[str, ...] = ()

    JSON_NAMES: ClassVar = {"float_operators": "kept_float", "wide_operators": "wide"}

    @property
    def options(self) -> Options:
        return Options(algorithm=self.algorithm, keep_orders=self.float_operators, wide_orders=self.wide_operators)

    @property
    def moves(self) -> tuple[Move, ...]:
        """The changes compared with the plain recipe, each with the operators that it affects."""
        moves = {
            "ranges": (self.ranges != DEFAULT_METHOD, ()),
            "algorithm": (self.algorithm != "minmax", ()),
            "wide": (bool(self.wide_operators), self.wide_operators),
            "float": (bool(self.float_operators), self.float_operators),
        }
        moves_made = [Move(code, operators) for code, (is_made, operators) in moves.items() if is_made]
        return (*moves_made, *(Move(cure) for cure in self.cures))

    def with_cure(self, cure: str) -> Candidate:
        """The same candidate with one more cure; the cures have the order of `CURES`."""
        return replace(self, cures=cures_of({*self.cures, cure}))

    def without(self, code: str) -> Candidate:
        """The same candidate without one of its moves."""
        fields: dict[str, Candidate] = {
            "ranges": replace(self, ranges=DEFAULT_METHOD),
            "algorithm": replace(self, algorithm="minmax"),
            "wide": replace(self, wide_operators=()),
            "float": replace(self, float_operators=()),
        }
        return fields.get(code) or replace(self, cures=tuple(cure for cure in self.cures if cure != code))

    @property
    def needs_images(self) -> bool:
        """Whether the builder itself reads calibration images, so that ranges are not enough."""
        return bool(self.cures) or ALGORITHMS[self.algorithm].needs_images

    @property
    def needs_ranges(self) -> bool:
        return recipe_of(self.recipe).needs_calibration

    @property
    def name(self) -> str:
        """The name of the candidate, for example `int8 (octav), 8-17 float`."""
        words = [self.algorithm] if self.algorithm != "minmax" else []
        words += [self.ranges] if self.ranges != DEFAULT_METHOD else []
        words += [cure.replace("_", " ") for cure in self.cures]
        more = f" ({', '.join(words)})" if words else ""
        sets = {"in 16 bits": self.wide_operators, "float": self.float_operators}
        chosen = [f", {orders_text(orders)} {kind}" for kind, orders in sets.items() if orders]
        return f"{self.recipe}{more}{''.join(chosen)}"

    def command(self, source: str, calibration: Sequence[str], output: str) -> str:
        """The `qviz quantize` command that builds the candidate's file, quoted for a shell.

        `calibration` has paths of images, or the path of one file of ranges.
        """
        words = ["qviz", "quantize", source, "--recipe", self.recipe]
        if self.algorithm != "minmax":
            words += ["--algorithm", self.algorithm]
        if self.float_operators:
            words += ["--keep-operators", orders_text(self.float_operators)]
        if self.wide_operators:
            words += ["--wide-operators", orders_text(self.wide_operators)]
        if self.cures:
            words += ["--cures", ",".join(self.cures)]
        if self.needs_images or self.needs_ranges:
            words += ["--ranges", self.ranges] if self.ranges != DEFAULT_METHOD else []
            words += ["--calibration", *calibration]
        return shlex.join([*words, "-o", output])


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was built and measured on the search half.

    Attributes:
        origin: The part of the search that proposed it: `recipe`, `prefix`, `window` and so on.
        bytes, scheme, digest: Size, scheme and sha256 of the file.
        ap, agreement, search_loss: None if it could not be built or run; `error` is the reason.
        false_alarms: Objects per image with a confidence of at least .25 that match no annotated object; None if
            nothing is annotated.
        floods: Whether it has many more false alarms than the reference (`qviz.features.accuracy.evaluator.floods`).
        within: Whether the loss is within the budget, and the images are not flooded; with a budget of cycles, also
            whether these are kept.
        npu, npu_cycles: Cycles of one image on this accelerator; only for a candidate whose loss is within a budget
            that limits them.
        speed: Latency of the reference divided by that of the candidate, measured in turns on this machine; None if
            size is minimised.
        seconds: Time for building and measuring.
        quality: Agreement in [0, 1] in which objects count by their confidence (`softly_agreed`), on all search images.
        float_operators: Kinds of the operators that compute in float, without conversions and a detection post-process.
    """

    candidate: Candidate
    origin: str
    bytes: int = 0
    scheme: str = ""
    digest: str = ""
    ap: float | None = None
    agreement: float | None = None
    search_loss: float | None = None
    false_alarms: float | None = None
    floods: bool = False
    within: bool = False
    speed: float | None = None
    seconds: float = 0.0
    error: str = ""
    npu: str = ""
    npu_cycles: int | None = None
    quality: float | None = None
    float_operators: tuple[str, ...] = ()

    JSON_INLINE: ClassVar = ("candidate",)
    JSON_NAMES: ClassVar = {"origin": "found_by"}
    JSON_ALSO: ClassVar = ("search_agreement", "moves")

    @property
    def moves(self) -> tuple[Move, ...]:
        """The moves of the candidate."""
        return self.candidate.moves

    @property
    def search_agreement(self) -> float | None:
        """The agreement with the reference on the search half."""
        return self.agreement


@dataclass(frozen=True, slots=True)
class Chosen:
    """The best candidate on the report half.

    Attributes:
        tried: The candidate with its figures on the search half.
        loss: Loss in the budget's measure, with its 95 % interval.
        within_budget: Whether the loss on the report half is within the budget, and its images are not flooded.
        false_alarms, reference_false_alarms: False alarms per image, as in `Tried`.
        images: Number of images of the report half.
        loss_on_search: Loss on the search half with its interval; it looks small, because the file was chosen there.
    """

    tried: Tried
    loss: Loss
    within_budget: bool
    images: int
    ap: float | None
    reference_ap: float | None
    agreement: float | None
    false_alarms: float | None = None
    reference_false_alarms: float | None = None
    loss_on_search: Loss | None = None

    JSON_INLINE: ClassVar = ("tried",)
    JSON_NAMES: ClassVar = {"within_budget": "kept"}


@dataclass(frozen=True, slots=True)
class ReferenceFile:
    """The reference's name, digest and size in bytes."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Number of images of the search half and of the report half."""

    search: int
    report: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Rescue(Result):
    """A search, finished or running; `save("small.tflite")` writes the best file.

    Attributes:
        reference: The file the search started from.
        prefer: `size` or `latency`, what is minimised.
        images: Number of images of each half.
        tried: Every candidate, in the order of trying.
        best: The best candidate so far; None if none could be measured.
        data: The .tflite file of the best candidate.
        chosen: The best candidate on the report half; None while the search runs.
        contributions: The chosen candidate without each of its moves; empty while the search runs.
        ranges: Method -> measured ranges, from which candidates can be built again.
        remarks: Sentences about images that were left out, and the like.
        warnings: Lint warnings about the chosen file, and the settings that were assumed for the reference.
        seconds: Duration of this run.
    """

    reference: ReferenceFile
    budget: Budget
    prefer: str
    images: ImageCounts
    tried: tuple[Tried, ...] = ()
    best: Tried | None = None
    data: bytes = field(default=b"", repr=False)
    chosen: Chosen | None = None
    contributions: tuple[Contribution, ...] = ()
    ranges: dict[str, Calibration] = field(default_factory=dict, repr=False)
    remarks: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()
    seconds: float = 0.0

    ROWS: ClassVar = "tried"
    JSON_NAMES: ClassVar = {"best": None, "data": None, "ranges": None, "within_budget": "kept"}
    JSON_ALSO: ClassVar = ("within_budget",)

    @property
    def within_budget(self) -> bool:
        """Whether the chosen candidate is within the budget on both halves."""
        return self.chosen is not None and self.chosen.tried.within and self.chosen.within_budget

    def to_frame(self) -> pd.DataFrame:
        """One row per candidate, in the order of trying; `kept_float` and `wide` have operators as `0-12,40`."""
        import pandas as pd

        rows = [
            to_json(row)
            | {
                "kept_float": orders_text(row.candidate.float_operators),
                "wide": orders_text(row.candidate.wide_operators),
                "moves": ", ".join(move.code for move in row.moves),
            }
            for row in self.tried
        ]
        return pd.DataFrame(rows, columns=list(to_json(Tried(Candidate(""), ""))))

    def recipe_json(self, row: Tried, output: str, command: str) -> dict[str, Any]:
        """A document that describes how a candidate's file was built.

        Ranges have the same names as in `qviz quantize --save-ranges`, so the document can be given as `--calibration`.

        Args:
            row: The candidate.
            output: Name of its file.
            command: Builds the file again, without the images.
        """
        candidate = row.candidate
        ranges = self.ranges.get(candidate.ranges) if candidate.needs_ranges and not candidate.needs_images else None
        chosen = self.chosen if self.chosen is not None and self.chosen.tried.candidate == candidate else None
        return {
            "file": {"name": output, "sha256": row.digest, "bytes": row.bytes, "scheme": row.scheme},
            "source": {"name": self.reference.name, "sha256": self.reference.sha256},
            "recipe": candidate.recipe,
            "algorithm": candidate.algorithm,
            "keep_operators": orders_text(candidate.float_operators),
            "wide_operators": orders_text(candidate.wide_operators),
            "cures": list(candidate.cures),
            "budget": to_json(self.budget),
            "search": {"images": self.images.search, "loss": row.search_loss},
            "report": None if chosen is None else {"images": chosen.images, **to_json(chosen.loss)},
            "command": command,
            **(ranges.to_json() if ranges is not None else {}),
        }


SAME_LOSS = 0.01
"""Losses that differ by less can hardly be told apart on the search half (one AP point, or .01 of agreement)."""


def best_of(tried: tuple[Tried, ...], prefer: str, limit: float = 0.0) -> Tried | None:
    """The smallest or fastest candidate within the budget; if there is none, the smallest of the closest ones.

    Closest are those whose loss exceeds the smallest one by at most `limit`, the budget's, and at most `SAME_LOSS`.
    Candidates that flood the images come last. Speeds within `SAME_LATENCY` count as equal; then the smaller file wins.
    If QUALITY is preferred, the candidate with the best quality wins among those whose loss exceeds the smallest one by
    at most `SAME_LOSS`, within the budget or not: losses that differ by less are decided by chance.
    """
    measured = [row for row in tried if row.search_loss is not None]
    within = [row for row in measured if row.within]
    if not within or prefer == QUALITY:
        closest = min(measured, key=lambda row: (row.floods, row.search_loss or 0.0, row.bytes), default=None)
        if closest is None:
            return None
        largest = (closest.search_loss or 0.0) + (SAME_LOSS if prefer == QUALITY else min(limit, SAME_LOSS))
        within = [row for row in measured if row.floods == closest.floods and (row.search_loss or 0.0) <= largest]
    elif prefer == LATENCY:
        fastest = max(row.speed or 0.0 for row in within)
        within = [row for row in within if (row.speed or 0.0) * (1 + SAME_LATENCY) >= fastest]
    if prefer == QUALITY:
        return max(within, key=lambda row: (row.quality or 0.0, -row.bytes))
    return min(within, key=lambda row: (row.bytes, row.search_loss or 0.0))
