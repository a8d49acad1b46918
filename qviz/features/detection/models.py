"""Models as an analysis takes them: shared with the workers, inspected, their settings complete.

What can be said of a model that TensorFlow Lite cannot express and TensorFlow itself runs, as a reference only.

It has boxes and so AP, but no layers. It prepares images and suppresses boxes inside, so that little can be set:
class_offset (1: the Object Detection API counts classes from 1), max_detections and labels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from qviz.datasets.labels import labels_by_count
from qviz.datasets.sidecar import read_sidecar
from qviz.detector import Inspection, inspect_job
from qviz.engine import Blob, Engine, LocalEngine
from qviz.errors import ModelError, NeedsTensorFlow, QvizError, SettingsError
from qviz.limits import limits
from qviz.structures import Model, Scheme, Settings, digest_of
from qviz.tensorflow_models import (
    TENSORFLOW,
    SourceKind,
    class_count,
    convert_job,
    kind_of,
    read_packed,
    signature_graph,
)
from qviz.tflite.scheme import scheme_facts

DEFAULTS = Settings(class_offset=1, max_detections=100)
APPLY = ("class_offset", "max_detections", "labels")


def inspect_reference_job(model: Blob, said: Settings, sidecar: Settings) -> Inspection:
    """As `qviz.detector.inspect_job`, of a packed SavedModel. Raises ModelError."""
    graph = signature_graph(model.read())
    layers = {
        "class count": Settings(labels=labels_by_count(class_count(graph)) or None),
        "default": DEFAULTS,
        "sidecar": sidecar,
        "given": said,
    }
    settings = Settings(decoder=TENSORFLOW)
    sources = {field.name: "network" for field in fields(Settings) if field.name != "labels"}
    for source, layer in layers.items():
        taken = {name: value for name, value in layer.given().items() if name in APPLY}
        settings, sources = replace(settings, **taken), {**sources, **dict.fromkeys(taken, source)}
    return Inspection(graph, scheme_facts(graph), TENSORFLOW, (TENSORFLOW,), settings, sources)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model as the user gave it: its bytes and what was said of it.

    kind: what the bytes are. Anything but a .tflite file has to be made `ready`, which leaves a .tflite file and what
    it was `converted_from`, or the `refusal`: why TensorFlow Lite cannot express it, so that TensorFlow itself runs it.
    """

    name: str
    data: bytes = field(repr=False)
    said: Settings = field(default_factory=Settings)
    sidecar: Settings = field(default_factory=Settings)
    digest: str = ""
    kind: SourceKind = SourceKind.TFLITE
    converted_from: str = ""
    refusal: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(self.data))

    @property
    def is_ready(self) -> bool:
        """Whether it can be loaded as it is."""
        return self.kind is SourceKind.TFLITE or bool(self.refusal)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to run: `blob` for the workers, `inspection` for people; the rest as in `ModelSource`."""

    model: Model
    blob: Blob
    inspection: Inspection
    converted_from: str = ""
    refusal: str = ""

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def identity(self) -> tuple[str, str, Settings]:
        """What a result that is kept for all sessions is known by: it names the model as its own session does."""
        return self.digest, self.name, self.settings

    @property
    def bytes(self) -> int:
        return len(self.model.data)

    @property
    def scheme(self) -> Scheme:
        return self.model.scheme

    @property
    def settings(self) -> Settings:
        return self.inspection.settings

    @property
    def layers_available(self) -> bool:
        """A .tflite file. False where TensorFlow runs it, which gives boxes only: `refusal` says why."""
        return self.inspection.decoder != TENSORFLOW


def read_source(path: Path, said: Settings = Settings()) -> ModelSource:
    """A model file, or a SavedModel's folder, with its sidecar. Raises ModelError, SettingsError."""
    if not path.exists():
        raise ModelError(f"{path} is not there; give a .tflite file, a SavedModel's folder or a Keras file.")
    if kind := kind_of(path):
        path = path.resolve()  # "." has a name then
        return ModelSource(path.name, _packed(path), said, read_sidecar(path), kind=kind)
    if path.is_dir():
        raise ModelError(f"{path} is a folder without saved_model.pb; give a SavedModel's folder or a .tflite file.")
    check_model_size(path.name, path.stat().st_size)
    return ModelSource(path.name, path.read_bytes(), said, read_sidecar(path))


def check_model_size(name: str, size: int) -> None:
    """Raises ModelError for a .tflite file of more bytes than are read."""
    if size > (most := limits().model_mb) << 20:
        raise ModelError(f"{name} has {size >> 20} MB; models of up to {most} are read.")


def _packed(path: Path) -> bytes:
    try:
        return read_packed(path)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}") from error


def ready(sources: Sequence[ModelSource]) -> list[ModelSource]:
    """What is no .tflite file converted to one, side by side. Raises the first ModelError or WorkerError.

    In worker processes of their own: TensorFlow takes longer than an engine's jobs may, and its half gigabyte goes
    when they end.
    """
    waiting = {source.digest: source for source in sources if not source.is_ready}
    if not waiting:
        return list(sources)
    with LocalEngine(min(len(waiting), os.cpu_count() or 1), limits().build_seconds) as engine:
        jobs = {
            digest: engine.submit(convert_job, engine.share(source.data, digest), source.kind)
            for digest, source in waiting.items()
        }
        return [source if source.is_ready else _converted(source, jobs[source.digest]) for source in sources]


