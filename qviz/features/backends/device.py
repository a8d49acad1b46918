"""Results of a network on another device: pack its inputs, run it on the device, and decode the recorded outputs.

pack   writes prepared inputs, the model and a runner (one file) into a folder that is copied to the device
run    does what the runner does on a device, with the runtime of this machine; the runner itself is not executed
read   checks the outputs in the folder and decodes them as qviz decodes its own; the result is recorded results
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import AP_SCORE
from qviz.errors import ImageError, ModelError, RecordingError
from qviz.features.backends.inner import selected
from qviz.features.backends.prepared import (
    Prepared,
    Ran,
    decode_job,
    describe_job,
    prepare_job,
    read_job,
    run_input_job,
    tensors_job,
)
from qviz.features.backends.recording import (
    FORMAT,
    MANIFEST,
    MODEL,
    RECORDING,
    RUNNER,
    Device,
    Manifest,
    OutputFile,
    PackedImage,
    PackedModel,
    RecordedImage,
    Recording,
    RecordingFolder,
    TensorFacts,
    array_bytes,
    inner_name,
    input_name,
    output_name,
)
from qviz.features.backends.tensor_file import FORMAT as TENSORS
from qviz.features.backends.tensor_file import RecordedInput, TensorRecording, TensorWriter, writing
from qviz.features.backends.tool_outputs import Expected, tool_outputs
from qviz.features.detection.inference import Images, in_order, results_in_order
from qviz.features.detection.models import LoadedModel, ModelSource, load_model
from qviz.formatting import plural
from qviz.result import Result, encode
from qviz.structures import EncodedImage, Inference, Settings, digest_of
from qviz.tflite.inputs import Placement


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DevicePack(Result):
    """A packed folder. inner: number of inner tensors to record; skipped: one sentence per image that is left out."""

    ROWS: ClassVar[str] = "inputs"

    folder: str
    model: PackedModel
    images: int
    inputs: tuple[PackedImage, ...]
    skipped: tuple[str, ...] = ()
    inner: int = 0


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DeviceRun(Result):
    """A recording made on this machine. images: number of images; ms: mean time of the network, ms per image."""

    ROWS: ClassVar[str] = "outputs"

    folder: str
    device: Device
    images: int
    ms: float
    outputs: tuple[RecordedImage, ...]


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """The packed model. ran_sha256: hash of the file that the device ran, maybe a compiled one; empty if unknown."""

    name: str
    sha256: str
    ran_sha256: str


@dataclass(frozen=True, slots=True)
class DeviceImage:
    """One image. ms: milliseconds that the network took on the device; None if the recording does not say."""

    image: str
    width: int
    height: int
    ms: float | None


@dataclass(frozen=True, slots=True)
class RecordedObject:
    """One object as in COCO's results. bbox: x, y, width, height in pixels of the original image."""

    file_name: str
    label: str
    bbox: tuple[float, ...]
    score: float


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DeviceResults(Result):
    """The decoded outputs of a device. Saved as .json, they can be used in place of a variant.

    Attributes:
        skipped: Sentences that say what was left out.
    """

    ROWS: ClassVar[str] = "results"

    model: DeviceModel
    device: Device
    images: tuple[DeviceImage, ...]
    results: tuple[RecordedObject, ...]
    skipped: tuple[str, ...] = ()


# ---- pack ----------------------------------------------------------------------------------------------------------


def device_pack(context: Context, model: LoadedModel, images: Images, folder: Path, *, inner: str = "") -> DevicePack:
    """Write a folder for a device, which must be new or empty.

    Args:
        inner: Inner tensors that the device should also record, as in `inner.selected`; empty for none.

    Raises:
        ImageError: No image can be read, or two have the same name.
        ModelError: The model is not a .tflite file, or its outputs alone do not determine the detections.
        RecordingError: The folder cannot be written, or is not empty.
        SettingsError: `inner` selects no tensor.
    """
    if not model.layers_available:
        raise ModelError(f"{model.name} is not a .tflite file, and devices run only those.")
    recorded = selected(model.inspection.graph, inner)
    target = RecordingFolder.create(folder)
    skipped: list[str] = []
    rows: list[PackedImage] = []
    facts = None

    def submit(image: EncodedImage) -> list[Future[Prepared]]:
        return [context.engine.submit(prepare_job, model.blob, model.settings, image)]

    for image, (prepared,) in results_in_order(context, images, submit, skipped, "There are no images."):
        if facts is None:
            facts = _described(context, model, prepared)
        file, data = input_name(len(rows)), array_bytes(prepared.values)
        target.write(file, data)
        placement = prepared.placement
        rows.append(PackedImage(image.name, *prepared.size, file, digest_of(data), placement.scale, placement.offset))
    _check_distinct([row.name for row in rows])
    assert facts is not None, "an error is raised where no image can be read"
    packed = PackedModel(model.name, MODEL, model.digest)
    settings = {**model.settings.to_json(), "labels": list(model.inspection.labels) or None}
    manifest = Manifest(FORMAT, packed, facts[0], facts[1], settings, tuple(rows), recorded)
    target.write(MODEL, model.model.data)
    target.write(RUNNER, files(__package__).joinpath("run_on_device.txt").read_bytes())
    target.write(MANIFEST, _json(manifest))
    return DevicePack(str(folder), packed, len(rows), tuple(rows), tuple(skipped), len(recorded))


