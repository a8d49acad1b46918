"""Diagnose why one variant loses objects: causes that experiments confirmed, and what brings the objects back.

    same network? -> preparation of the images -> warnings about the file -> errors of layers -> sets of operators in
    float (`what_if`) -> which kind of fault (`causes`) -> objects that show it best (`tracing`) -> cures (`cures`)

Everything is measured on at most `MAX_IMAGES` images, evenly spread over the given ones, so that a diagnosis takes less
than a minute. The first answer, a partial result, has the causes on `FIRST_IMAGES` of them. Each further step reports
what is known after it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from qviz.context import Context
from qviz.detector import PAGE_SCORE
from qviz.errors import ImageError, SettingsError
from qviz.features.comparison.matching import Change, summarise
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.causes import Confirmed, confirmed
from qviz.features.diagnosis.cures import cures_of
from qviz.features.diagnosis.result import (
    MIN_EXPLAINED,
    Cause,
    Cure,
    Diagnosis,
    Estimate,
    Evidence,
    SameNetwork,
)
from qviz.features.diagnosis.trials import Trials
from qviz.features.inspection.lint import COMPARED_SETTINGS, lint_comparison, lint_model
from qviz.features.inspection.made_from import MadeFrom, made_from, origin_warnings
from qviz.features.layer_error import LayerErrors, layers, require_layers
from qviz.features.tracing import Trace, trace
from qviz.features.what_if import LAYER_IMAGES, measured
from qviz.features.what_if.measure import Measure
from qviz.features.what_if.outcomes import Matching
from qviz.formatting import share
from qviz.structures import EncodedImage
from qviz.structures.dataset import spread
from qviz.structures.detections import CANDIDATE_FLOOR

__all__ = ["MAX_IMAGES", "Cause", "Cure", "Diagnosis", "Estimate", "Evidence", "SameNetwork", "diagnose"]

MAX_IMAGES, FIRST_IMAGES = 24, 8
SHOWN_OBJECTS = 3


def diagnose(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    *,
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    reference_path: str = "",
) -> Diagnosis:
    """Find out why a variant loses objects, and what brings them back.

    Args:
        images: At most `MAX_IMAGES` of them are used, evenly spread.
        score: Minimum confidence of an object, in [0, 1].
        iou: Minimum IoU of a matched pair, in (0, 1].
        reference_path: The reference's path in the commands of cures; by default the name of the reference.

    Returns:
        Causes, sorted by the share of the lost agreement that comes back without them, and cures, the best first.

    Raises:
        Cancelled.
        ImageError: No image can be read.
        ModelError: One of the models has no layers, because TensorFlow runs it.

    Example:
        >>> with qviz.open(FLOAT32, WRONG_RANGE, images=IMAGES) as session:
        ...     session.diagnose().causes[0].code
        'input_range'
    """
    require_layers(reference, variant)
    given = list(images)
    matching = Matching(score, iou, min(score, CANDIDATE_FLOOR))
    measure = Measure(context, reference, variant, spread(given, MAX_IMAGES), matching)
    return _Diagnosing(context, measure, len(given), matching, reference_path or reference.name).run()


class _Diagnosing:
    """A running diagnosis. `run` does all steps.

    Attributes:
        _result: The result so far. Until it has causes, the first answer remains the last one reported if it has some.
    """

    def __init__(self, context: Context, measure: Measure, given: int, matching: Matching, path: str) -> None:
        self._context, self._measure, self._matching, self._path = context, measure, matching, path
        self._reference, self._variant = measure.reference, measure.variant
        self._result = Diagnosis(
            self._reference.name,
            self._variant.name,
            len(measure.images),
            given,
            len(self._variant.inspection.graph.ops),
            SameNetwork("unknown", "Not compared yet."),
            variant_bytes=self._variant.bytes,
        )
        self._has_causes, self._before_step = False, ""

    def run(self) -> Diagnosis:
        """The whole diagnosis. Raises what `diagnose` raises."""
        self._step("Comparing the weights of both networks")
        origin = made_from(self._context, self._reference, self._variant)
        warnings = tuple(lint_comparison(self._reference, [self._variant]))
        opening = self._report(same_network=SameNetwork(origin.value, origin.reason), warnings=warnings)
        if origin.value == "no":
            self._count_losses()
            return self._other_network(origin)
        self._first_answer()
        self._result = opening
        traces = self._traces() if self._find_causes() else ()
        return self._report(traces=traces, complete=True)

    def _first_answer(self) -> None:
        """Find causes on a few of the images, if there are many, for a partial result."""
        every = self._measure
        if len(every.images) < 2 * FIRST_IMAGES:
            return
        self._measure = every.on(spread(every.images, FIRST_IMAGES))
        self._before_step = f"First answer, from {FIRST_IMAGES} images: "
        with suppress(ImageError):  # none of these can be read, but others may be
            self._find_causes()
        self._measure, self._before_step = every, ""

    def _step(self, text: str) -> None:
        self._context.check_cancelled()
        self._context.progress.step(f"{self._before_step}{text.lower()}" if self._before_step else text)

    def _report(self, **changes: object) -> Diagnosis:
        """The result with some fields changed, reported as a partial result; see `_result`."""
        self._result = replace(self._result, **changes)  # type: ignore[arg-type]
        self._has_causes |= bool(self._result.causes)
        if self._result.causes or not self._has_causes:
            self._context.progress.partial(self._result)
        return self._result

    def _find_causes(self) -> bool:
        """Count the losses on the measure's images, and find their causes. Returns whether there was enough to find."""
        self._count_losses()
        if self._result.agreement is None or self._result.too_few:
            return False
        settings = self._settings_cause()
        if settings is not None:
            self._report(causes=(settings,))
        self._inside(settings)
        return True

    def _count_losses(self) -> None:
        """Count what the unchanged variant loses."""
        self._step("Running both networks on the images")
        self._measure([frozenset()])
        outcomes = [self._measure.outcome(frozenset(), image) for image in self._measure.images]
        summary = summarise((change for row in outcomes for change in row.changes), ())
        self._report(
            images=len(self._measure.images),
            agreement=summary.agreement,
            objects=summary.reference_objects,
            lost=summary.lost,
            spurious=summary.spurious,
            changed=summary.lost + summary.spurious + summary.relabelled,
            skipped=tuple(self._measure.skipped),
        )

    def _other_network(self, origin: MadeFrom) -> Diagnosis:
        """The diagnosis if the two networks differ: nothing is then attributed to quantization."""
        cause = Cause(origin.code, "", origin.reason, (), None)
        cure = Cure("right_files", origin.cure, "", (origin.code,), None)
        warnings = (*origin_warnings(self._reference, self._variant, origin), *self._result.warnings)
        return self._report(causes=(cause,), cures=(cure,), warnings=tuple(warnings), complete=True)

    def _settings_cause(self) -> Cause | None:
        """A cause if the variant prepares images differently and the reference's settings bring objects back."""
        warning = next((one for one in self._result.warnings if one.code == "settings_differ"), None)
        if warning is None:
            return None
        first = self._reference.settings
        alike = {name: getattr(first, name) for name in COMPARED_SETTINGS}
        inspection = replace(self._variant.inspection, settings=replace(self._variant.inspection.settings, **alike))
        other = replace(self._variant, inspection=inspection)
        trial = Measure(self._context, self._reference, other, self._measure.images, self._matching)
        base, value = self._result.agreement or 0.0, trial([frozenset()])[0].agreement
        explained = (value - base) / (1 - base)
        if explained < MIN_EXPLAINED:
            return None
        back = f"With those of {self._reference.name}, {share(explained)} of the lost agreement comes back."
        evidence = Evidence("agreement with the reference's settings", value, "", f"on {self._result.images} images")
        return Cause("settings", "", f"{warning.message} {back}", (), explained, evidence=(evidence,))

    def _inside(self, settings: Cause | None) -> None:
        """Find the causes inside the network. settings: the cause in how images are prepared, or None."""
        self._step("Measuring the error of every layer")
        errors = layers(self._context.quiet(), self._reference, self._variant, self._measure.images[:LAYER_IMAGES])
        self._step("Running sets of operators in float")
        experiment = measured(self._context, self._measure, quick=True, errors=errors)
        whole = next((row.explained for row in experiment.sets if row.kind == "all"), None)
        self._report(experiment=experiment, whole=whole)
        self._step("Confirming causes")
        trials = Trials(self._measure, errors)
        warnings = [warning for warning in lint_model(self._variant) if not warning.advice]
        confirmation = confirmed(trials, experiment, warnings)
        causes = tuple(sorted([*confirmation.causes, *([settings] if settings else [])], key=_rank))
        together = trials.together(confirmation.trials).explained if confirmation.trials else None
        self._report(
            causes=causes,
            suspects=tuple(confirmation.suspects),
            together=together,
            cures=self._cures(confirmation, trials, errors),
        )

    def _cures(self, confirmation: Confirmed, trials: Trials, errors: LayerErrors) -> tuple[Cure, ...]:
        by_cause = dict(zip((cause.operators for cause in confirmation.causes), confirmation.trials, strict=True))

        def together(causes: Sequence[Cause]) -> Estimate | None:
            rows = [by_cause[cause.operators] for cause in causes if cause.operators in by_cause]
            return trials.together(rows).estimate if rows else None

        return cures_of(self._reference, self._variant, confirmation.sorted_causes, errors, together, self._path)

    def _traces(self) -> tuple[Trace, ...]:
        """Quick traces of the objects that lost most score, at most one per image."""
        self._step("Tracing the objects that show it best")
        traces: list[Trace] = []
        for image in self._measure.most_affected(SHOWN_OBJECTS, with_scores=True):
            self._context.check_cancelled()
            outcome = self._measure.outcome(frozenset(), image)
            if Change.LOST not in outcome.changes and min(outcome.shares, default=1.0) >= 1:
                continue
            number = min(range(len(outcome.shares)), key=lambda i: (outcome.shares[i], i))
            try:
                traces.append(
                    trace(
                        self._context.quiet(), self._reference, self._variant, image,
                        object_number=number, quick=True, score=self._matching.score,
                    )
                )  # fmt: skip
            except SettingsError:  # its box is not finite, so it cannot be followed
                continue
        return tuple(traces)


def _rank(cause: Cause) -> float:
    return -(cause.explained or 0.0)