def _converted(source: ModelSource, job: Future[bytes]) -> ModelSource:
    try:
        data = _named(source, job)
    except NeedsTensorFlow as error:
        return replace(source, refusal=str(error).removeprefix(f"{source.name} "))
    return replace(source, data=data, digest=digest_of(data), kind=SourceKind.TFLITE, converted_from=str(source.kind))


def load_models(engine: Engine, sources: Sequence[ModelSource]) -> list[LoadedModel]:
    """All of them made ready, the first taken as the reference whose settings the others follow where they say none.

    Raises the first ModelError, SettingsError or WorkerError, with the model's name in front.
    """
    sources = ready(sources)
    jobs = [start_loading(engine, source) for source in sources]  # all under way before the first is waited for
    models = [finish_loading(engine, source, job) for source, job in zip(sources, jobs, strict=True)]
    return models[:1] + [follow(model, models[0]) for model in models[1:]]


def load_model(engine: Engine, source: ModelSource) -> LoadedModel:
    """One model. Raises as `load_models` does."""
    (source,) = ready([source])
    return finish_loading(engine, source, start_loading(engine, source))


def follow(variant: LoadedModel, reference: LoadedModel) -> LoadedModel:
    """The variant prepared as its reference is, where nobody said otherwise."""
    return replace(variant, inspection=variant.inspection.following(reference.inspection))


def start_loading(engine: Engine, source: ModelSource) -> Future[Inspection]:
    """Queue the inspection of a model. Raises ModelError where it is not ready."""
    if not source.is_ready:
        raise ModelError(f"{source.name} is a {source.kind}, which has to be converted first.")
    blob = engine.share(source.data, source.digest)
    job = inspect_reference_job if source.refusal else inspect_job
    return engine.submit_urgent(job, blob, source.said, source.sidecar)


def finish_loading(engine: Engine, source: ModelSource, inspection: Future[Inspection]) -> LoadedModel:
    """Wait for it; an error gets the model's name in front."""
    found = _named(source, inspection)
    digest = source.digest
    model = Model(source.name, source.data, digest, found.facts.scheme)
    return LoadedModel(model, engine.share(source.data, digest), found, source.converted_from, source.refusal)


def _named(source: ModelSource, job: Future[T]) -> T:
    """The job's result; an error gets the model's name in front."""
    try:
        return job.result()
    except ModelError as error:
        raise type(error)(f"{source.name} {error}") from error
    except QvizError as error:
        raise type(error)(f"{source.name}: {error}") from error


def choose_reference(models: Sequence[LoadedModel]) -> LoadedModel:
    """The float32 model, else the float16 one, else the largest file: the least quantized."""
    order = [Scheme.FLOAT32, Scheme.FLOAT16]
    ranks = {scheme: rank for rank, scheme in enumerate(order)}
    return min(models, key=lambda model: (ranks.get(model.scheme, len(order)), -model.bytes))


def short_names(models: Sequence[LoadedModel]) -> dict[str, str]:
    """digest -> the part of the name that tells the models apart: their common prefix and the ending left out."""
    stems = {model.digest: model.name.removesuffix(".tflite") for model in models}
    if len(stems) < 2:
        return stems
    words = [stem.split("_") for stem in stems.values()]
    shared = 0
    while all(len(word) > shared + 1 and word[shared] == words[0][shared] for word in words):
        shared += 1
    return {digest: "_".join(stem.split("_")[shared:]) for digest, stem in stems.items()}


def with_unique_names(models: Sequence[LoadedModel]) -> list[LoadedModel]:
    """The models; where several have one name, the later ones get a number behind it."""
    names = unique_names([model.name for model in models])
    return [
        model if model.name == name else replace(model, model=replace(model.model, name=name))
        for model, name in zip(models, names, strict=True)
    ]


def unique_names(names: Sequence[str]) -> list[str]:
    """`a, a, b` -> `a, a (2), b`"""
    count: Counter[str] = Counter()
    unique = []
    for name in names:
        count[name] += 1
        unique.append(name if count[name] == 1 else f"{name} ({count[name]})")
    return unique


def choose_variant(models: Sequence[LoadedModel], name: str | int | None) -> LoadedModel:
    """The variant (any model but the first) of this name, of a name that contains it, or of this number from 1;
    the only one where no name is given.

    Raises:
        SettingsError: No variant fits, or several do.
    """
    variants = models[1:]
    if isinstance(name, int):
        fitting = list(variants[name - 1 : name]) if name > 0 else []
    elif name is None:
        fitting = list(variants)
    else:
        fitting = [model for model in variants if model.name == name] or [m for m in variants if name in m.name]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(model.name for model in variants) or "none"
    wanted = "Several variants are open" if name is None and variants else f"{name!r} names {len(fitting)} variants"
    raise SettingsError(f"{wanted}; name one of: {known}.")
