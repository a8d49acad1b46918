"""Top-level functions, each of which opens a session, runs one analysis and closes it; and names from version 0.1."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qviz.context import Context
from qviz.progress import Progress
from qviz.session import Session
from qviz.session_inputs import SessionInputs, Source, Sources, read_annotations, start_workers

if TYPE_CHECKING:
    from qviz.engine import Engine
    from qviz.features.accuracy.dataset_health import DatasetHealth
    from qviz.features.backends.device import DevicePack, DeviceResults, DeviceRun
    from qviz.features.detection.models import LoadedModel
    from qviz.features.installation import Installation
    from qviz.features.reporting.card import Card

SHARED = {"images", "dataset", "dataset_images", "calibration"}
"""Arguments that analyses and `qviz.open` have in common; they are given to the session, which passes them on."""
SETTINGS = {"mean", "std", "channels", "resize", "decoder", "class_offset", "nms_iou", "max_detections"}
OLD_ORDER: Mapping[str, tuple[str, ...]] = {
    "evaluate": ("dataset", "dataset_images", "engine"),
    "trace": ("image", "engine"),
}
"""Positional arguments that followed the models in version 0.1, for functions where they were not `images, engine`."""


@cache
def top_level(name: str) -> Callable[..., Any]:
    """The function `qviz.<name>`; it takes the arguments of `qviz.open` and of `Session.<name>`."""
    method = getattr(Session, name)
    opening = inspect.signature(SessionInputs.__init__).parameters
    method_parameters = inspect.signature(method).parameters
    positional = [
        value for key, value in method_parameters.items() if key != "self" and value.kind is value.POSITIONAL_OR_KEYWORD
    ]
    required = [value.name for value in positional if value.default is value.empty]

    takes_any = any(value.kind is value.VAR_KEYWORD for value in method_parameters.values())

    def belongs_to_analysis(key: str) -> bool:
        is_own = key in method_parameters and key not in SHARED
        return is_own or (takes_any and key not in opening and key not in SETTINGS)

    def function(*models: Any, **options: Any) -> Any:
        for argument in required:  # it may follow the model, as in `qviz.quantize("float32.tflite", "int8")`
            if argument not in options and len(models) > 1:
                options[argument], models = models[-1], models[:-1]
        if models and not isinstance(models[0], (str, PathLike)):
            models, options = _old_call(name, models, options)
        given = {key: options.pop(key) for key in list(options) if belongs_to_analysis(key)}
        with Session(*models, **options) as session:
            return method(session, **given)

    function.__name__ = function.__qualname__ = name
    function.__module__ = "qviz"
    function.__doc__ = _documentation(name, method)
    function.__signature__ = inspect.Signature(_parameters(opening, method_parameters))  # type: ignore[attr-defined]
    return function


def _parameters(
    opening: Mapping[str, inspect.Parameter], method_parameters: Mapping[str, inspect.Parameter]
) -> list[inspect.Parameter]:
    """The parameters of a top-level function.

    `reference` and `*variants` come first, then those of the analysis and of `qviz.open`, as keywords.
    """
    models = [opening["reference"].replace(kind=inspect.Parameter.POSITIONAL_ONLY), opening["variants"]]
    rest = {
        key: value
        for key, value in {**method_parameters, **opening}.items()
        if key not in ("self", "reference", "variants")
    }
    named = [value.replace(kind=inspect.Parameter.KEYWORD_ONLY) for value in rest.values() if value.kind.value != 4]
    return [*models, *named, opening["settings"]]


def _documentation(name: str, method: Callable[..., Any]) -> str:
    text = inspect.getdoc(method) or ""
    return (
        f"{text}\n\nOpens a session for this call: `reference`, `variants` and the arguments that are not listed here"
        f" are those of `qviz.open`.\n\nExample:\n    >>> qviz.{name}(FLOAT32, INT8, ...)"
    )


def dataset(
    file: Source,
    dataset_images: Source | None = None,
    *,
    labels: Source | Sequence[str] | None = None,
    progress: Progress | None = None,
) -> DatasetHealth:
    """Problems of annotations that would distort AP: wrong units, sizes or ids, duplicates, unannotated images.

    Every image file is read; no model is needed.

    Args:
        file: COCO JSON, YOLO data.yaml, TFRecord, or a folder or zip in COCO, YOLO or Pascal VOC layout.
        dataset_images: Folder of the images if they are not beside the file.
        labels: A model's label file, or its class names, with which the categories are compared.
        progress: Receives progress reports.

    Returns:
        The numbers of images and annotations, the categories, and the problems, each with examples and the likely fix.

    Raises:
        DatasetError: The annotations cannot be read, or no image is found.
        LabelsError: The label file cannot be read.

    Example:
        >>> qviz.dataset(ANNOTATIONS, IMAGES).annotations
        88
    """
    from qviz.datasets.labels import read_labels, without_background
    from qviz.features.accuracy.dataset_health import dataset_health

    names = read_labels(Path(labels)) if isinstance(labels, (str, PathLike)) else labels
    known_labels = None if names is None else without_background(tuple(names))
    return dataset_health(read_annotations(file, dataset_images), known_labels, progress or Progress())


def device_pack(model: Source, folder: Source, *, images: Sources, inner: str = "", **options: Any) -> DevicePack:
    """Write prepared inputs, the model and a single-file runner into a folder, to be copied to a device.

    Args:
        model: A .tflite file.
        folder: A folder that is empty or does not exist yet. Copy it to the device, run `python3 run_on_device.py` in
            the copy, and copy it back.
        images: Images, or folders or zip archives of images.
        inner: Tensors inside the network to be recorded as well: `all`, operators by order such as `0-12,40`, or a
            regular expression that their names contain.
        options: Arguments of `qviz.open`.

    Raises:
        ModelError: The model cannot be read, or detections cannot be decoded from its outputs alone.
        RecordingError: The folder cannot be written, or is not empty.

    Example:
        >>> qviz.device_pack(INT8, "for_the_phone", images=IMAGES).images
        15
    """
    with Session(model, images=images, **options) as session:
        return session.device_pack(folder, inner=inner)


def device_run(folder: Source, *, workers: int | str | None = None, progress: Progress | None = None) -> DeviceRun:
    """Run a folder of `device_pack` on this machine and record the outputs in it; no code from the folder is executed.

    Raises:
        RecordingError: The folder is damaged.

    Example:
        >>> qviz.device_run("for_the_phone").device.runtime
        'ai_edge_litert'
    """
    from qviz.features.backends.device import device_run as run

    with start_workers(workers) as engine:
        return run(Context(engine, progress=progress or Progress()), Path(folder))


def device_read(
    folder: Source,
    *,
    outputs: Source | None = None,
    tensors: Source | None = None,
    score: float = 0.001,
    workers: int | str | None = None,
    progress: Progress | None = None,
) -> DeviceResults:
    """Check what a device has recorded in a folder, and decode it with the model's own decoder.

    Args:
        outputs: What another tool has recorded with the packed inputs: an .npz file (also of ST Edge AI), an .h5 file
            of Qualcomm AI Hub, or a folder of Result_N/NAME.raw. By default the recording of run_on_device.py.
        tensors: A file (.zip) to be written with all recorded tensors, for `qviz.recorded_layers`.
        score: Minimum confidence of an object, in [0, 1].

    Returns:
        The device's results; `result.save("phone.json")` writes them as recorded results, which can take the place of a
        variant.

    Raises:
        RecordingError: The recording is incomplete, damaged, or belongs to other inputs or another model.

    Example:
        >>> qviz.device_read("for_the_phone").save("phone.json")
    """
    from qviz.features.backends.device import device_read as read

    with start_workers(workers) as engine:
        source, target = (None if path is None else Path(path) for path in (outputs, tensors))
        context = Context(engine, progress=progress or Progress())
        return read(context, Path(folder), outputs=source, tensors=target, score=score)


def card(study: Source) -> Card:
    """A model card from a saved study: hashes, settings, AP, losses with intervals, known problems and limits.

    Args:
        study: A file written by `qviz report --save-study`.

    Returns:
        The card; `card.save("model.md")` writes it, and `card.markdown` is its text.

    Raises:
        StudyError: The file is not a study.

    Example:
        >>> qviz.card("study.json").save("README.md")
    """
    from qviz.features.reporting import open_study
    from qviz.features.reporting.card import card as card_of

    return card_of(open_study(study))


def doctor() -> Installation:
    """This installation of qviz: versions, machine, limits, optional parts, kernels, and a self-test of a few seconds.

    Nothing is sent anywhere, and the result contains no user names.

    Raises:
        SettingsError: The administrator's file of limits cannot be read.

    Example:
        >>> qviz.doctor().selftest.passed
        True
    """
    from qviz import __version__
    from qviz.features.installation import examine

    return examine(__version__)


def load(paths: Iterable[Source], engine: Engine, settings: Any = None) -> list[LoadedModel]:
    """Load model files, the first as the reference. Deprecated: use `qviz.open(*paths)`."""
    warnings.warn("qviz.load goes away after version 0.2; use qviz.open(...).", DeprecationWarning, stacklevel=2)
    given = {} if settings is None else settings.given()
    return Session(*paths, engine=engine, cache=False, **given).models


def _old_call(name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(models, other arguments by name) of a call as in version 0.1, e.g. `compare(models, images, engine)`."""
    warnings.warn(
        f"qviz.{name} of loaded models goes away after version 0.2; use qviz.{name}(reference, *variants, images=...).",
        DeprecationWarning,
        stacklevel=3,
    )
    models: list[Any] = []
    rest = list(arguments)
    while rest and (
        hasattr(rest[0], "inspection") or (isinstance(rest[0], (list, tuple)) and hasattr(rest[0][0], "inspection"))
    ):
        first = rest.pop(0)
        models += first if isinstance(first, (list, tuple)) else [first]
    named = dict(zip(OLD_ORDER.get(name, ("images", "engine")), rest, strict=False))
    return tuple(models), {"cache": False, **named, **options}
