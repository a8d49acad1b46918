"""Load models: read them, convert them if necessary, share them with the workers, and inspect them.

A model that TensorFlow Lite cannot express is run by TensorFlow itself, but only as a reference. Such a model returns
boxes, so AP can be computed, but its layers cannot be read. It prepares images and does NMS internally, so only
class_offset (1, because the Object Detection API counts classes from 1), max_detections and labels can be set.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TypeVar

from qviz.datasets.converter_report import ConverterReport, read_converter_report
from qviz.datasets.labels import labels_by_count, without_background
from qviz.datasets.recorded_results import RECORDED
from qviz.datasets.sidecar import read_sidecar
from qviz.detector import Inspection, inspect_job
from qviz.engine import Blob, Engine, LocalEngine
from qviz.errors import ModelError, NeedsTensorFlow, QvizError, SettingsError
from qviz.formatting import listed, megabytes
from qviz.limits import limits
from qviz.onnx_model import is_available
from qviz.optional import require
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
from qviz.tflite.other_formats import refusal_of, unbundled
from qviz.tflite.scheme import scheme_facts

T = TypeVar("T")

TENSORFLOW_DEFAULTS = Settings(class_offset=1, max_detections=100)
TENSORFLOW_SETTINGS = ("class_offset", "max_detections", "labels")


@dataclass(frozen=True, slots=True, repr=False)
class ModelSource:
    """A model file as given by the user.

    Attributes:
        data: The bytes of the file, which is of this `kind`.
        settings: Settings given by the user.
        sidecar: Settings from the file `NAME.qviz.json` beside it.
        digest: sha256 of `data`.
        converted_from: Kind of file from which it was converted, or empty.
        refusal: Why TensorFlow Lite cannot express the model, so that TensorFlow itself runs it; else empty.
        shown: The name that the user gave it on the pages, or empty.
        report: The converter's accuracy report, if there is one beside the file.
    """

    name: str
    data: bytes = field(repr=False)
    settings: Settings = field(default_factory=Settings)
    sidecar: Settings = field(default_factory=Settings)
    digest: str = ""
    kind: SourceKind = SourceKind.TFLITE
    converted_from: str = ""
    refusal: str = ""
    shown: str = ""
    report: ConverterReport | None = None

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", digest_of(self.data))

    def __repr__(self) -> str:
        return f"ModelSource({self.name[:100]!r}, {self.kind}, {len(self.data)} bytes)"

    @property
    def is_ready(self) -> bool:
        """Whether it can be loaded without converting it first."""
        return self.kind is SourceKind.TFLITE or bool(self.refusal)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        model: The file, with its name and digest.
        blob: The file in the form that workers read.
        inspection: Graph, scheme, decoder and complete settings.
        converted_from, refusal, shown, report: As in `ModelSource`.
    """

    model: Model
    blob: Blob
    inspection: Inspection
    converted_from: str = ""
    refusal: str = ""
    shown: str = ""
    report: ConverterReport | None = None

    def __repr__(self) -> str:
        size = megabytes(self.bytes)
        return f"LoadedModel({self.name[:200]!r}, {self.scheme}, {size}, decoder {self.inspection.decoder})"

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def digest(self) -> str:
        """sha256 of the file."""
        return self.model.digest

    @property
    def identity(self) -> tuple[str, str, Settings]:
        """A key for results that sessions share; it includes the model's name, because results contain the name."""
        return self.digest, self.name, self.settings

    @property
    def bytes(self) -> int:
        """Size of the file in bytes."""
        return len(self.model.data)

    @property
    def scheme(self) -> Scheme:
        return self.model.scheme

    @property
    def settings(self) -> Settings:
        """The complete settings."""
        return self.inspection.settings

    @property
    def layers_available(self) -> bool:
        """Whether its layers can be read, i.e. it is a .tflite file. All others only give boxes."""
        return self.reads_outputs and not self.inspection.runtime

    @property
    def reads_outputs(self) -> bool:
        """Whether qviz prepares its images and decodes its outputs, as it does for .tflite and ONNX files."""
        return self.inspection.decoder not in (TENSORFLOW, RECORDED)

    @property
    def is_recorded(self) -> bool:
        """Whether it is a file of recorded results instead of a network."""
        return self.inspection.decoder == RECORDED

    @property
    def no_layers(self) -> str:
        """A sentence that says why its layers cannot be read; empty if they can."""
        if self.is_recorded:
            return (
                f"{self.name} holds recorded results, which have no network to look into; give its .tflite file, and"
                " what `qviz device read --tensors` wrote as its recording."
            )
        if not self.layers_available:
            runtime = self.inspection.runtime or "TensorFlow"
            return f"{self.name} is run by {runtime} and has no layers to read; a .tflite file is needed."
        return ""


