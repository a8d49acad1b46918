"""A study: all results of a comparison of several models that a report shows, and how they were obtained.

Models, variants of the comparison and losses of the evaluation are in the same order, the reference first. Models are
identified by `StudiedModel.name`, which is short and unique. File names are not unique.

A study is saved as JSON with arrays and JPEGs in base64, so that it opens on another machine without the models. The
content of a file is checked against the field types (`qviz.result.decode`), then for consistency (`_faults`). Nothing
in the file is executed. Raw detections are not saved, because they would be most of the file and no page shows them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qviz.errors import StudyError
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.errors import KINDS
from qviz.features.comparison import ComparedObject, Comparison
from qviz.features.comparison.matching import Change, Summary
from qviz.features.corruption_sweep.result import CLEAN, Robustness
from qviz.features.cost import Profile
from qviz.features.diagnosis.result import Cause
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error import LayerErrors
from qviz.features.object_risk import Risks
from qviz.features.object_risk.estimate import OUTCOMES
from qviz.features.slices.ranges import SliceAlarm
from qviz.features.video import VideoResult
from qviz.features.what_if import WhatIf
from qviz.formatting import plural
from qviz.result import Misfit, decode, encode
from qviz.structures.json_document import NotJson, parse_json

KEY = "qviz_study"
VERSION = 1
MAX_BYTES = 48 << 20
CURE = "Make it again with `qviz report … --save-study FILE`."


@dataclass(frozen=True, slots=True)
class StudiedModel:
    """One model of a study.

    Attributes:
        name: Name on the page, short and unique.
        file: Name of the file.
        bytes: Size of the file.
        facts: Bits, operators and input, in a few words each.
        settings: Settings by which its images are prepared and its outputs are decoded.
        sources: Setting -> where its value comes from.
        labels: Number of class names.
    """

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
    """One image of a study.

    Attributes:
        width, height: Size of the original image in pixels; boxes are in these pixels.
        jpeg: The image as a JPEG, which may be smaller than the original.
    """

    name: str
    digest: str
    width: int
    height: int
    jpeg: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a study was made.

    Attributes:
        date: Date as the caller gave it.
        command: Shell command that makes the page.
        versions: Name -> version of Python and of the packages that the figures depend on.
        dataset, dataset_digest: Name and digest of the dataset.
        images_digest: Digest of the compared images.
        compared: Number of images on which objects were compared.
        score, iou: Minimum confidence of an object, and minimum IoU of a pair.
        ap_score: Minimum confidence of a detection that counts in AP.
        layer_images: Number of images on which layer errors were measured.
    """

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


@dataclass(frozen=True, slots=True)
class Diagnosed:
    """The causes of one variant's loss, the number of images on which they were measured, and the best cure, if any."""

    images: int
    causes: tuple[Cause, ...]
    cure: str


