"""Compute a study: objects, AP, layers of the worst variants, pictures of the worst images.

Images are read when they are needed, never all at once. The corruption sweep and the profile run only on request.
"""

from __future__ import annotations

import platform
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from qviz.context import Context
from qviz.corruptions import corruptions_named
from qviz.detector import AP_SCORE, PAGE_SCORE, preview_job
from qviz.errors import ImageError, SettingsError
from qviz.features.accuracy import Evaluation, evaluate
from qviz.features.comparison import Comparison, compare_variant
from qviz.features.comparison.matching import worst_first
from qviz.features.corruption_sweep.out_of_range import has_ranges
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.cost import profile
from qviz.features.cost.tradeoff import Point, Tradeoff, tradeoff
from qviz.features.detection.inference import Reading, detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis import Diagnosis
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.object_risk import Risks, risk
from qviz.features.reporting.studied_models import studied_models
from qviz.features.reporting.study import Diagnosed, Provenance, StudiedImage, StudiedRanges, Study
from qviz.features.slices import slices
from qviz.features.slices.ranges import slice_ranges
from qviz.features.video import video
from qviz.features.what_if import NAMING_IMAGES, WhatIf, what_if
from qviz.structures import Dataset, DatasetImage, EncodedImage, Scheme, digest_of
from qviz.structures.dataset import spread
from qviz.structures.detections import CANDIDATE_FLOOR

MAX_COMPARED = 200
"""Maximum number of images, evenly spread over a larger set, on which objects are compared. AP is computed on all."""
MAX_SHOWN = 12
LAYER_IMAGES = 8
EXPERIMENT_BELOW = 0.85
"""If the agreement of a variant is below this, it is damaged, and sets of its operators are run in float."""
LAYER_VARIANTS = 2
SIDES = (1024, 800, 640, 480, 360)
JPEG_BUDGET = 1_900_000
"""Maximum bytes of all JPEGs together. The largest of SIDES with which they fit is used."""
INTEGER = {str(scheme) for scheme in (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)}
PACKAGES = ("ai-edge-litert", "numpy", "opencv-python-headless", "pillow", "pycocotools", "scipy", "plotly")


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """Options for the content of a study.

    Attributes:
        name: Title of the study; if empty, `float32 against int8, ...`.
        shown: Names of the images to show; empty for the worst ones.
        images: Maximum number of images to show.
        layers: Whether the layers of the worst variants are examined.
        evaluated: Whether AP is computed if there is a dataset.
        reference_as_truth: Whether the reference's own detections are used as ground truth for AP.
        score: Minimum confidence of an object.
        iou: Minimum overlap of a matched pair.
    """

    name: str = ""
    shown: tuple[str, ...] = ()
    images: int = MAX_SHOWN
    layers: bool = True
    evaluated: bool = True
    reference_as_truth: bool = False
    score: float = PAGE_SCORE
    iou: float = 0.5


def make_study(
    context: Context,
    models: Sequence[LoadedModel],
    images: Sequence[DatasetImage],
    dataset: Dataset | None = None,
    options: StudyOptions = StudyOptions(),
    made: Provenance = Provenance(),
    diagnoses: Mapping[str, Diagnosis] | None = None,
) -> Study:
    """Compute the study of these models: compare objects on `images` and, if there is a `dataset`, compute AP on it.

    Args:
        models: The models, the reference first.
        made: Date, command and digest of the dataset; the other fields are filled in.
        diagnoses: Digest of a variant -> its diagnosis on (some of) the same images. The study names its causes.

    Raises:
        ImageError: No image can be read.
    """
    compared = _ComparedImages(spread(images, MAX_COMPARED))
    cards = studied_models(context, models)
    annotated = dataset if options.evaluated else None
    total = len(compared.images) + (len(annotated.images) if annotated else 0)
    context.progress.step("Comparing objects")
    comparison = _compared(context, models, compared, options, total)
    evaluation = annotated and evaluate(
        context.reporting(lambda done, _: context.progress.advance(len(compared.images) + done, total)),
        models,
        annotated,
        reference_as_truth=options.reference_as_truth,
    )
    title = options.name or f"{cards[0].name} against {', '.join(card.name for card in cards[1:])}"
    provenance = _provenance(made, options, compared, dataset)
    study = Study(title, cards, comparison, (), {}, provenance, evaluation or None)
    if options.layers:
        context.progress.step("Layers, pictures and charts")
        study = replace(study, layers=_layers(context, study, models, compared))
        study = _with_diagnoses(study, diagnoses or {})
        missing = _experiments(context, study, models, compared)
        study = replace(study, experiments={**study.experiments, **missing})
    return replace(study, images=_pictures(context, study, compared, options))


