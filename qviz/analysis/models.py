"""Models as an analysis takes them: shared with the workers, inspected, their settings complete."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from qviz.datasets.sidecar import read_sidecar
from qviz.detector import Inspection, inspect_job
from qviz.engine import Blob, Engine
from qviz.errors import ModelError, QvizError
from qviz.structures import Model, Scheme, Settings, digest_of

MAX_MODEL = 1 << 30


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model file as the user gave it: its bytes and what was said of it."""

    name: str
    data: bytes = field(repr=False)
    said: Settings = field(default_factory=Settings)
    sidecar: Settings = field(default_factory=Settings)
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(self.data))


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to run: `blob` for the workers, `inspection` for people."""

    model: Model
    blob: Blob
    inspection: Inspection

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def digest(self) -> str:
        return self.model.digest

    @property
    def bytes(self) -> int:
        return len(self.model.data)

    @property
    def scheme(self) -> Scheme:
        return self.model.scheme

    @property
    def settings(self) -> Settings:
        return self.inspection.settings


def read_source(path: Path, said: Settings = Settings()) -> ModelSource:
    """A model file with its sidecar. Raises ModelError, SettingsError."""
    if not path.is_file():
        raise ModelError(f"{path} is not there; give a .tflite file.")
    if path.stat().st_size > MAX_MODEL:
        raise ModelError(f"{path.name} has {path.stat().st_size >> 20} MB; models of up to {MAX_MODEL >> 20} are read.")
    return ModelSource(path.name, path.read_bytes(), said, read_sidecar(path))


def load_models(engine: Engine, sources: Sequence[ModelSource]) -> list[LoadedModel]:
    """All of them, the first taken as the reference whose input settings the others follow where they say nothing.

    Raises the first ModelError, SettingsError or WorkerError, with the model's name in front.
    """
    jobs = [start_loading(engine, source) for source in sources]  # all under way before the first is waited for
    models = [finish_loading(engine, source, job) for source, job in zip(sources, jobs, strict=True)]
    return models[:1] + [follow(model, models[0]) for model in models[1:]]


def load_model(engine: Engine, source: ModelSource) -> LoadedModel:
    """One model. Raises as `load_models` does."""
    return finish_loading(engine, source, start_loading(engine, source))


def follow(variant: LoadedModel, reference: LoadedModel) -> LoadedModel:
    """The variant prepared as its reference is, where nobody said otherwise."""
    return replace(variant, inspection=variant.inspection.following(reference.inspection))


def start_loading(engine: Engine, source: ModelSource) -> Future[Inspection]:
    """Queue the inspection of a model."""
    blob = engine.share(source.data, source.digest)
    return engine.submit_urgent(inspect_job, blob, source.said, source.sidecar)


def finish_loading(engine: Engine, source: ModelSource, inspection: Future[Inspection]) -> LoadedModel:
    """Wait for it; an error gets the model's name in front."""
    try:
        found = inspection.result()
    except ModelError as error:
        raise type(error)(f"{source.name} {error}") from error
    except QvizError as error:
        raise type(error)(f"{source.name}: {error}") from error
    digest = source.digest
    model = Model(source.name, source.data, digest, found.facts.scheme)
    return LoadedModel(model, engine.share(source.data, digest), found)


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