@dataclass(frozen=True, slots=True)
class StudiedRanges:
    """How many images drive the network far outside a variant's calibrated ranges.

    Attributes:
        images, alarms: Number of images that were examined, and number of these images with an alarm.
        slices: One entry per slice, in the order of the evaluation's slices.
    """

    images: int
    alarms: int
    slices: tuple[SliceAlarm, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Study:
    """All results of a comparison of models.

    Attributes:
        name: Title of the study.
        models: The models, the reference first.
        images: The images to show.
        layers: Short name of a variant -> its layer errors.
        evaluation, robustness, profile: None if they were not computed.
        experiments: Short name of a damaged variant -> what comes back with operators in float.
        diagnoses: Short name of a variant -> its diagnosis, if there was one on the same images.
        videos: Short name of a variant -> the result of both models on the frames of a clip.
        risks: Short name of a variant -> the risk of the objects, of which only those with the highest are stored.
        ranges: Short name of a variant with calibrated ranges -> the images outside them, if there are slices.
    """

    name: str
    models: tuple[StudiedModel, ...]
    comparison: Comparison
    images: tuple[StudiedImage, ...]
    layers: Mapping[str, LayerErrors]
    made: Provenance
    evaluation: Evaluation | None = None
    robustness: Robustness | None = None
    profile: Profile | None = None
    experiments: Mapping[str, WhatIf] = field(default_factory=dict)
    diagnoses: Mapping[str, Diagnosed] = field(default_factory=dict)
    videos: Mapping[str, VideoResult] = field(default_factory=dict)
    risks: Mapping[str, Risks] = field(default_factory=dict)
    ranges: Mapping[str, StudiedRanges] = field(default_factory=dict)

    @property
    def reference(self) -> StudiedModel:
        return self.models[0]

    @property
    def variants(self) -> tuple[StudiedModel, ...]:
        return self.models[1:]

    @property
    def summaries(self) -> dict[str, Summary]:
        """Short name -> the variant's summary over all compared images."""
        rows = zip(self.variants, self.comparison.variants, strict=True)
        return {model.name: compared.summary for model, compared in rows}

    @property
    def losses(self) -> dict[str, VariantLoss]:
        """Short name -> the variant's loss of AP; empty without an evaluation."""
        if self.evaluation is None:
            return {}
        rows = zip(self.variants, self.evaluation.losses, strict=True)
        return {model.name: replace(loss, variant=model.name) for model, loss in rows}

    def objects(self, image: StudiedImage) -> dict[str, tuple[ComparedObject, ...]]:
        """Short name of a variant -> its objects on one image."""
        rows = zip(self.variants, self.comparison.variants, strict=True)
        return {
            model.name: next((row.objects for row in compared.images if row.digest == image.digest), ())
            for model, compared in rows
        }

    def to_json(self) -> dict[str, Any]:
        """The document `{"qviz_study": version, "study": fields}`, with all fields except the raw detections."""
        study = self
        if self.evaluation is not None:
            study = replace(self, evaluation=replace(self.evaluation, results=(), image_ids={}))
        return {KEY: VERSION, "study": encode(study)}

    @staticmethod
    def from_json(document: Any, where: str = "The file") -> Study:
        """The study that `to_json` wrote. where: the file's name, for messages. Raises StudyError."""
        if not isinstance(document, dict) or KEY not in document:
            raise StudyError(f"{where} is not a qviz study. {CURE}")
        if document[KEY] != VERSION:
            version = str(document[KEY])[:20]
            raise StudyError(f"{where} is a study of version {version}; this qviz reads version {VERSION}. {CURE}")
        try:
            study: Study = decode(Study, document.get("study"), "study")
        except Misfit as misfit:
            raise StudyError(f"{where} is a damaged study: {misfit}. {CURE}") from None
        if fault := next(_faults(study), None):
            raise StudyError(f"{where} is a damaged study: {fault}. {CURE}")
        return study


def study_bytes(study: Study) -> bytes:
    """The content of a study file. Raises StudyError if it would be too large to be read again."""
    data = json.dumps(study.to_json(), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        raise StudyError(f"The study is {len(data) >> 20} MB; the limit is {MAX_BYTES >> 20} MB. Compare fewer images.")
    return data


def read_study(data: bytes, name: str) -> Study:
    """The study in a file. `name` is the name of the file, for messages. Raises StudyError if it is not valid."""
    if len(data) > MAX_BYTES:
        raise StudyError(f"{name} is {len(data) >> 20} MB; the limit for a study is {MAX_BYTES >> 20} MB.")
    try:
        document = parse_json(data)
    except NotJson as error:
        raise StudyError(f"{name} is not JSON, so it is not a qviz study: {error}. {CURE}") from None
    return Study.from_json(document, name)


def is_study(data: bytes) -> bool:
    """Whether a file begins with the first key of a study; the rest is not checked."""
    return data[:64].lstrip().replace(b" ", b"").startswith(b'{"%s":' % KEY.encode())


MODELS = range(2, 65)
IMAGES = range(13)
SIDES = range(1, 65_536)
JPEG = b"\xff\xd8\xff"
HAS_NO_BOX = {Change.LOST: "variant", Change.SPURIOUS: "reference"}
"""Change -> the model that has no box for such an object."""


def _faults(study: Study) -> Iterator[str]:
    """A clause for each inconsistency that would break a page, although the fields have the right types."""
    names = [model.name for model in study.models]
    if len(names) not in MODELS:
        yield f"it has {plural(len(names), 'model')}; {MODELS.start} to {MODELS.stop - 1} are allowed"
        return
    if repeated := [name for name, count in Counter(names).items() if count > 1 or not name]:
        yield f"the name {repeated[0]!r} is empty or belongs to several models"
    if any(model.bytes < 1 for model in study.models):
        yield "a model has no bytes"
    yield from _comparison_faults(study)
    yield from _image_faults(study.images)
    yield from _evaluation_faults(study)
    yield from _layer_faults(study)
    yield from _robustness_faults(study)
    yield from _use_faults(study)
    for name, diagnosed in study.diagnoses.items():
        if name not in names[1:] or not diagnosed.causes:
            yield f"its diagnosis of {name!r} has no cause, or is not of one of its variants"
    if study.profile is not None and (row := next((r for r in study.profile.models if r.p50_ms <= 0), None)):
        yield f"the latency of {row.name!r} is not positive"
    if study.profile is not None and any(row.bytes < 1 for row in study.profile.models):
        yield "a measured model has no bytes"


def _comparison_faults(study: Study) -> Iterator[str]:
    compared = study.comparison.variants
    if len(compared) != len(study.variants):
        yield f"it compares {plural(len(compared), 'variant')}, but has {len(study.variants)}"
    changes = {str(change) for change in Change}
    for image in (image for variant in compared for image in variant.images):
        for row in image.objects:
            if row.change not in changes:
                yield f"an object of {image.image!r} has the unknown change {row.change!r}"
            elif not _is_consistent(row):
                yield f"an object of {image.image!r} is {row.change}, but its boxes do not fit that"


def _is_consistent(row: ComparedObject) -> bool:
    """Whether each model that must have a box has one with four numbers and a score, and whether a pair has an IoU."""
    absent = HAS_NO_BOX.get(Change(row.change))
    boxes = {
        "reference": (row.reference_box, row.reference_score),
        "variant": (row.variant_box, row.variant_score),
    }
    required = [pair for name, pair in boxes.items() if name != absent]
    complete = all(box is not None and len(box) == 4 and score is not None for box, score in required)
    return complete and (absent is not None or row.iou is not None)


def _image_faults(images: Sequence[StudiedImage]) -> Iterator[str]:
    if len(images) not in IMAGES:
        yield f"it shows {len(images)} images; at most {IMAGES.stop - 1} are allowed"
    for image in images:
        if image.width not in SIDES or image.height not in SIDES:
            yield f"{image.name!r} has {image.width} × {image.height} pixels"
        if not image.jpeg.startswith(JPEG):
            yield f"{image.name!r} is not a JPEG"


def _evaluation_faults(study: Study) -> Iterator[str]:
    evaluation = study.evaluation
    if evaluation is None:
        return
    counts = len(evaluation.models) - 1, len(evaluation.losses), len(evaluation.details)
    if any(count != len(study.variants) for count in counts):
        yield "its evaluation has other models"
    shapes = [row for row in evaluation.shapes if row.models or not row.remark]
    if any((len(row.models) - 1, len(row.losses)) != counts[:2] for row in shapes):
        yield "its AP of keypoints or masks has other models"
    if any(row.kind not in KINDS for detail in evaluation.details for pair in detail.errors for row in pair):
        yield "it has an unknown kind of error"


def _use_faults(study: Study) -> Iterator[str]:
    """Faults of the operating point, the slices, the videos and the risks."""
    operating = study.evaluation.operating if study.evaluation is not None else None
    slices = study.evaluation.slices if study.evaluation is not None else None
    count = len(study.variants)
    if operating is not None and (len(operating.models), len(operating.losses)) != (count + 1, count):
        yield "its operating point has other models"
    if slices is not None and any(len(row.losses) != count for row in slices.rows):
        yield "its slices have other variants"
    if slices is not None and any(len(point.losses) != count for row in slices.curves for point in row.points):
        yield "the curves of its slices have other variants"
    for name, ranges in study.ranges.items():
        counts = ranges.images, len(ranges.slices)
        if name not in {model.name for model in study.variants} or 0 in counts or slices is None:
            yield f"its ranges of {name!r} have no images or slices, or are not of one of its variants"
        elif [(row.trait, row.group) for row in ranges.slices] != [(row.trait, row.group) for row in slices.rows]:
            yield f"its ranges of {name!r} have other slices"
    for name, result in study.videos.items():
        if name not in {model.name for model in study.variants} or len(result.summary) != 2 or not result.frames:
            yield f"its video of {name!r} has no frames, or is not of one of its variants"
        elif any(len(row.models) != 2 for row in result.frames):
            yield f"its video of {name!r} has other models"
    for name, risks in study.risks.items():
        other = {test.outcome for test in risks.tests} - {*OUTCOMES}
        if other or name not in {model.name for model in study.variants}:
            yield f"its risk of {name!r} has another outcome, or is not of one of its variants"


def _layer_faults(study: Study) -> Iterator[str]:
    variants = {model.name for model in study.variants}
    for name, errors in study.layers.items():
        if name not in variants:
            yield f"it has layers of {name!r}, which is not one of its variants"
        if len({layer.order for layer in errors.layers}) != len(errors.layers):
            yield f"two layers of {name!r} have the same number"


def _robustness_faults(study: Study) -> Iterator[str]:
    result = study.robustness
    if result is None:
        return
    if len(result.models) != len(study.models) or len(set(result.models)) != len(result.models):
        yield "its sweep has other models"
    points = ([(row.corruption, row.severity) for row in result.points if row.model == name] for name in result.models)
    if len({tuple(sorted(rows)) for rows in points}) > 1:
        yield "its sweep has other severities for some models"
    pairs = {(row.model, row.corruption) for row in result.points}
    pairs |= {(row.model, row.corruption) for row in result.interactions}
    pairs |= {(row.model, row.corruption) for row in result.breaking_points}
    models = {model for model, _ in pairs} | {row.model for row in result.summary}
    if models - set(result.models):
        yield "its sweep has a row of a model that was not swept"
    if {corruption for _, corruption in pairs} - {*result.corruptions, CLEAN}:
        yield "its sweep has a row of a corruption that was not run"