@dataclass(slots=True, eq=False)
class _ComparedImages:
    """The images of a comparison. `by_digest` and `unread` are filled in while the images are read."""

    images: Sequence[DatasetImage]
    by_digest: dict[str, DatasetImage] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def read(self) -> Iterator[EncodedImage]:
        for image in self.images:
            try:
                encoded = image.encoded()
            except ImageError as error:
                self.unread.append(str(error))
                continue
            self.by_digest[encoded.digest] = image
            yield encoded

    def few(self, count: int) -> list[EncodedImage]:
        """At most `count` images that can be read, spread evenly."""
        return list(Reading().of(spread(self.images, count)))

    @property
    def digest(self) -> str:
        return digest_of("\n".join(sorted(self.by_digest)).encode())


def _compared(
    context: Context, models: Sequence[LoadedModel], compared: _ComparedImages, options: StudyOptions, total: int
) -> Comparison:
    detected = detect_images(
        context.reporting(lambda done, _: context.progress.advance(done, total)),
        models,
        compared.read(),
        len(compared.images),
        min(options.score, CANDIDATE_FLOOR),
    )
    skipped = [*compared.unread, *detected.skipped]
    if not detected.images:
        raise ImageError(" ".join(skipped[:3]) or "No image was given; a report needs some to compare objects on.")
    reference, *variants = models
    rows = [
        compare_variant(reference, variant, detected.images, detected.inferences, options.score, options.iou)
        for variant in variants
    ]
    return Comparison(reference.name, tuple(rows), (), tuple(skipped))


def _layers(
    context: Context, study: Study, models: Sequence[LoadedModel], compared: _ComparedImages
) -> dict[str, LayerErrors]:
    """Layer errors of the worst integer variants or, if there are none, of the worst variant.

    Empty if TensorFlow runs the models.
    """
    ranked = sorted(study.variants, key=lambda card: worst_first(study.summaries[card.name].agreement))
    integer = [card for card in ranked if card.scheme in INTEGER]
    chosen = {card.name for card in (integer or ranked[:1])[:LAYER_VARIANTS]}
    reference = models[0]
    return {
        card.name: layers(context.quiet(), reference, model, compared.few(LAYER_IMAGES))
        for card, model in zip(study.variants, models[1:], strict=True)
        if card.name in chosen and model.layers_available and reference.layers_available
    }


def _with_diagnoses(study: Study, diagnoses: Mapping[str, Diagnosis]) -> Study:
    """The study with the causes of these diagnoses, and the experiments that confirmed them."""
    rows = {card.name: diagnoses[card.sha256] for card in study.variants if card.sha256 in diagnoses}
    return replace(
        study,
        diagnoses={name: _diagnosed(row) for name, row in rows.items() if row.causes},
        experiments={name: row.experiment for name, row in rows.items() if row.experiment is not None},
    )


def _diagnosed(result: Diagnosis) -> Diagnosed:
    cure = next((cure.sentence for cure in result.cures if cure.command), "")
    return Diagnosed(result.images, result.causes, cure)