# ---- reading and converting ----------------------------------------------------------------------------------------


def read_source(path: Path, settings: Settings = Settings()) -> ModelSource:
    """Read a model file or a SavedModel's folder, with its sidecar. Raises ModelError, SettingsError."""
    if not path.exists():
        raise ModelError(f"{path} does not exist; give a .tflite file, a SavedModel folder or a Keras file.")
    if kind := kind_of(path):
        path = path.resolve()  # so that the path "." has a name
        return ModelSource(path.name, _packed(path), settings, read_sidecar(path), kind=kind)
    if refusal := refusal_of(path.name, onnx=is_available()):
        raise ModelError(refusal)
    if path.is_dir():
        raise ModelError(f"{path} is a folder without saved_model.pb; give a SavedModel folder or a .tflite file.")
    check_model_size(path.name, path.stat().st_size)
    report = read_converter_report(path)
    return ModelSource(path.name, unbundled(path.name, path.read_bytes()), settings, read_sidecar(path), report=report)


def check_model_size(name: str, size: int) -> None:
    """Raise ModelError if a .tflite file is larger than the limit. size: size of the file in bytes."""
    if size > (max_mb := limits().model_mb) << 20:
        raise ModelError(f"{name} is {size >> 20} MB; the limit for a model is {max_mb} MB.")


def _packed(path: Path) -> bytes:
    try:
        return read_packed(path)
    except ModelError as error:
        raise ModelError(f"{path.name} {error}") from error


def ready(sources: Sequence[ModelSource]) -> list[ModelSource]:
    """The models, with SavedModels and Keras files converted to .tflite files, in parallel.

    Conversions run in separate worker processes, because they take longer than the time limit for an engine's jobs, and
    because TensorFlow's 500 MB of memory are freed when these processes end.

    Raises ModelError or WorkerError for the first conversion that fails.
    """
    waiting = {source.digest: source for source in sources if not source.is_ready}
    if not waiting:
        return list(sources)
    require("build", f"{next(iter(waiting.values())).name} has to be converted first, and that")
    with LocalEngine(min(len(waiting), os.cpu_count() or 1), limits().build_seconds) as engine:
        jobs = {
            digest: engine.submit(convert_job, engine.share(source.data, digest), source.kind)
            for digest, source in waiting.items()
        }
        return [source if source.is_ready else _converted(source, jobs[source.digest]) for source in sources]


def _converted(source: ModelSource, job: Future[bytes]) -> ModelSource:
    try:
        data = _result(source, job)
    except NeedsTensorFlow as error:
        return replace(source, refusal=str(error).removeprefix(f"{source.name} "))
    return replace(source, data=data, digest=digest_of(data), kind=SourceKind.TFLITE, converted_from=str(source.kind))


# ---- loading -------------------------------------------------------------------------------------------------------


def load_models(engine: Engine, sources: Sequence[ModelSource]) -> list[LoadedModel]:
    """Load all models. The first one is the reference; the others adopt its settings unless they have their own.

    Raises ModelError, SettingsError or WorkerError for the first model that fails; the message begins with its name.
    """
    sources = ready(sources)
    jobs = [start_loading(engine, source) for source in sources]  # all run before the first is waited for
    models = [finish_loading(engine, source, job) for source, job in zip(sources, jobs, strict=True)]
    return models[:1] + [follow(model, models[0]) for model in models[1:]]


def load_model(engine: Engine, source: ModelSource) -> LoadedModel:
    """Load one model. Raises the same errors as `load_models`."""
    (source,) = ready([source])
    return finish_loading(engine, source, start_loading(engine, source))


def follow(variant: LoadedModel, reference: LoadedModel) -> LoadedModel:
    """The variant. Settings that it does not state itself are those of the reference."""
    return replace(variant, inspection=variant.inspection.following(reference.inspection))


def start_loading(engine: Engine, source: ModelSource) -> Future[Inspection]:
    """Queue the inspection of a model. Raises ModelError if it has to be converted first."""
    if not source.is_ready:
        raise ModelError(f"{source.name} is a {source.kind}, which has to be converted first.")
    blob = engine.share(source.data, source.digest)
    job = inspect_tensorflow_job if source.refusal else inspect_job
    return engine.submit_urgent(job, blob, source.settings, source.sidecar)


