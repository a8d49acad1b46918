"""The work behind a study: objects compared, AP evaluated, layers of the worst variants run, the worst images fetched.

Images are read as they are needed, never held all at once. Every step goes through the engine.

What a study may hold beside its comparison, where somebody asks for it: a sweep of light, latency and trade-off.
"""

from __future__ import annotations

import platform
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version

from qviz.context import Context
from qviz.corruptions import corruptions_named
from qviz.detector import AP_SCORE, PAGE_SCORE, preview_job
from qviz.engine import Engine
from qviz.errors import ImageError, SettingsError
from qviz.features.accuracy import evaluate
from qviz.features.comparison import Comparison, compare_variant
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.cost import profile
from qviz.features.cost.tradeoff import Point, Tradeoff, tradeoff
from qviz.features.detection.inference import detect_images
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layer_errors
from qviz.features.reporting.study import Made, StudiedImage, Study, studied_models
from qviz.features.settings import IMAGES as GUESS_IMAGES
from qviz.features.settings import guess_all
from qviz.progress import Advance, OnProgress, silent
from qviz.store import Store
from qviz.structures import Dataset, DatasetImage, EncodedImage, Scheme, digest_of
from qviz.structures.detections import CANDIDATE_FLOOR

MOST_COMPARED = 200
"""Images of a large set, spread evenly, on which objects are compared; AP is computed on all."""
MOST_SHOWN = 12
LAYER_IMAGES = 8
LAYER_VARIANTS = 2
SIDES = (1024, 800, 640, 480, 360)
JPEG_BUDGET = 1_900_000
"""Bytes that all JPEGs together may have; the longest side gets smaller until they fit."""
INTEGER = {str(scheme) for scheme in (Scheme.INT8, Scheme.INT16X8, Scheme.MIXED)}
PACKAGES = ("ai-edge-litert", "numpy", "opencv-python-headless", "pillow", "pycocotools", "scipy", "plotly")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a study holds. shown: names of the images to show, empty for the worst; name: its title, "" for a usual one.

    evaluated: whether AP is computed; reference_as_truth: against what the reference itself finds.
    """

    name: str = ""
    shown: tuple[str, ...] = ()
    images: int = MOST_SHOWN
    layers: bool = True
    evaluated: bool = True
    reference_as_truth: bool = False
    score: float = PAGE_SCORE
    iou: float = 0.5


def make_study(
    engine: Engine,
    models: Sequence[LoadedModel],
    images: Sequence[DatasetImage],
    dataset: Dataset | None = None,
    wanted: Wanted = Wanted(),
    made: Made = Made(),
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
) -> Study:
    """The study of these models, the reference first: on `images`, and in AP on `dataset` where there is one.

    made: date, command and digest as the caller knows them; the rest is filled in.
    Raises Cancelled, DatasetError, ImageError, WorkerError.
    """
    seen = _Seen(_spread(images, MOST_COMPARED))
    models = guess_all(engine, models, list(seen.few(GUESS_IMAGES)))
    cards = studied_models(models, threads)
    judged = dataset if wanted.evaluated else None
    steps = _Steps(on_progress, [len(seen.images), len(judged.images) if judged else 0])
    comparison = _compared(engine, models, seen, wanted, steps.part(0), threads, store, cancel)
    evaluation = judged and evaluate(
        engine, models, judged, AP_SCORE, steps.part(1), threads, store, cancel, wanted.reference_as_truth
    )
    study = Study(
        wanted.name or f"{cards[0].name} against {', '.join(card.name for card in cards[1:])}", cards, comparison, (),
        {}, _made(made, wanted, seen, dataset), evaluation or None,
    )  # fmt: skip
    if wanted.layers:
        study = replace(study, layers=_layers(engine, study, models, seen, cancel))
    return replace(study, images=_pictures(engine, study, seen, wanted))


@dataclass(slots=True)
class _Steps:
    """One count over several pieces of work."""

    on_progress: OnProgress
    totals: list[int]

    def part(self, number: int) -> OnProgress:
        before, total = sum(self.totals[:number]), sum(self.totals)
        return lambda done, _: self.on_progress(min(before + done, total), total)


@dataclass(slots=True, eq=False)
class _Seen:
    """The images of a comparison. by_digest: filled while they are read."""

    images: Sequence[DatasetImage]
    by_digest: dict[str, DatasetImage] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)

    def read(self) -> Iterator[EncodedImage]:
        for image in self.images:
            try:
                found = image.encoded()
            except ImageError as error:
                self.unread.append(str(error))
                continue
            self.by_digest[found.digest] = image
            yield found

    def few(self, most: int) -> Iterator[EncodedImage]:
        """At most so many of those that can be read, spread evenly."""
        for image in _spread(self.images, most):
            try:
                yield image.encoded()
            except ImageError:
                continue  # the comparison says so

    @property
    def digest(self) -> str:
        return digest_of("\n".join(sorted(self.by_digest)).encode())


def _spread(images: Sequence[DatasetImage], most: int) -> list[DatasetImage]:
    if len(images) <= most:
        return list(images)
    return [images[i * len(images) // most] for i in range(most)]


def _compared(
    engine: Engine,
    models: Sequence[LoadedModel],
    seen: _Seen,
    wanted: Wanted,
    on_progress: OnProgress,
    threads: int,
    store: Store | None,
    cancel: threading.Event | None,
) -> Comparison:
    low = min(wanted.score, CANDIDATE_FLOOR)
    found = detect_images(
        Context(engine, store=store, threads=threads, progress=Advance(on_progress), cancel=cancel),
        models,
        seen.read(),
        len(seen.images),
        low,
    )
    said = [*seen.unread, *found.skipped]
    if not found.images:
        raise ImageError(" ".join(said[:3]) or "No image was given; a report needs some to compare objects on.")
    reference, *variants = models
    rows = [compare_variant(reference, v, found.images, found.inferences, wanted.score, wanted.iou) for v in variants]
    return Comparison(reference.name, tuple(rows), (), tuple(said))


def _layers(
    engine: Engine,
    study: Study,
    models: Sequence[LoadedModel],
    seen: _Seen,
    cancel: threading.Event | None,
) -> dict[str, LayerErrors]:
    """Of the worst integer variants; without one, of the worst that there is. Nothing where TensorFlow runs it."""
    ranked = sorted(study.variants, key=lambda card: study.summaries[card.name].agreement)
    integer = [card for card in ranked if card.scheme in INTEGER]
    chosen = {card.name for card in (integer or ranked[:1])[:LAYER_VARIANTS]}
    reference = models[0]
    return {
        card.name: layer_errors(engine, reference, model, seen.few(LAYER_IMAGES), total=LAYER_IMAGES, cancel=cancel)
        for card, model in zip(study.variants, models[1:], strict=True)
        if card.name in chosen and model.layers_available and reference.layers_available
    }


def worst_digests(comparison: Comparison, most: int = MOST_SHOWN) -> list[str]:
    """Digests of the images with most damage. Each variant's own worst image counts as one, however broken it is."""
    damage: dict[str, float] = {}
    for variant in comparison.variants:
        known = {image.digest: image.summary.damage for image in variant.images}
        largest = max(known.values(), default=0) or 1
        for digest, value in known.items():
            damage[digest] = damage.get(digest, 0.0) + value / largest
    ranked = sorted(damage, key=lambda digest: -damage[digest])
    return [digest for place, digest in enumerate(ranked) if damage[digest] > 0 or place < 3][:most]


