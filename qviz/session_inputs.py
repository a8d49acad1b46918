"""The inputs of a session (model files, images, annotations and calibration images) and its workers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qviz.context import Context
from qviz.engine import Engine, LocalEngine, importing
from qviz.errors import DatasetError, SettingsError
from qviz.optional import require
from qviz.progress import Progress

if TYPE_CHECKING:
    from qviz.datasets.files import ImageFiles
    from qviz.features.accuracy.dataset_health import DatasetHealth
    from qviz.features.building.result import Built
    from qviz.features.building.source import Source as BuildSource
    from qviz.features.detection.models import LoadedModel, ModelSource
    from qviz.store import Store
    from qviz.structures import Dataset, EncodedImage, Settings

Source = str | PathLike[str]
"""A path."""
Sources = Source | Iterable[Source]
"""One path, or several."""


class SessionInputs:
    """The constructor of `Session`, and access to the inputs that its analyses share."""

    def __init__(
        self,
        reference: Source | LoadedModel,
        *variants: Source | LoadedModel,
        images: Sources = (),
        dataset: Source | None = None,
        dataset_images: Source | None = None,
        calibration: Sources = (),
        labels: Source | Sequence[str] | None = None,
        workers: int | str | None = None,
        engine: Engine | None = None,
        threads: int = 1,
        cache: bool | Source = True,
        progress: Progress | None = None,
        cancel: threading.Event | None = None,
        classes: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        self._given = (reference, *variants)
        self._guessed: dict[tuple[Path, ...], list[LoadedModel]] = {}
        self.settings = _settings(labels, settings)
        self.images, self.calibration_images = as_paths(images), as_paths(calibration)
        self.dataset, self.dataset_images = dataset, dataset_images
        checked = _checked_threads(threads)
        store = _store(cache)
        self._owned_engine = start_workers(workers) if engine is None else None
        running = engine or self._owned_engine
        assert running is not None
        self.context = Context(running, store, checked, progress or Progress(), cancel).counting(classes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers that this session started, and close its store."""
        if self._owned_engine is not None:
            self._owned_engine.close()
        if self.context.store is not None:
            self.context.store.close()

    def __repr__(self) -> str:
        names = ", ".join(getattr(given, "name", None) or Path(str(given)).name for given in self._given[:4])
        return f"Session({names}{', …' if len(self._given) > 4 else ''})"[:500]

    @cached_property
    def sources(self) -> list[ModelSource]:
        """The files of the models, not loaded yet, in the given order. Raises ModelError, SettingsError."""
        from qviz.features.detection.models import LoadedModel, ModelSource, read_source

        return [
            ModelSource(given.name, given.model.data, sidecar=given.settings, digest=given.digest)
            if isinstance(given, LoadedModel)
            else read_source(Path(given), self.settings)
            for given in self._given
        ]

    @cached_property
    def models(self) -> list[LoadedModel]:
        """The loaded models, the reference first; models with the same name are numbered.

        Raises ModelError, SettingsError.
        """
        from qviz.features.detection.models import LoadedModel, load_models, with_unique_names

        loaded = [given for given in self._given if isinstance(given, LoadedModel)]
        if len(loaded) < len(self._given):
            loaded = load_models(self.context.engine, self.sources)
        return with_unique_names(loaded)

    def variant(self, name: str | int | None = None) -> LoadedModel:
        """The variant with this name, with a name that contains this text, or with this number (from 1).

        name: None for the only variant.

        Raises SettingsError if no variant or several variants match.
        """
        from qviz.features.detection.models import choose_variant

        return choose_variant(self.models, name)

    def images_of(self, images: Sources = ()) -> ImageFiles:
        """The given images, else the session's. Raises ImageError if there are none, or if a path does not exist."""
        from qviz.datasets.files import ImageFiles

        return ImageFiles.of(as_paths(images) or self.images)

    def calibration_of(self, calibration: Sources = ()) -> list[EncodedImage]:
        """The given calibration images, else the session's, read into memory; may be empty. Raises ImageError."""
        from qviz.datasets.files import load_images

        return list(load_images(as_paths(calibration) or self.calibration_images))

    def dataset_of(
        self, dataset: Source | None = None, dataset_images: Source | None = None, images: Sources = ()
    ) -> Dataset:
        """The given dataset, else the given images without annotations, else the session's dataset or images.

        Raises DatasetError, ImageError.
        """
        named = dataset if dataset is not None else None if as_paths(images) else self.dataset
        if named is None:
            return self.images_of(images).dataset()
        folder = dataset_images if dataset_images is not None else self.dataset_images
        return read_annotations(named, folder)

    def dataset_health(self, dataset: Source | None = None, dataset_images: Source | None = None) -> DatasetHealth:
        """Problems of the annotations that would distort AP; categories are compared with the reference's labels.

        Args:
            dataset: Annotated images; by default the session's.
            dataset_images: Folder of the dataset's images if they are not beside the file.

        Raises:
            DatasetError: There is no dataset, or nothing in it can be read.
        """
        from qviz.features.accuracy.dataset_health import dataset_health

        if dataset is None and self.dataset is None:
            raise DatasetError("No dataset is given; give annotated images.")
        return dataset_health(self.dataset_of(dataset, dataset_images), self.models[0].inspection.labels)

    def models_for(self, images: ImageFiles | Dataset | Sequence[EncodedImage]) -> list[LoadedModel]:
        """The models. Settings that neither files nor user state are determined by running some of these images."""
        from qviz.datasets.files import ImageFiles
        from qviz.features.settings import guess_for

        if not isinstance(images, ImageFiles):
            return guess_for(self.context, self.models, images)
        if images.paths not in self._guessed:
            self._guessed[images.paths] = guess_for(self.context, self.models, images)
        return self._guessed[images.paths]

    def _reference_and_source(self, images: Sequence[EncodedImage]) -> tuple[LoadedModel, BuildSource]:
        """(the reference, the reference in the form from which variants are built).

        Its unknown settings are determined with these images, and compressed weights are expanded to float32. Raises
        ModelError, or QuantizeError if TensorFlow Lite cannot express the reference or its weights cannot be expanded.
        """
        from qviz.features.building.source import float_model, source_of

        require("build", "Building a variant")
        given = self.models_for(images)[0]
        source = source_of(given, self.sources[0])
        return float_model(self.context, given, source), source

    def _checked(self, reference: LoadedModel, built: Built) -> Built:
        """The built file with its lint warnings, including those about settings assumed for the reference."""
        from qviz.features.inspection.lint import lint_built

        name = f"{reference.name} + {built.recipe}.tflite"
        return replace(built, warnings=lint_built(self.context, reference, built.data, name))

    def _pair(
        self, variant: str | int | None, images: ImageFiles | Sequence[EncodedImage]
    ) -> tuple[LoadedModel, LoadedModel]:
        """The reference and one variant, with settings completed for these images."""
        chosen = self.variant(variant)
        models = {model.name: model for model in self.models_for(images)}
        return models[self.models[0].name], models[chosen.name]


