"""What may bring back lost objects. Each row of `CURES` is one cure, with the causes that it removes.

A row has a sentence that says what is done, the command for it, and the options with which qviz builds it. The
predicted effect of a cure is what came back when the operators of the cause ran in float. For a cure that works in
another way, nothing is predicted: it must be built and measured.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

from qviz.features.building.calibration import DEFAULT_METHOD
from qviz.features.building.recipes import RECIPES, weights_of
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.result import Cause, Cure, Estimate, Plan
from qviz.features.layer_error import LayerErrors
from qviz.formatting import plural
from qviz.structures import Scheme
from qviz.structures.operators import orders_text

CALIBRATION, OUTPUT = "CALIBRATION_IMAGES", "cured.tflite"
"""Placeholders in a command, to be replaced by the user's own paths."""
RANGES = frozenset({"input_range", "clipping"})
STEPS = frozenset({"activations", "clipping", "shared_scale"})
INSIDE = frozenset({"activations", "clipping", "shared_scale", "weights", "bias"})


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """The models and causes for which a row of `CURES` makes a cure.

    Attributes:
        causes: The confirmed causes that the row removes, the largest first.
        orders: Operators of the reference's file that are paired with the operators of the causes.
        together: The agreement with all of these causes removed; None if it was not measured.
        recipe: The recipe by which the variant was probably built.
    """

    reference: LoadedModel
    variant: LoadedModel
    causes: tuple[Cause, ...]
    orders: tuple[int, ...]
    together: Estimate | None
    recipe: str

    @property
    def subjects(self) -> str:
        """The operators in words, with their numbers in the reference."""
        return f"{plural(len(self.orders), 'operator')} ({orders_text(self.orders)} of the float file)"


@dataclass(frozen=True, slots=True)
class Means:
    """One row of `CURES`.

    Attributes:
        code: Name of the cure.
        answers: Codes of the causes that it removes.
        sentence: Returns a sentence that says what is done.
        plan: Returns how the cure is built; None if the cure does not apply to the case.
        predicted: Whether running the operators in float predicts its effect.
        integers_only: Whether the file computes on integers alone.
    """

    code: str
    answers: frozenset[str]
    sentence: Callable[[Case], str]
    plan: Callable[[Case], Plan | None]
    predicted: bool
    integers_only: bool


def _recalibrated(case: Case) -> Plan | None:
    return Plan(case.recipe) if RECIPES[case.recipe].needs_calibration else None


def _with_float(case: Case) -> Plan | None:
    return Plan(case.recipe, {"keep_operators": orders_text(case.orders)}) if case.orders else None


def _wide(case: Case) -> Plan | None:
    return Plan("int8", {"wide_operators": orders_text(case.orders)}) if case.orders else None


def _split_head(case: Case) -> Plan | None:
    is_joined = len(case.reference.inspection.graph.outputs) == 1
    return Plan(case.recipe, cures=("split_head",)) if is_joined and RECIPES[case.recipe].needs_calibration else None


def _without_labels(case: Case) -> Plan | None:
    names = ("equalize", "round_weights", "correct_biases")
    return Plan(case.recipe, cures=names) if case.recipe == "int8" else None


def _split_channels(case: Case) -> Plan | None:
    return Plan(case.recipe, cures=("split_channels",)) if case.recipe == "int8" else None


def _int16(case: Case) -> Plan | None:
    return Plan("int16x8") if case.recipe != "int16x8" else None


CURES: tuple[Means, ...] = (
    Means(
        "recalibrate",
        RANGES,
        lambda case: "Build it again, calibrated on real images that are prepared as for inference.",
        _recalibrated,
        predicted=True,
        integers_only=True,
    ),
    Means(
        "split_head",
        frozenset({"shared_scale"}),
        lambda case: "Build it again with boxes and scores as two outputs, each on its own scale.",
        _split_head,
        predicted=False,
        integers_only=True,
    ),
    Means(
        "wide_operators",
        STEPS,
        lambda case: f"Build it again with 16-bit activations in {case.subjects}.",
        _wide,
        predicted=True,
        integers_only=True,
    ),
    Means(
        "keep_float",
        INSIDE,
        lambda case: f"Build it again and keep {case.subjects} in float.",
        _with_float,
        predicted=True,
        integers_only=False,
    ),
    Means(
        "cures",
        frozenset({"weights", "activations"}),
        lambda case: "Build it again with equalized channels, rounding fitted to the images and corrected biases.",
        _without_labels,
        predicted=False,
        integers_only=True,
    ),
    Means(
        "split_channels",
        frozenset({"activations"}),
        lambda case: "Build it again with quiet and loud channels as separate tensors, each on its own scale.",
        _split_channels,
        predicted=False,
        integers_only=True,
    ),
    Means(
        "int16x8",
        STEPS,
        lambda case: "Build it again with 16-bit activations throughout (recipe int16x8; slower kernels).",
        _int16,
        predicted=False,
        integers_only=True,
    ),
)
"""All cures. Cures with equal predictions and file sizes are listed in this order."""