def _pictures(engine: Engine, study: Study, seen: _Seen, wanted: Wanted) -> tuple[StudiedImage, ...]:
    """The images chosen, or the worst, as JPEGs that fit the budget together."""
    named = [digest for digest, image in seen.by_digest.items() if image.name in wanted.shown]
    digests = named[:MOST_SHOWN] or worst_digests(study.comparison, min(wanted.images, MOST_SHOWN))
    encoded = [seen.by_digest[digest].encoded() for digest in digests]
    found: list[tuple[int, int, bytes]] = []
    for side in SIDES:
        jobs = [engine.submit(preview_job, image, side) for image in encoded]
        found = [job.result() for job in jobs]
        if sum(len(jpeg) for _, _, jpeg in found) <= JPEG_BUDGET:
            break
    return tuple(StudiedImage(image.name, image.digest, *row) for image, row in zip(encoded, found, strict=True))


def _made(made: Made, wanted: Wanted, seen: _Seen, dataset: Dataset | None) -> Made:
    return replace(
        made,
        versions={**versions(), **made.versions},
        dataset=dataset.name if dataset is not None else "",
        images_digest=seen.digest,
        compared=len(seen.by_digest),
        score=wanted.score,
        iou=wanted.iou,
        ap_score=AP_SCORE,
        layer_images=min(LAYER_IMAGES, len(seen.images)) if wanted.layers else 0,
    )


def versions() -> dict[str, str]:
    """Of Python and of the packages that figures depend on."""
    found = {"Python": platform.python_version(), "system": f"{platform.system()} {platform.machine()}"}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue  # another build of the same package, such as opencv-python
    return found


EXTRAS = ("robustness", "tradeoff")
"""Sections that are made only where they are named: they take minutes."""
SWEPT = 48
"""Images, spread evenly, that the sweep runs on."""
RUNS = 50


def check_extras(also: Collection[str]) -> None:
    """Before any work. Raises SettingsError."""
    for name in also:
        if name not in EXTRAS:
            raise SettingsError(f"{name!r} cannot be added to a report; choose some of {', '.join(EXTRAS)}.")


def with_extras(
    engine: Engine,
    study: Study,
    models: Sequence[LoadedModel],
    images: Sequence[DatasetImage],
    dataset: Dataset | None,
    also: Collection[str],
    on_progress: OnProgress = silent,
    threads: int = 1,
    store: Store | None = None,
    cancel: threading.Event | None = None,
) -> Study:
    """The study with these extras: the sweep in AP where there is a dataset, else in agreement on the images.

    Raises Cancelled, DatasetError, SettingsError, WorkerError.
    """
    check_extras(also)
    if "robustness" in also:
        data = dataset or Dataset("images", tuple(images), ())
        few = replace(data, images=tuple(_study_extras_spread(data.images, SWEPT)))
        swept = sweep(
            engine,
            models,
            few,
            corruptions_named(["lighting"]),
            on_progress=on_progress,
            threads=threads,
            store=store,
            cancel=cancel,
        )
        study = replace(study, robustness=swept)
    if "tradeoff" in also:
        measured = profile(engine, models, (threads,), RUNS, on_progress)
        study = replace(study, profile=measured)
    return study


def _study_extras_spread(images: Sequence[DatasetImage], most: int) -> Sequence[DatasetImage]:
    if len(images) <= most:
        return images
    return [images[i * len(images) // most] for i in range(most)]


def weighed(study: Study) -> Tradeoff:
    """Size against latency against AP, or agreement where AP is not known, of the models that were measured."""
    assert study.profile is not None, "without a measurement there is no trade-off"
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
    found = study.evaluation.models if study.evaluation is not None else ()
    return {model.name: row.ap for model, row in zip(study.models, found, strict=True)}


def _agreement(study: Study) -> dict[str, float | None]:
    own: dict[str, float | None] = {study.reference.name: 1.0}
    return own | {name: row.agreement for name, row in study.summaries.items()}
