"""One comparison, whole: all that a report tells, and how it came about.

Models, variants of the comparison and losses of the evaluation stand in the same order, the reference first. They are
told apart by `StudiedModel.name`, which is short and unique; two files may share a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from qviz.analysis.ap_figures import VariantLoss
from qviz.analysis.changes import Summary
from qviz.analysis.comparison import ComparedObject, Comparison
from qviz.analysis.evaluation import Evaluation
from qviz.analysis.layer_error import LayerErrors
from qviz.analysis.lint import lint_comparison, lint_model
from qviz.analysis.models import LoadedModel, short_names
from qviz.analysis.profile_figures import Profile
from qviz.analysis.robustness import Robustness
from qviz.analysis.warning import Warning


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
class Made:
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
    made: Made
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
        """All of it but the raw detections; see `study_file`."""
        from qviz.analysis.study_file import to_json  # it imports this module

        return to_json(self)

    @staticmethod
    def from_json(said: Any, where: str = "The file") -> Study:
        """The study that `to_json` told. where: for sentences. Raises StudyError."""
        from qviz.analysis.study_file import from_json

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
