"""One comparison, whole: all that a report tells, and how it came about.

Models, variants of the comparison and losses of the evaluation stand in the same order, the reference first. They are
told apart by `StudiedModel.name`, which is short and unique; two files may share a name.

Whether a study that came from a file holds together: what the type of a field cannot say.

Everything that shows a study relies on these, so that a file made by hand is refused here, in a sentence, and nowhere
later.

A study as a file: JSON, its arrays and JPEGs in base64, so that it opens on another machine without the models.

What comes from a file is checked field by field (`typed_json`, `study_checks`) and never executed. The detections of
every image are left out: they would be most of the file and no page of a study shows them; `qviz evaluate` has them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from qviz.errors import StudyError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.errors import KINDS
from qviz.features.comparison import ComparedObject, Comparison
from qviz.features.comparison.matching import Change, Summary
from qviz.features.corruption_sweep.result import CLEAN, Robustness
from qviz.features.cost import Profile
from qviz.features.detection.models import LoadedModel, short_names
from qviz.features.inspection.lint import lint_comparison, lint_model
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error import LayerErrors
from qviz.result import Misfit, decode, encode

if TYPE_CHECKING:
    from qviz.features.comparison import ComparedObject


MODELS = range(2, 65)
IMAGES = range(13)
SIDES = range(1, 65_536)
JPEG = b"\xff\xd8\xff"
WITHOUT = {Change.LOST: ("variant",), Change.SPURIOUS: ("reference",)}
"""The side that a change has no box on."""


def faults(study: Study) -> Iterator[str]:
    """A clause for each thing that does not fit."""
    names = [model.name for model in study.models]
    if len(names) not in MODELS:
        yield f"it has {len(names)} models, where {MODELS.start} to {MODELS.stop - 1} belong"
        return
    if twice := [name for name, count in Counter(names).items() if count > 1 or not name]:
        yield f"models are not told apart by their names ({twice[0]!r})"
    if any(model.bytes < 1 for model in study.models):
        yield "a model has no bytes"
    yield from _comparison(study)
    yield from _pictures(study.images)
    yield from _evaluation(study)
    yield from _layers(study)
    yield from _robustness(study)
    yield from _profile(study)


def _comparison(study: Study) -> Iterator[str]:
    compared = study.comparison.variants
    if len(compared) != len(study.variants):
        yield f"{len(compared)} variants are compared, but {len(study.variants)} are there"
    known = {str(change) for change in Change}
    for image in (image for variant in compared for image in variant.images):
        for found in image.objects:
            if found.change not in known:
                yield f"an object of {image.image!r} is {found.change!r}, which is no change"
            elif not _whole(found):
                yield f"an object of {image.image!r} is {found.change}, but its boxes do not say so"


def _whole(found: ComparedObject) -> bool:
    """Both sides there, or the one that the change leaves; boxes of four numbers."""
    missing = WITHOUT.get(Change(found.change), ())
    sides = {
        "reference": (found.reference_box, found.reference_score),
        "variant": (found.variant_box, found.variant_score),
    }
    there = all(
        box is not None and len(box) == 4 and score is not None
        for name, (box, score) in sides.items()
        if name not in missing
    )
    return there and (bool(missing) or found.iou is not None)


def _pictures(images: tuple[StudiedImage, ...]) -> Iterator[str]:
    if len(images) not in IMAGES:
        yield f"it shows {len(images)} images, where at most {IMAGES.stop - 1} belong"
    for image in images:
        if image.width not in SIDES or image.height not in SIDES:
            yield f"{image.name!r} has {image.width} × {image.height} pixels"
        if not image.jpeg.startswith(JPEG):
            yield f"{image.name!r} is not a JPEG"


def _evaluation(study: Study) -> Iterator[str]:
    found = study.evaluation
    if found is None:
        return
    counts = (len(found.models) - 1, len(found.losses), len(found.details))
    if any(count != len(study.variants) for count in counts):
        yield "its evaluation is of other models"
    for detail in found.details:
        kinds = [row.kind for pair in detail.errors for row in pair]
        if any(kind not in KINDS for kind in kinds):
            yield "it has an unknown kind of error"


def _layers(study: Study) -> Iterator[str]:
    variants = {model.name for model in study.variants}
    for name, errors in study.layers.items():
        if name not in variants:
            yield f"it has layers of {name!r}, which is no variant of it"
        orders = [layer.order for layer in errors.layers]
        if len(set(orders)) != len(orders):
            yield f"two layers of {name!r} have one order"


def _robustness(study: Study) -> Iterator[str]:
    found = study.robustness
    if found is None:
        return
    if len(found.models) != len(study.models) or len(set(found.models)) != len(found.models):
        yield "its sweep is of other models"
    named = {(row.model, row.corruption) for row in found.points}
    named |= {(row.model, row.corruption) for row in found.interactions}
    named |= {(row.model, row.corruption) for row in found.breaking_points}
    swept = {model for model, _ in named} | {row.model for row in found.summary}
    if swept - set(found.models):
        yield "its sweep has a row of a model that was not swept"
    if {corruption for _, corruption in named} - {*found.corruptions, CLEAN}:
        yield "its sweep has a row of a corruption that was not run"


def _profile(study: Study) -> Iterator[str]:
    if study.profile is None:
        return
    for row in study.profile.models:
        if row.p50_ms <= 0 or row.bytes < 1:
            yield f"the latency of {row.name!r} is no time"


KEY = "qviz_study"
VERSION = 1
MAX_BYTES = 48 << 20
CURE = "Make it anew with `qviz report … --save-study FILE`."


def to_json(study: Study) -> dict[str, Any]:
    """{"qviz_study": version, "study": ...}"""
    found = study.evaluation
    kept = study if found is None else replace(study, evaluation=replace(found, results=(), image_ids={}))
    return {KEY: VERSION, "study": encode(kept)}


def from_json(said: Any, where: str = "The file") -> Study:
    """The study that `to_json` told. Raises StudyError."""
    if not isinstance(said, dict) or KEY not in said:
        raise StudyError(f"{where} is no study of qviz. {CURE}")
    if said[KEY] != VERSION:
        raise StudyError(
            f"{where} is a study of version {str(said[KEY])[:20]}; this qviz reads version {VERSION}. {CURE}"
        )
    try:
        study: Study = decode(Study, said.get("study"), "study")
    except Misfit as misfit:
        raise StudyError(f"{where} is a damaged study: {misfit}. {CURE}") from None
    if fault := next(faults(study), None):
        raise StudyError(f"{where} is a damaged study: {fault}. {CURE}")
    return study


def study_bytes(study: Study) -> bytes:
    """The file. Raises StudyError where it would be too large to be read again."""
    data = json.dumps(to_json(study), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise StudyError(
            f"The study has {len(data) >> 20} MB; files of up to {MAX_BYTES >> 20} are read. Compare fewer images."
        )
    return data


def read_study(data: bytes, name: str) -> Study:
    """The study in a file. name: for sentences. Raises StudyError."""
    if len(data) > MAX_BYTES:
        raise StudyError(f"{name} has {len(data) >> 20} MB; studies of up to {MAX_BYTES >> 20} MB are read.")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of a thousand digits, lists without end
        raise StudyError(f"{name} is no JSON, so it is no study of qviz. {CURE}") from None
    return from_json(said, name)


def is_study(data: bytes) -> bool:
    """Whether a file says of itself that it is one."""
    return data[:64].lstrip().replace(b" ", b"").startswith(b'{"%s":' % KEY.encode())


@dataclass(frozen=True, slots=True)
class StudiedModel:
    """A model's card. bytes: of the file; sources: field of the settings -> who said it; labels: how many."""

    name: str
    file: str
    scheme: str
    bytes: int
    sha256: str
    facts: tuple[str, ...]
    settings: Mapping[str, Any]
    sources: Mapping[str, str]
    labels: int
    warnings: tuple[Warning, ...] = ()


