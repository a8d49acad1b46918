"""How much of a variant's loss disappears if some of its operators run in float, measured without building a file.

base        agreement of the unchanged variant with FP32, as in `qviz compare`
agreement   agreement with FP32 if a set of operators runs in float (see `mixed` for what that means)
explained   (agreement - base) / (1 - base): the share of the lost agreement that comes back; 1 is all, below 0 is worse
score_share mean over FP32's objects of the share of their score that remains (see `outcomes`), in [0, 1]

If no sets are given, these are measured: single layers with large errors, blocks, prefixes, suffixes, and the smallest
sets that a search finds on the most affected images. All figures are measured on all images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.errors import SettingsError
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error import LayerErrors, layers, origin_of, require_layers
from qviz.features.what_if.candidates import Candidate, candidates, range_text
from qviz.features.what_if.measure import Measure, Tally
from qviz.features.what_if.outcomes import Matching, possible_job
from qviz.features.what_if.sets import Orders, blocks, ends, pareto_front, shortest, smallest, with_conversions
from qviz.result import Result
from qviz.structures import EncodedImage
from qviz.structures.detections import CANDIDATE_FLOOR
from qviz.structures.operators import orders_text

if TYPE_CHECKING:
    import pandas as pd

SINGLE_LAYERS = 8
"""Number of layers tried alone by each of two criteria: lowest local SQNR, and largest fall of the cumulative SQNR."""
LAYER_IMAGES = 2
"""Number of images on which layer errors are measured to choose sets."""
SEARCH_IMAGES = 8
MAX_TRIALS = 60
WINDOW_SHARE = 0.9
"""If the named set is a first or last part of the network, a shorter stretch within it is named instead if the stretch
brings back at least this share of what the whole part brings back."""
SINGLE = ("layer", "range", "join")
MIN_EXPLAINED = 0.1
MIN_SHARE = 0.5
"""A set is named if it explains at least MIN_EXPLAINED, and at least MIN_SHARE of what the best set explains."""
NAMING_IMAGES = 8
"""Number of images on which the pages and the report measure the sets that may be named."""
GOALS = (0.9, 0.75, 0.5)
"""For each of these shares, a search looks for a small set that recovers this share of the agreement that all operators
in float recover."""


@dataclass(frozen=True, slots=True)
class FloatSet:
    """One set of operators in float.

    Attributes:
        orders: Operator indices of the variant.
        kind: given, layer, range, join, block, prefix, suffix, window, all or found.
        agreement, explained, score_share: See the module; `explained` is None if nothing is lost.
        mean_score_delta: Mean of the variant's score minus FP32's over kept and shifted objects; None if there are
            none.
        stayed: Operators of the set that cannot run in float and therefore ran as in the variant.
        subject: Name in a sentence, `operator 12 (CONV_2D)` or `operators 0-24`; empty for a set that is never named.
    """

    orders: tuple[int, ...]
    kind: str
    agreement: float | None
    mean_score_delta: float | None
    explained: float | None
    score_share: float | None
    stayed: tuple[int, ...] = ()
    subject: str = ""

    @property
    def is_single(self) -> bool:
        """Whether the set is one operator, together with operators that share its range or scale."""
        return self.kind in SINGLE

    @property
    def text(self) -> str:
        """The operators as text, e.g. `0-12,40`."""
        return orders_text(self.orders)

    @property
    def short_text(self) -> str:
        """`text`, cut to 60 characters."""
        return self.text if len(self.text) <= 60 else f"{self.text[:57]}..."


def _full(agreement: float | None) -> float:
    """The agreement as a number by which sets are compared; None, which means that there is no object, becomes 1."""
    return 1.0 if agreement is None else agreement


def named_of(rows: Sequence[FloatSet]) -> FloatSet | None:
    """The set that the verdict names, see `WhatIf.named`; None if no set explains enough."""
    sets = [row for row in rows if row.subject and (row.explained or 0.0) >= MIN_EXPLAINED]
    best = max((row.explained or 0.0 for row in rows if row.subject or row.kind == "all"), default=0.0)
    enough = [row for row in sets if (row.explained or 0.0) >= MIN_SHARE * best]
    return min(enough, key=lambda row: (not row.is_single, len(row.orders), -_full(row.agreement)), default=None)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class WhatIf(Result):
    """How much agreement each set of operators in float brings back.

    Attributes:
        reference, variant: Names of the two models.
        images: Number of images measured on.
        operators: Number of operators of the variant.
        base, base_mean_score_delta, base_score_share: Values of the unchanged variant; `base` is None if neither model
            has an object.
        sets: The measured sets, in the order given or, if none were given, by descending agreement.
        smallest: The sets on the Pareto front of size and agreement: no set of equal or smaller size has as much
            agreement. Sorted by size.
        skipped: One sentence per image that cannot be read.
        warnings: Reasons why the two models cannot be compared; then no set is named.
    """

    reference: str
    variant: str
    images: int
    operators: int
    base: float | None
    base_mean_score_delta: float | None
    base_score_share: float | None
    sets: tuple[FloatSet, ...]
    smallest: tuple[FloatSet, ...] = ()
    skipped: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()

    ROWS: ClassVar = "sets"
    JSON_ALSO: ClassVar = ("named",)

    @property
    def named(self) -> FloatSet | None:
        """The set that the verdict names; None if no set explains enough.

        It is chosen from the sets that explain at least MIN_EXPLAINED and at least MIN_SHARE of what the best set
        explains: a single operator if possible, else the set with the fewest operators.
        """
        return None if self.warnings else named_of(self.sets)

    @property
    def best_single(self) -> FloatSet | None:
        """The set with the highest agreement among those for a single operator; None if none was measured."""
        return max(
            (row for row in self.sets if row.is_single and row.subject),
            key=lambda row: _full(row.agreement),
            default=None,
        )

    def to_frame(self) -> pd.DataFrame:
        """One row per set, with its operators as text such as `0-12,40`."""
        import pandas as pd

        rows = [asdict(row) | {"orders": row.text, "stayed": orders_text(row.stayed)} for row in self.sets]
        return pd.DataFrame(rows, columns=list(FloatSet.__slots__))


def what_if(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    *,
    sets: Sequence[Iterable[int]] | None = None,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    quick: bool = False,
) -> WhatIf:
    """Measure how much agreement comes back with sets of the variant's operators in float.

    Args:
        sets: Sets of operator indices of the variant, from 0. None: the usual sets, and small sets that a search finds.
        score: Minimum confidence of an object, in [0, 1].
        iou: Minimum IoU of a matched pair, in (0, 1].
        quick: Measure only the sets that may be named (`candidates`), without blocks and without a search.

    Raises:
        ImageError: No image can be read.
        ModelError: One of the models has no layers, because TensorFlow runs it.
        SettingsError: The variant has no such operator.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES) as session:
        ...     session.what_if(sets=[{0, 1}]).sets[0].explained
    """
    require_layers(reference, variant)
    given = [frozenset(orders) for orders in sets or ()]
    _check(given, variant)
    matching = Matching(score, iou, min(score, CANDIDATE_FLOOR))
    measure = Measure(context, reference, variant, list(images), matching)
    return measured(context, measure, [Candidate("given", orders, "") for orders in given], quick)


def measured(
    context: Context,
    measure: Measure,
    given: Sequence[Candidate] = (),
    quick: bool = False,
    errors: LayerErrors | None = None,
) -> WhatIf:
    """The same as `what_if`, for a caller that has a `Measure` already and uses it for further sets.

    Args:
        given: The sets to measure; empty for the usual ones.
        errors: Errors of the layers, by which the usual sets are chosen; None to measure them on a few of the images.
    """
    reference, variant = measure.reference, measure.variant
    possible = context.wait(context.engine.submit(possible_job, measure.pair))
    base = measure([frozenset()])[0]

    def rows_of(candidates: Sequence[Candidate]) -> list[FloatSet]:
        tallies = measure([candidate.orders for candidate in candidates])
        return [_row(candidate, tally, base, possible) for candidate, tally in zip(candidates, tallies, strict=True)]

    rows = rows_of(given or _sets_to_try(context, measure, possible, quick, errors))
    if not given:
        rows += rows_of(_narrower(measure, named_of(rows), possible))
        rows.sort(key=lambda row: (-_full(row.agreement), len(row.orders)))
    measure.finished()
    return WhatIf(
        reference=reference.name,
        variant=variant.name,
        images=len(measure.images),
        operators=len(variant.inspection.graph.ops),
        base=base.shown_agreement,
        base_mean_score_delta=base.mean_score_delta,
        base_score_share=base.score_share,
        sets=tuple(rows),
        smallest=pareto_front(rows, lambda row: len(row.orders), lambda row: _full(row.agreement), base.agreement),
        skipped=tuple(measure.skipped),
        warnings=origin_of(context, reference, variant),
    )


def _check(sets: Sequence[Orders], variant: LoadedModel) -> None:
    count = len(variant.inspection.graph.ops)
    beyond = sorted(order for orders in sets for order in orders if not 0 <= order < count)
    if beyond:
        raise SettingsError(
            f"{variant.name} has no operator {beyond[0]}: its {count} operators are numbered from 0 to {count - 1}."
        )


def _row(candidate: Candidate, tally: Tally, base: Tally, possible: Orders) -> FloatSet:
    lost = 1 - base.agreement
    return FloatSet(
        orders=tuple(sorted(candidate.orders)),
        kind=candidate.kind,
        agreement=tally.shown_agreement,
        mean_score_delta=tally.mean_score_delta,
        explained=(tally.agreement - base.agreement) / lost if lost > 0 else None,
        score_share=tally.score_share,
        stayed=tuple(sorted(candidate.orders - possible)),
        subject=candidate.subject,
    )


def _narrower(measure: Measure, named: FloatSet | None, possible: Orders) -> list[Candidate]:
    """The shortest stretch of a named first or last part of the network that brings back nearly as much as the part."""
    if named is None or named.kind not in ("prefix", "suffix"):
        return []
    images, orders = measure.most_affected(SEARCH_IMAGES), sorted(set(named.orders) & possible)
    base, whole = (tally.agreement for tally in measure([frozenset(), frozenset(named.orders)], images))
    if whole <= base:
        return []
    stretch = shortest(orders, _reaching(measure, images, base + WINDOW_SHARE * (whole - base)), named.kind == "suffix")
    return [Candidate("window", frozenset(stretch), range_text(stretch))] if len(stretch) < len(orders) else []


def _sets_to_try(
    context: Context, measure: Measure, possible: Orders, quick: bool, errors: LayerErrors | None
) -> list[Candidate]:
    """The sets to measure if none were given, each once."""
    every = sorted(possible)
    if not every:
        return []
    if errors is None:
        errors = layers(context.quiet(), measure.reference, measure.variant, measure.images[:LAYER_IMAGES])
    rows = [Candidate("all", possible, ""), *candidates(measure.variant.inspection.graph, errors, possible)]
    if not quick:
        rows += _further(measure, errors, every)
        rows += [Candidate("found", orders, "") for orders in _searched(measure, every)]
    first: dict[Orders, Candidate] = {}
    for candidate in rows:
        if candidate.orders:
            first.setdefault(candidate.orders, candidate)
    return list(first.values())


def _further(measure: Measure, errors: LayerErrors, every: Sequence[int]) -> Iterator[Candidate]:
    """Single layers, blocks, prefixes and suffixes, with the conversions that a rebuilt file would not contain."""
    graph = measure.variant.inspection.graph
    prefixes, suffixes = ends(every)
    kinds = {
        "layer": [frozenset({order}) for order in _worst_layers(errors)],
        "block": blocks(graph),
        "prefix": prefixes,
        "suffix": suffixes,
    }
    for kind, sets in kinds.items():
        yield from (Candidate(kind, with_conversions(graph, orders) & frozenset(every), "") for orders in sets)


def _worst_layers(errors: LayerErrors) -> list[int]:
    rows = errors.layers
    weak = sorted((row.local_sqnr_db, row.order) for row in rows if row.local_sqnr_db is not None)
    falls = sorted((-row.fall_db, row.order) for row in rows if row.fall_db is not None and row.fall_db > 0)
    return sorted({order for ranked in (weak, falls) for _, order in ranked[:SINGLE_LAYERS]})


def _searched(measure: Measure, every: Sequence[int]) -> Iterator[Orders]:
    """For each goal, a small set of operators that reaches it on the most affected images."""
    images = measure.most_affected(SEARCH_IMAGES)
    all_quantized, all_float = (tally.agreement for tally in measure([frozenset(), frozenset(every)], images))
    if all_float <= all_quantized:
        return
    for goal in GOALS:
        yield smallest(
            every, _reaching(measure, images, all_quantized + goal * (all_float - all_quantized)), MAX_TRIALS
        )


def _reaching(measure: Measure, images: Sequence[EncodedImage], agreement: float) -> Callable[[Orders], bool]:
    return lambda orders: measure.reaches(orders, images, agreement)