def _experiments(
    context: Context, study: Study, models: Sequence[LoadedModel], compared: _ComparedImages
) -> dict[str, WhatIf]:
    """Short name -> what comes back with operators in float.

    Only for damaged variants whose layers were measured and that have no such experiment yet.
    """
    images = compared.few(NAMING_IMAGES)
    return {
        card.name: what_if(
            context.quiet(), models[0], model, images, score=study.made.score, iou=study.made.iou, quick=True
        )
        for card, model in zip(study.variants, models[1:], strict=True)
        if worst_first(study.summaries[card.name].agreement) < EXPERIMENT_BELOW
        if card.name in study.layers and card.name not in study.experiments
        if study.layers[card.name].layers and not study.layers[card.name].warnings
    }


def worst_digests(comparison: Comparison, count: int = MAX_SHOWN) -> list[str]:
    """Digests of the `count` images with the most damage, the worst first.

    Damage is measured relative to the worst image of each variant, so that all variants count equally.
    """
    damage: dict[str, float] = {}
    for variant in comparison.variants:
        damages = {image.digest: image.summary.damage for image in variant.images}
        largest = max(damages.values(), default=0) or 1
        for digest, value in damages.items():
            damage[digest] = damage.get(digest, 0.0) + value / largest
    ranked = sorted(damage, key=lambda digest: -damage[digest])
    return [digest for rank, digest in enumerate(ranked) if damage[digest] > 0 or rank < 3][:count]


def _pictures(
    context: Context, study: Study, compared: _ComparedImages, options: StudyOptions
) -> tuple[StudiedImage, ...]:
    """The chosen images, or else the worst ones, as JPEGs that together fit into `JPEG_BUDGET`."""
    named = [digest for digest, image in compared.by_digest.items() if image.name in options.shown]
    digests = named[:MAX_SHOWN] or worst_digests(study.comparison, min(options.images, MAX_SHOWN))
    encoded = [compared.by_digest[digest].encoded() for digest in digests]
    previews: list[tuple[int, int, bytes]] = []
    for side in SIDES:
        jobs = [context.engine.submit(preview_job, image, side) for image in encoded]
        previews = [job.result() for job in jobs]
        if sum(len(jpeg) for _, _, jpeg in previews) <= JPEG_BUDGET:
            break
    return tuple(StudiedImage(image.name, image.digest, *row) for image, row in zip(encoded, previews, strict=True))


