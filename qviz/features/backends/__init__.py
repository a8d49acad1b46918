"""Whether a file finds the same objects on other kernels: the same model and images on every backend of this machine.

All backends are compared, object by object, with the first one that runs the model. The first model is the reference.
The objects that a variant loses are of two groups: some are missing on the first backend too, so the file loses them;
the others are missing only on other kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from qviz.context import Context, Passes
from qviz.detector import AP_SCORE, PAGE_SCORE
from qviz.errors import DatasetError, ImageError, ModelError, SettingsError
from qviz.features.accuracy.ap import average_precision
from qviz.features.accuracy.truth import category_ids
from qviz.features.backends.first_difference import FirstDifference, first_differences
from qviz.features.backends.gpu import RefusedOperator
from qviz.features.backends.kinds import KINDS, chosen, missing
from qviz.features.backends.measure import Runs, run_on
from qviz.features.comparison.matching import Change, changes, summarise
from qviz.features.detection.inference import Images
from qviz.features.detection.models import LoadedModel
from qviz.formatting import listed
from qviz.result import Result, to_json
from qviz.structures import Dataset, Detections, EncodedImage, Inference

if TYPE_CHECKING:
    import pandas as pd

TIME_CAVEAT = (
    "Times were measured on this machine, which may have been doing other work; those of a software GPU driver, of"
    " TensorFlow Lite Micro and of the reference kernels do not predict times on a device."
)


@dataclass(frozen=True, slots=True)
class Backend:
    """One backend.

    Attributes:
        reason: Why it is not available, or the device on which it ran; empty for kernels of the CPU.
        precision: The precision in which it computes.
    """

    name: str
    available: bool
    reason: str
    precision: str


@dataclass(frozen=True, slots=True)
class BackendResult:
    """One model on one backend, compared with the same model on the first one.

    Attributes:
        images: Number of images.
        agreement: Agreement in [0, 1]; None if neither backend finds an object.
        max_score_delta: Largest change of the score of paired objects of one class, in either direction.
        ap: AP in [0, 1]; None without annotated objects.
        ms: Mean time per image in milliseconds; see TIME_CAVEAT.
    """

    backend: str
    precision: str
    images: int
    agreement: float | None
    kept: int
    shifted: int
    relabelled: int
    lost: int
    spurious: int
    max_score_delta: float | None
    ap: float | None
    ms: float | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that a backend does not run (op_type is None), or an operator that it leaves to the CPU.

    order: index of the operator; None if unknown.
    """

    backend: str
    op_type: str | None
    order: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class BackendPair:
    """One model on two backends. agreement: None if neither finds an object; max_score_delta: as in BackendResult."""

    first: str
    second: str
    agreement: float | None
    max_score_delta: float | None


@dataclass(frozen=True, slots=True)
class ModelOnBackends:
    """One model on all backends that run it.

    Attributes:
        results: Each backend, compared with the first one.
        first_differences: Empty unless they were requested.
        pairs: Every pair of backends.
    """

    name: str
    results: tuple[BackendResult, ...]
    refused: tuple[Refusal, ...]
    first_differences: tuple[FirstDifference, ...] = ()
    pairs: tuple[BackendPair, ...] = ()