def read_annotations(dataset: Source, folder: Source | None = None) -> Dataset:
    """Read annotated images. folder: folder of the images if they are not beside the file.

    Raises DatasetError, LabelsError.
    """
    from qviz.datasets.annotated import read_dataset

    if folder is not None and not Path(folder).is_dir():
        raise DatasetError(f"{folder} is not a folder; give the one that holds the annotated images.")
    return read_dataset(Path(dataset), None if folder is None else Path(folder))


def as_paths(sources: Sources) -> tuple[Path, ...]:
    """One path or several as a tuple."""
    return (Path(sources),) if isinstance(sources, (str, PathLike)) else tuple(Path(source) for source in sources)


def start_workers(workers: int | str | None) -> Engine:
    """Start workers. workers: their number or a Dask address, see `qviz.open`. Raises SettingsError."""
    if isinstance(workers, str) and "://" in workers:
        from qviz.engine.cluster import DaskEngine  # importing dask takes half a second, and it is optional

        return DaskEngine(workers, warm_up=importing("qviz.detector"))
    if workers is not None and not (str(workers).isdecimal() and 1 <= int(workers) <= 256):
        raise SettingsError(
            f"--workers is {workers}; give a number between 1 and 256. A Dask cluster is given by its scheduler's"
            " address, e.g. tcp://127.0.0.1:8786."
        )
    return LocalEngine(None if workers is None else int(workers), warm_up=importing("qviz.detector"))


def _checked_threads(threads: int) -> int:
    if not 1 <= threads <= 256:
        raise SettingsError(f"--threads is {threads}; give a number between 1 and 256.")
    return threads


def _store(cache: bool | Source) -> Store | None:
    """The store for detections, or None if nothing is to be stored or there is no home folder."""
    from qviz.store import FILE, Store, user_folder

    if cache is False:
        return None
    try:
        return Store((user_folder("cache") if cache is True else Path(cache)) / FILE)
    except RuntimeError:
        return None


def _settings(labels: Source | Sequence[str] | None, given: Mapping[str, Any]) -> Settings:
    """The settings that were given for all models. Raises LabelsError, SettingsError."""
    from qviz.structures import Settings

    settings = Settings.from_json({name: value for name, value in given.items() if value is not None}, "The call")
    if labels is None:
        return settings
    from qviz.datasets.labels import read_labels, unnamed_background

    if isinstance(labels, (str, PathLike)):
        return replace(settings, labels=read_labels(Path(labels)))
    return replace(settings, labels=unnamed_background(tuple(labels)))