@dataclass(frozen=True, slots=True)
class StudiedImage:
    """An image to look at. width, height: its own pixels, which boxes refer to; jpeg: for the screen, maybe smaller."""

    name: str
    digest: str
    width: int
    height: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a study came about. date: as the caller writes it; compared: images that objects were compared on."""

    date: str = ""
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    dataset: str = ""
    dataset_digest: str = ""
    images_digest: str = ""
    compared: int = 0
    score: float = 0.0
    iou: float = 0.0
    ap_score: float = 0.0
    layer_images: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """layers: by the variant's short name. evaluation, robustness, profile: None where they were not asked for."""

    name: str
    models: tuple[StudiedModel, ...]
    comparison: Comparison
    images: tuple[StudiedImage, ...]
    layers: Mapping[str, LayerErrors]
    made: Provenance
    evaluation: Evaluation | None = None
    robustness: Robustness | None = None
    profile: Profile | None = None

    @property
    def reference(self) -> StudiedModel:
        return self.models[0]

    @property
    def variants(self) -> tuple[StudiedModel, ...]:
        return self.models[1:]

    @property
    def summaries(self) -> dict[str, Summary]:
        """Of each variant, over all compared images, by its short name."""
        rows = zip(self.variants, self.comparison.variants, strict=True)
        return {model.name: compared.summary for model, compared in rows}

    @property
    def losses(self) -> dict[str, VariantLoss]:
        """Of each variant by its short name; empty without an evaluation."""
        if self.evaluation is None:
            return {}
        rows = zip(self.variants, self.evaluation.losses, strict=True)
        return {model.name: replace(loss, variant=model.name) for model, loss in rows}

    def objects(self, image: StudiedImage) -> dict[str, tuple[ComparedObject, ...]]:
        """What each variant did to the objects of one image, by its short name."""
        rows = zip(self.variants, self.comparison.variants, strict=True)
        return {
            model.name: next((seen.objects for seen in compared.images if seen.digest == image.digest), ())
            for model, compared in rows
        }

    def to_json(self) -> dict[str, Any]:
        """All of it but the raw detections."""
        return to_json(self)

    @staticmethod
    def from_json(said: Any, where: str = "The file") -> Study:
        """The study that `to_json` gave. where: for sentences. Raises StudyError."""
        return from_json(said, where)