def _provenance(
    provenance: Provenance, options: StudyOptions, compared: _ComparedImages, dataset: Dataset | None
) -> Provenance:
    return replace(
        provenance,
        versions={**versions(), **provenance.versions},
        dataset=dataset.name if dataset is not None else "",
        images_digest=compared.digest,
        compared=len(compared.by_digest),
        score=options.score,
        iou=options.iou,
        ap_score=AP_SCORE,
        layer_images=min(LAYER_IMAGES, len(compared.images)) if options.layers else 0,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    installed = {"Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue  # another build of the same package, such as opencv-python
    return installed


EXTRAS = ("robustness", "tradeoff", "slices", "risk")
"""Sections that take minutes and are computed only on request."""
MAX_SWEPT = 48
"""Maximum number of images, evenly spread, on which the sweep runs."""
RUNS = 50
MAX_RISKY = 12
"""Number of objects with the highest risk in a study."""
MAX_FRAMES = 20_000
"""Maximum number of frames of a video in a study."""


def check_extras(also: Collection[str]) -> None:
    """Raise SettingsError for a name that is not one of EXTRAS."""
    for name in also:
        if name not in EXTRAS:
            raise SettingsError(f"{name!r} cannot be added to a report; choose some of {', '.join(EXTRAS)}.")


def with_extras(
    context: Context,
    study: Study,
    models: Sequence[LoadedModel],
    images: Sequence[DatasetImage],
    dataset: Dataset | None,
    also: Collection[str],
) -> Study:
    """The study with these extras. The sweep measures AP if there is a dataset, or else agreement on the images."""
    check_extras(also)
    if "robustness" in also:
        data = dataset or Dataset("images", tuple(images), ())
        few = data.spread(MAX_SWEPT)
        context.progress.step("Running the corruptions")
        study = replace(study, robustness=sweep(context, models, few, corruptions_named(["lighting"])))
    if "tradeoff" in also:
        context.progress.step("Measuring size, latency and memory")
        study = replace(study, profile=profile(context, models, threads=(context.threads,), runs=RUNS))
    if "slices" in also and dataset is not None and study.evaluation is not None and study.variants:
        study = _with_slices(context, study, study.evaluation, models, dataset)
    if "risk" in also:
        study = replace(study, risks=_risks(context, study, models, images))
    return study


def _risks(
    context: Context, study: Study, models: Sequence[LoadedModel], images: Sequence[DatasetImage]
) -> dict[str, Risks]:
    """Short name of each variant -> the risk of the objects; that on each image is estimated from the others."""
    encoded = list(Reading().of(spread(images, MAX_COMPARED)))
    risks = {}
    for card, variant in zip(study.variants, models[1:], strict=True):
        context.progress.step(f"Estimating which objects {card.name} loses")
        result = risk(context, models[0], variant, encoded, score=study.made.score, iou=study.made.iou)
        risks[card.name] = replace(result, objects=result.objects[:MAX_RISKY])
    return risks


def _with_slices(
    context: Context, study: Study, evaluation: Evaluation, models: Sequence[LoadedModel], dataset: Dataset
) -> Study:
    """The study with slices, and for each variant with calibrated ranges the images of each slice outside them.

    Only slices with a significant loss list the names of their images.
    """
    result = slices(context, evaluation, dataset)
    sliced, ranges = replace(evaluation, slices=result), {}
    for card, variant in zip(study.variants, models[1:], strict=True):
        if result.rows and has_ranges(models[0], variant):
            row = slice_ranges(context, sliced, (models[0], variant), dataset)
            ranges[card.name] = StudiedRanges(row.images, row.alarms, row.slices)
    rows = tuple(row if row.significant else replace(row, image_names=()) for row in result.rows)
    return replace(study, evaluation=replace(evaluation, slices=replace(result, rows=rows)), ranges=ranges)


def with_videos(context: Context, study: Study, models: Sequence[LoadedModel], clip: Path, every: int = 1) -> Study:
    """The study with, for each variant, the results of reference and variant on the frames of a clip.

    At most `MAX_FRAMES` frames of each result are stored. Raises ImageError if the clip cannot be read.

    Args:
        every: Use every n-th frame.
    """
    videos = {}
    for card, variant in zip(study.variants, models[1:], strict=True):
        result = video(context, models[0], variant, clip, every=every, score=study.made.score)
        videos[card.name] = replace(result, frames=tuple(spread(result.frames, MAX_FRAMES)))
    return replace(study, videos=videos)


def study_tradeoff(study: Study) -> Tradeoff:
    """Size, latency and quality (AP, or agreement without annotations) of the measured models."""
    assert study.profile is not None, "the models were not profiled"
    measured = {row.digest: row for row in study.profile.models}
    annotated = study.evaluation is not None
    quality = _accuracy(study) if annotated else _agreement(study)
    kind = "AP" if annotated else "agreement"
    return tradeoff(
        [
            Point(model.name, model.bytes, measured[model.sha256].p50_ms, quality[model.name], kind)
            for model in study.models
            if model.sha256 in measured
        ]
    )


def _accuracy(study: Study) -> dict[str, float | None]:
    models = study.evaluation.models if study.evaluation is not None else ()
    return {model.name: row.ap for model, row in zip(study.models, models, strict=True)}


def _agreement(study: Study) -> dict[str, float | None]:
    has_objects = any(row.reference_objects for row in study.summaries.values())
    reference_agreement: dict[str, float | None] = {study.reference.name: 1.0 if has_objects else None}
    return reference_agreement | {name: row.agreement for name, row in study.summaries.items()}