def _described(context: Context, model: LoadedModel, prepared: Prepared) -> tuple[TensorFacts, tuple[TensorFacts, ...]]:
    job = context.engine.submit(describe_job, model.blob, model.settings, prepared.values)
    try:
        return context.wait(job)
    except ModelError as error:
        raise ModelError(f"{model.name} {error}") from error


def _check_distinct(names: Sequence[str]) -> None:
    """Raise ImageError if two images have the same name."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ImageError(f"{count} images are called {name}; results are told apart by name: give each its own.")


def _json(document: Manifest | Recording) -> bytes:

    return json.dumps(encode(document), ensure_ascii=False, indent=1, allow_nan=False).encode()


# ---- run -----------------------------------------------------------------------------------------------------------


def device_run(context: Context, folder: Path) -> DeviceRun:
    """Run a packed folder with the runtime of this machine, and write the recording into it.

    Raises:
        RecordingError: The folder is damaged, or cannot be written.
        ModelError: TensorFlow Lite cannot run the model.
    """
    target = RecordingFolder(folder)
    manifest, manifest_sha256 = target.manifest()
    data = target.model(manifest)
    blob = context.engine.share(data, manifest.model.sha256)

    def submit(number: int) -> list[Future[Ran]]:
        packed = target.input(manifest, number)
        of_input = manifest.input, manifest.images[number].file
        return [context.engine.submit(run_input_job, blob, packed, *of_input, context.threads, manifest.inner)]

    rows: list[RecordedImage] = []
    delegate = ""
    for number, (job,) in in_order(context, range(len(manifest.images)), submit):
        try:
            ran = job.result()
        except ModelError as error:
            raise ModelError(f"{manifest.model.name} {error}") from error
        row = manifest.images[number]
        delegate = ran.delegate
        written = tuple(
            _written(target, output_name(number, position), array_bytes(array))
            for position, array in enumerate(ran.outputs)
        )
        inner = None if ran.inner is None else _written(target, inner_name(number), ran.inner)
        rows.append(RecordedImage(row.name, row.sha256, ran.milliseconds, written, inner))
        context.progress.advance(len(rows), len(manifest.images))
    device = Device("this machine", "ai_edge_litert", version("ai-edge-litert"), delegate)
    target.write(RECORDING, _json(Recording(FORMAT, manifest_sha256, manifest.model.sha256, device, tuple(rows))))
    mean = float(np.mean([row.milliseconds for row in rows]))
    return DeviceRun(str(folder), device, len(rows), mean, tuple(rows))


def _written(target: RecordingFolder, name: str, data: bytes) -> OutputFile:
    target.write(name, data)
    return OutputFile(name, digest_of(data))


# ---- read ----------------------------------------------------------------------------------------------------------


def device_read(
    context: Context,
    folder: Path,
    *,
    outputs: Path | None = None,
    tensors: Path | None = None,
    score: float = AP_SCORE,
) -> DeviceResults:
    """Check the recording in a folder and decode its outputs with the model's own decoder.

    Args:
        outputs: File or folder that another tool recorded with the packed inputs, in a format of
            `qviz.features.backends.tool_outputs`; None if the runner in the folder made the recording.
        tensors: File to write with all recorded tensors, which `recorded_layers` reads; None for no file.
        score: Minimum confidence of an object, in [0, 1].

    Raises:
        RecordingError: The recording is incomplete, damaged, or belongs to other inputs or another model.
        ModelError: The model in the folder cannot be read.
    """
    target = RecordingFolder(folder)
    manifest, manifest_sha256 = target.manifest()
    settings = Settings.from_json(manifest.settings, MANIFEST)
    model = load_model(context.engine, ModelSource(manifest.model.name, target.model(manifest), settings))
    if outputs is not None:
        return _of_tool(context, manifest, model, outputs, tensors, score)
    recording = target.recording(manifest, manifest_sha256)

    def submit(number: int) -> list[Future[Any]]:
        row, files = manifest.images[number], recording.images[number].outputs
        arrays = target.outputs(manifest, recording, number)
        named = [(file.file, data, facts) for file, data, facts in zip(files, arrays, manifest.outputs, strict=True)]
        jobs: list[Future[Any]] = [
            context.engine.submit(read_job, model.blob, model.settings, named, *_placed(row), score)
        ]
        if tensors is not None:
            inner = target.inner(manifest, recording, number)
            jobs.append(context.engine.submit(tensors_job, model.blob, named, inner, manifest.inner))
        return jobs

    with _written_to(tensors, model) as writer:
        objects = _decoded(context, manifest, model, submit, writer)
        if writer is not None:
            writer.finish(_header(manifest, recording.device))
    milliseconds = [row.milliseconds for row in recording.images]
    count = 0 if tensors is not None or recording.images[0].inner is None else len(manifest.inner)
    return _results(manifest, recording.model_sha256, recording.device, milliseconds, objects, _unread(count))


def _written_to(
    path: Path | None, model: LoadedModel, by_shape: Sequence[int] = ()
) -> AbstractContextManager[TensorWriter | None]:
    """A writer for a file of tensors, or None if `path` is None."""
    return nullcontext() if path is None else writing(path, model.inspection.graph, by_shape)


def _header(manifest: Manifest, device: Device, ignored: tuple[str, ...] = ()) -> TensorRecording:
    images = tuple(RecordedInput(row.name, row.sha256) for row in manifest.images)
    return TensorRecording(TENSORS, manifest.model.name, manifest.model.sha256, device, images, (), ignored)


def _unread(count: int) -> tuple[str, ...]:
    """A sentence on `count` inner tensors that were recorded but not written; empty if there are none."""
    if not count:
        return ()
    return (f"The recording has {plural(count, 'inner tensor')}; --tensors FILE.zip writes them for qviz layers.",)


def _of_tool(
    context: Context, manifest: Manifest, model: LoadedModel, path: Path, tensors: Path | None, score: float
) -> DeviceResults:
    """The results in outputs that another tool recorded. Such outputs have no times and no hash of the model."""
    graph = model.inspection.graph
    if len(graph.outputs) != len(manifest.outputs):
        raise RecordingError(f"{MANIFEST} has {plural(len(manifest.outputs), 'output')}; the model has others.")
    recorded = tool_outputs(context, path, Expected.of(manifest, graph))

    def submit(number: int) -> list[Future[Inference]]:
        arrays = [values[number] for values in recorded.outputs]
        placed = _placed(manifest.images[number])
        return [context.engine.submit(decode_job, model.blob, model.settings, arrays, *placed, score)]

    device, inner = Device(path.name, recorded.tool, "", ""), recorded.inner
    objects = _decoded(context, manifest, model, submit)
    with _written_to(tensors, model, inner.matched_by_shape) as writer:
        if writer is not None:
            arrays = dict(zip(graph.outputs, recorded.outputs, strict=True)) | inner.arrays
            for number in range(len(manifest.images)):
                writer.add({index: values[number] for index, values in arrays.items()})
            writer.finish(_header(manifest, device, inner.ignored))
    remarks = recorded.remarks + _unread(len(inner.arrays) if tensors is None else 0)
    return _results(manifest, "", device, [None] * len(manifest.images), objects, remarks)


def _placed(row: PackedImage) -> tuple[Placement, tuple[int, int]]:
    """Where an image lies in the input, and its size."""
    return Placement((row.scale[0], row.scale[1]), (row.offset[0], row.offset[1])), (row.width, row.height)


def _decoded(
    context: Context,
    manifest: Manifest,
    model: LoadedModel,
    submit: Callable[[int], list[Future[Any]]],
    writer: TensorWriter | None = None,
) -> list[RecordedObject]:
    """The objects of all images.

    Args:
        submit: Takes an image's index; returns the job that decodes it and, with a writer, one that reads its tensors.
    """
    objects: list[RecordedObject] = []
    for number, (job, *others) in in_order(context, range(len(manifest.images)), submit):
        objects += _objects(manifest.images[number].name, job.result(), model)
        if writer is not None and others:
            writer.add(others[0].result())
        context.progress.advance(number + 1, len(manifest.images))
    return objects


def _results(
    manifest: Manifest,
    ran_sha256: str,
    device: Device,
    milliseconds: Sequence[float | None],
    objects: Sequence[RecordedObject],
    remarks: tuple[str, ...] = (),
) -> DeviceResults:
    images = tuple(
        DeviceImage(row.name, row.width, row.height, ms) for row, ms in zip(manifest.images, milliseconds, strict=True)
    )
    upright = tuple(row for row in objects if row.bbox[2] >= 0 and row.bbox[3] >= 0)
    dropped = len(objects) - len(upright)
    skipped = (f"{plural(dropped, 'box')} of negative size left out.",) if dropped else ()
    model = DeviceModel(manifest.model.name, manifest.model.sha256, ran_sha256)
    return DeviceResults(model, device, images, upright, (*remarks, *skipped))


def _objects(image: str, inference: Inference, model: LoadedModel) -> list[RecordedObject]:
    rows = inference.detections
    corners = rows.boxes.astype(np.float64)  # differences are exact, so that corners come back as they were
    sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [
        RecordedObject(image, model.inspection.label(int(class_id)), tuple(map(float, bbox)), float(score))
        for bbox, score, class_id in zip(sides, rows.scores, rows.class_ids, strict=True)
    ]