def studied_models(models: Sequence[LoadedModel], threads: int = 1) -> tuple[StudiedModel, ...]:
    """The cards of these models, the reference first. threads: of an interpreter."""
    names = _told_apart([short_names(models)[model.digest] for model in models])
    return tuple(_card(name, model, models[0], threads) for name, model in zip(names, models, strict=True))


def _told_apart(names: Sequence[str]) -> Iterator[str]:
    """The names, a number behind those that came before."""
    for place, name in enumerate(names):
        before = names[:place].count(name)
        yield f"{name} ({before + 1})" if before else name


def _card(name: str, model: LoadedModel, reference: LoadedModel, threads: int) -> StudiedModel:
    warnings = lint_model(model, threads)
    if model is not reference:
        warnings += lint_comparison(reference, [model])
    return StudiedModel(
        name=name,
        file=model.name,
        scheme=str(model.scheme),
        bytes=model.bytes,
        sha256=model.digest,
        facts=tuple(_facts(model)),
        settings=model.settings.to_json(),
        sources=dict(model.inspection.sources),
        labels=len(model.inspection.labels),
        warnings=tuple(warnings),
    )


def _facts(model: LoadedModel) -> Iterator[str]:
    """What the file is, in a few words each."""
    facts = model.inspection.facts
    yield f"{facts.weight_bits}-bit weights"
    if facts.quantized_operators:
        yield f"{facts.quantized_operators} of {facts.operators} operators quantized"
        yield f"{len(facts.float_islands)} float islands"
        yield "per channel" if facts.per_channel else "per tensor"
    else:
        yield f"{facts.operators} operators"
    for tensor in model.inspection.graph.input_tensors()[:1]:
        yield f"input {'×'.join(str(side) for side in tensor.shape[1:])} {tensor.dtype}"