def command_of(plan: Plan, reference: str, calibration: str = CALIBRATION, output: str = OUTPUT) -> str:
    """The command that builds a plan; paths are quoted for a shell."""
    words = ["qviz", "quantize", reference, "--recipe", plan.recipe]
    if RECIPES[plan.recipe].needs_calibration:
        words += ["--calibration", calibration]
    if plan.ranges != DEFAULT_METHOD:
        words += ["--ranges", plan.ranges]
    words += ["--cures", ",".join(plan.cures)] if plan.cures else []
    for name, value in plan.options.items():
        words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, "-o", output])


def cures_of(
    reference: LoadedModel,
    variant: LoadedModel,
    causes: Sequence[Cause],
    errors: LayerErrors,
    together: Callable[[Sequence[Cause]], Estimate | None],
    name: str,
) -> tuple[Cure, ...]:
    """The cures of some causes, the best predicted agreement first. Cures without a prediction come last.

    Predictions are compared with two decimals, as they are shown. Of cures with equal predictions, the one with the
    smaller file comes first.

    Args:
        errors: Layer errors, which contain the pairs of the two models' operators.
        together: Returns the agreement if some of the causes are removed.
        name: The reference in commands, e.g. its path.
    """
    cures = [
        _cure(means, case, plan, name)
        for means, case in _cases(reference, variant, causes, errors, together)
        if (plan := means.plan(case)) is not None
    ]
    return tuple(sorted(cures, key=_rank))


def _rank(cure: Cure) -> tuple[float, float]:
    value = cure.predicted.value if cure.predicted is not None else None
    return -round(value or 0.0, 2), inf if cure.bytes is None else cure.bytes


def _cases(
    reference: LoadedModel,
    variant: LoadedModel,
    causes: Sequence[Cause],
    errors: LayerErrors,
    together: Callable[[Sequence[Cause]], Estimate | None],
) -> Iterator[tuple[Means, Case]]:
    """Each row that answers one of the causes."""
    partners = dict(errors.pairs)
    for means in CURES:
        answered = tuple(cause for cause in causes if cause.code in means.answers)
        if answered:
            operators = {order for cause in answered for order in cause.operators}
            orders = tuple(sorted({partners[order] for order in operators if order in partners}))
            estimate = together(answered) if means.predicted else None
            yield means, Case(reference, variant, answered, orders, estimate, recipe_of_file(variant))


def recipe_of_file(variant: LoadedModel) -> str:
    """The recipe with the scheme of the file; int8 if there is none, as for a mixed file."""
    scheme = str(variant.scheme)
    return scheme if scheme in RECIPES else "int8"


def _cure(means: Means, case: Case, plan: Plan, name: str) -> Cure:
    return Cure(
        code=means.code,
        sentence=means.sentence(case),
        command=command_of(plan, name),
        answers=tuple(cause.code for cause in case.causes),
        bytes=_bytes(case, plan),
        predicted=case.together if means.predicted else None,
        integers_only=means.integers_only,
        plan=plan,
    )


def _bytes(case: Case, plan: Plan) -> int | None:
    """Expected size of the file in bytes: the variant's, plus three bytes for each weight that is kept in float.

    None if it is not known.
    """
    if "split_channels" in plan.cures:  # it adds operators, whose number is known once it is built
        return None
    if plan.recipe not in (case.recipe, "int16x8") or case.variant.scheme is Scheme.FLOAT32:
        return None
    in_float = case.orders if "keep_operators" in plan.options else ()
    return case.variant.bytes + round(sum(_weight_bytes(case.reference, in_float)))


def _weight_bytes(reference: LoadedModel, orders: Iterable[int]) -> Iterator[float]:
    graph = reference.inspection.graph
    tensors = {weights.index: weights for order in orders if (weights := weights_of(graph, graph.ops[order]))}
    for tensor in tensors.values():
        count = 1
        for side in tensor.shape:
            count *= side
        yield 3.0 * count