def finish_loading(engine: Engine, source: ModelSource, job: Future[Inspection]) -> LoadedModel:
    """Wait for the inspection of a model and return the loaded model. Messages of errors begin with its name."""
    inspection = _result(source, job)
    data, digest = source.data, source.digest
    if inspection.rewritten:
        data, digest = inspection.rewritten, digest_of(inspection.rewritten)
    model = Model(source.name, data, digest, inspection.facts.scheme)
    blob = engine.share(data, digest)
    return LoadedModel(model, blob, inspection, source.converted_from, source.refusal, source.shown, source.report)


def _result(source: ModelSource, job: Future[T]) -> T:
    """Wait for a job and return its result. Messages of errors begin with the model's name."""
    try:
        return job.result()
    except ModelError as error:
        raise type(error)(f"{source.name} {error}") from error
    except QvizError as error:
        raise type(error)(f"{source.name}: {error}") from error


def inspect_tensorflow_job(model: Blob, given: Settings, sidecar: Settings) -> Inspection:
    """Like `qviz.detector.inspect_job`, for a packed SavedModel that TensorFlow runs. Raises ModelError."""
    graph = signature_graph(model.read())
    layers = {
        "class count": Settings(labels=labels_by_count(class_count(graph)) or None),
        "default": TENSORFLOW_DEFAULTS,
        "sidecar": sidecar,
        "given": given,
    }
    settings = Settings(decoder=TENSORFLOW)
    sources = {field.name: "network" for field in fields(Settings) if field.name != "labels"}
    for source, layer in layers.items():
        values = {name: value for name, value in layer.given().items() if name in TENSORFLOW_SETTINGS}
        settings, sources = replace(settings, **values), {**sources, **dict.fromkeys(values, source)}
    if settings.labels is not None:
        settings = replace(settings, labels=without_background(settings.labels))
    return Inspection(graph, scheme_facts(graph), TENSORFLOW, (TENSORFLOW,), settings, sources)


# ---- choosing and naming -------------------------------------------------------------------------------------------


def choose_reference(models: Sequence[LoadedModel]) -> LoadedModel:
    """The least quantized model: float32, else float16, else the largest file."""
    order = [Scheme.FLOAT32, Scheme.FLOAT16]
    ranks = {scheme: rank for rank, scheme in enumerate(order)}
    return min(models, key=lambda model: (ranks.get(model.scheme, len(order)), -model.bytes))


def short_names(models: Sequence[LoadedModel]) -> dict[str, str]:
    """Digest -> the name that the user gave, or else a short form of the file name.

    The short form is the file name without its suffix and without the words with which all names begin. If several
    models have the same name, a number is appended to the later ones.
    """
    stems = {model.digest: model.name.removesuffix(".tflite") for model in models}
    words = [stem.split("_") for stem in stems.values()]
    common = 0
    while len(words) > 1 and all(len(word) > common + 1 and word[common] == words[0][common] for word in words):
        common += 1
    short = {digest: "_".join(stem.split("_")[common:]) for digest, stem in stems.items()}
    shown = {model.digest: model.shown or short[model.digest] for model in models}
    return dict(zip(shown, unique_names(list(shown.values())), strict=True))


def with_unique_names(models: Sequence[LoadedModel]) -> list[LoadedModel]:
    """The models; if several have the same name, a number is appended to the later ones."""
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
    """One of the models after the first.

    Args:
        name: The variant's name, with or without its suffix; the end of it (`int8` of `ssd_int8.tflite`); a part of it
            that no other variant's name contains; or its number from 1. None if there is only one variant.

    Raises:
        SettingsError: No variant matches, or several do.
    """
    variants = models[1:]
    if isinstance(name, int):
        matches = list(variants[name - 1 : name]) if name > 0 else []
    elif name is None:
        matches = list(variants)
    else:
        matches = _named(variants, name)
    if len(matches) == 1:
        return matches[0]
    if not variants:
        raise SettingsError("Only the reference is open; add a quantized variant of it.")
    problem = f"{len(variants)} variants are open" if name is None else f"{name!r} fits {len(matches)} variants"
    if name is not None and not matches:
        problem = f"No variant is called {name!r}"
    raise SettingsError(f"{problem}; name one of: {listed([model.name for model in variants], 10)}.")


def _named(variants: Sequence[LoadedModel], name: str) -> list[LoadedModel]:
    """The variants that a name fits, by the strictest rule of `choose_variant` that fits any variant."""
    rules: tuple[Callable[[str], bool], ...] = (
        lambda whole: whole == name,
        lambda whole: Path(whole).stem == name,
        lambda whole: Path(whole).stem.endswith((f"_{name}", f"-{name}", f".{name}")),
        lambda whole: name in whole,
    )
    fitting = ([model for model in variants if fits(model.name)] for fits in rules)
    return next((matches for matches in fitting if matches), [])