@dataclass(frozen=True, slots=True)
class LostObjects:
    """Objects that the reference finds on its first backend and a variant does not find on one backend.

    Only backends that ran all images are counted.

    Attributes:
        lost: Number of lost objects.
        by_file: How many of them the variant loses on its first backend, too.
        by_kernels: How many of them it does not lose on its first backend.
    """

    name: str
    backend: str
    lost: int
    by_file: int
    by_kernels: int


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BackendComparison(Result):
    """Models on the backends of this machine.

    Attributes:
        losses: The lost objects of each variant on each backend.
        images: Number of images.
        score: Minimum confidence of an object.
        time_caveat: Sentences on what cannot be concluded from the times.
        skipped: One sentence per image that could not be run.
    """

    ROWS: ClassVar[str] = "models"

    backends: tuple[Backend, ...]
    models: tuple[ModelOnBackends, ...]
    losses: tuple[LostObjects, ...]
    images: int
    score: float
    time_caveat: str = TIME_CAVEAT
    skipped: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row per model and backend."""
        import pandas as pd

        rows = [{"model": model.name, **to_json(row)} for model in self.models for row in model.results]
        return pd.DataFrame(rows, columns=["model", *BackendResult.__slots__])


def backends(
    context: Context,
    models: Sequence[LoadedModel],
    images: Images,
    *,
    dataset: Dataset | None = None,
    on: Sequence[str] = (),
    score: float = PAGE_SCORE,
    iou: float = 0.5,
    first_difference: bool = False,
) -> BackendComparison:
    """Run every model on every backend.

    Args:
        models: The models, the reference first.
        images: Images to run on; if a dataset is given, its images.
        dataset: Annotated images for computing AP.
        on: Names in `KINDS`; by default all backends that are available.
        score, iou: Minimum confidence of an object, and minimum IoU of a pair.
        first_difference: Whether to also run the files operator by operator, on XNNPACK and on LiteRT's other kernels,
            to find the first operator that differs.

    Raises:
        ImageError: No image can be read.
        ModelError: A model is not a .tflite file.
        SettingsError: None of these backends is available.

    Example:
        >>> qviz.backends(INT8, images=IMAGES, on=["xnnpack", "reference"]).models[0].results[1].agreement > 0.9
        True
    """
    names = chosen(on)
    for model in models:
        if not model.layers_available:
            raise ModelError(f"{model.name} is not a .tflite file; backends run only those.")
    unavailable = {name: reason for name in names if (reason := missing(name))}
    skipped: list[str] = []
    runs: dict[str, dict[str, Runs]] = {model.digest: {} for model in models}
    passes = Passes(context, (len(names) - len(unavailable)) * len(models) * len(images))
    floor = score if dataset is None else min(score, AP_SCORE)
    for name in names:
        for model in models:
            if name in unavailable:
                continue
            context.progress.step(f"{KINDS[name].title}, {model.name}")
            result = run_on(passes.next(), name, model, images, floor, skipped)
            if result.unavailable:
                unavailable[name] = result.refusal
            else:
                runs[model.digest][name] = result
    comparison = _comparison(models, images, names, unavailable, runs, dataset, score, iou, skipped)
    if not first_difference:
        return comparison
    context.progress.step("Operator by operator")
    pairs = zip(models, comparison.models, strict=True)
    rows = [replace(row, first_differences=first_differences(context, model, images, names)) for model, row in pairs]
    return replace(comparison, models=tuple(rows))


def _comparison(
    models: Sequence[LoadedModel],
    images: Images,
    names: Sequence[str],
    unavailable: Mapping[str, str],
    runs: Mapping[str, Mapping[str, Runs]],
    dataset: Dataset | None,
    score: float,
    iou: float,
    skipped: Sequence[str],
) -> BackendComparison:
    if len(unavailable) == len(names):
        raise SettingsError(f"No backend is available: {' '.join(unavailable.values())}")
    digests = [image.digest for image in images]
    if not any(result.inferences for of_model in runs.values() for result in of_model.values()):
        refusals = [result.refusal for of_model in runs.values() for result in of_model.values() if result.refusal]
        raise ImageError(" ".join([*skipped[:3], *refusals[:3]]) or "There are no images.")
    measured = tuple(_model(model, runs[model.digest], images, dataset, score, iou) for model in models)
    return BackendComparison(
        tuple(_backend(name, unavailable, runs) for name in names),
        measured,
        tuple(_losses(models, runs, score, iou)),
        len(digests),
        score,
        skipped=tuple(skipped),
    )


def _backend(name: str, unavailable: Mapping[str, str], runs: Mapping[str, Mapping[str, Runs]]) -> Backend:
    devices = [of_model[name].device for of_model in runs.values() if name in of_model and of_model[name].device]
    reason = unavailable.get(name, listed(list(dict.fromkeys(devices))))
    return Backend(name, name not in unavailable, reason, KINDS[name].precision)


def _model(
    model: LoadedModel,
    runs: Mapping[str, Runs],
    images: Images,
    dataset: Dataset | None,
    score: float,
    iou: float,
) -> ModelOnBackends:
    rows, refused = [], []
    first: Runs | None = None
    for name, result in runs.items():
        if result.refusal:
            refused.append(Refusal(name, None, None, result.refusal))
        refused += [_refusal(name, row) for row in result.operators]
        if not result.inferences:
            continue
        first = first or result
        ap = None if dataset is None else _ap(model, dataset, images, result.inferences)
        rows.append(_row(name, first.inferences, result.inferences, ap, score, iou))
    ran = {name: result.inferences for name, result in runs.items() if result.inferences}
    pairs = tuple(_pair(one, other, ran, score, iou) for one, other in combinations(ran, 2))
    return ModelOnBackends(model.name, tuple(rows), tuple(refused), pairs=pairs)


def _pair(one: str, other: str, ran: Mapping[str, Mapping[str, Inference]], score: float, iou: float) -> BackendPair:
    row = _row(other, ran[one], ran[other], None, score, iou)
    return BackendPair(one, other, row.agreement, row.max_score_delta)


def _refusal(backend: str, row: RefusedOperator) -> Refusal:
    return Refusal(backend, row.op_type, row.order, row.reason)


def _row(
    name: str,
    first: Mapping[str, Inference],
    second: Mapping[str, Inference],
    ap: float | None,
    score: float,
    iou: float,
) -> BackendResult:
    kinds, deltas = [], []
    shared = [digest for digest in second if digest in first]
    for digest in shared:
        one, other = first[digest].detections.above(score), second[digest].detections.above(score)
        for row in changes(one, other, None, score, iou):
            kinds.append(row.change)
            if row.change in (Change.KEPT, Change.SHIFTED) and row.reference is not None and row.variant is not None:
                deltas.append(float(other.scores[row.variant] - one.scores[row.reference]))
    summary = summarise(kinds, deltas)
    milliseconds = [inference.milliseconds for inference in second.values()]
    return BackendResult(
        backend=name,
        precision=KINDS[name].precision,
        images=len(shared),
        agreement=summary.agreement,
        kept=summary.kept,
        shifted=summary.shifted,
        relabelled=summary.relabelled,
        lost=summary.lost,
        spurious=summary.spurious,
        max_score_delta=max(map(abs, deltas), default=None),
        ap=ap,
        ms=sum(milliseconds) / len(milliseconds),
    )


def _ap(model: LoadedModel, dataset: Dataset, images: Images, inferences: Mapping[str, Inference]) -> float | None:
    """AP over the images that were run; None if the annotations have no class of the model."""
    by_name = {image.name: image.digest for image in images}
    rows = [(row, by_name.get(row.name, "")) for row in dataset.images]
    detections = {
        row.id: inferences[digest].detections if digest in inferences else Detections.none() for row, digest in rows
    }
    try:
        classes = category_ids(model.inspection.labels, dataset.categories)
    except DatasetError:
        return None
    return average_precision(model.name, dataset, detections, classes).figures.ap


def _losses(
    models: Sequence[LoadedModel], runs: Mapping[str, Mapping[str, Runs]], score: float, iou: float
) -> list[LostObjects]:
    ran = [{name: row.inferences for name, row in runs[model.digest].items() if row.inferences} for model in models]
    if not ran[0]:
        return []
    truth = next(iter(ran[0].values()))
    rows = []
    for model, results in zip(models[1:], ran[1:], strict=True):
        lost = {name: _lost(truth, inferences, score, iou) for name, inferences in results.items()}
        by_file = next(iter(lost.values()), set())
        rows += [
            LostObjects(model.name, name, len(gone), len(gone & by_file), len(gone - by_file))
            for name, gone in lost.items()
            if results[name].keys() >= truth.keys()  # counts on fewer images would seem to be fewer losses
        ]
    return rows


def _lost(
    reference: Mapping[str, Inference], variant: Mapping[str, Inference], score: float, iou: float
) -> set[tuple[str, int]]:
    """(image digest, index in the reference's detections) of each object of the reference that the variant loses."""
    return {
        (digest, row.reference)
        for digest in variant
        if digest in reference
        for row in changes(reference[digest].detections, variant[digest].detections, None, score, iou)
        if row.change == Change.LOST and row.reference is not None
    }


def encoded_images(dataset: Dataset) -> list[EncodedImage]:
    """The images of a dataset. Raises ImageError."""
    return [image.encoded() for image in dataset.images]
