"""The detector (Runner + InputSpec + Decoder: an image in, detections out), and the functions that workers run.

Each setting of a model comes from the first of these sources that states it: the user (command line or page), the
sidecar beside the file, the file itself (labels, quantized input), the reference of the comparison, the decoder's
defaults. `Inspection.sources` names the source of each setting.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from qviz.cache import LRUCache
from qviz.datasets.images import preview, read_image
from qviz.datasets.labels import (
    background_offset,
    label_of,
    labels_by_count,
    labels_by_id,
    numbered,
    parse_labels,
    without_background,
)
from qviz.datasets.recorded_results import RECORDED, RecordedDetector, is_recorded, read_results
from qviz.decoders import DECODERS, Decoded, choose, fitting
from qviz.decoders.head_reader import HeadReader
from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.engine import Blob
from qviz.errors import LabelsError, ModelError, QvizError
from qviz.onnx_model import RUNTIME as ONNX
from qviz.onnx_model import OnnxRunner, is_onnx
from qviz.structures import Detections, EncodedImage, Graph, Image, Inference, Scheme, Settings, Tensor
from qviz.tensorflow_models import TENSORFLOW, SavedModelDetector
from qviz.tflite.constant_inputs import constant_inputs, described, image_input, with_constant_inputs
from qviz.tflite.constants import saturated_biases
from qviz.tflite.inputs import InputSpec, Placement, fill, input_size, input_spec
from qviz.tflite.metadata import exporter_notes, label_file, own_settings, raw_pixels
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import SchemeFacts, scheme_facts

T = TypeVar("T")

PAGE_SCORE = 0.25
"""Confidence threshold for detections that people look at."""
AP_SCORE = 0.001
"""Confidence threshold for computing AP."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Inspection:
    """The description of a .tflite file, read without running it.

    Attributes:
        graph: Operators and tensors.
        facts: Scheme, bits of the weights, number of quantized operators.
        decoder, decoders: Name of the decoder in use, and names of all decoders that fit the outputs.
        settings: The complete settings.
        sources: Name of a setting -> where its value comes from.
        post_process: Options of the NMS operator in the file; empty if the file has none.
        saturated_biases: Operator -> number of its biases that are saturated, i.e. clipped to their integer type.
        reference_kernels: Whether the default delegate (XNNPACK) rejects the file.
        odd_boxes: What is implausible about the boxes on real images, as the end of a sentence; empty if nothing is.
        runtime: Name of the runtime if it is not TensorFlow Lite, else empty.
        remark: For recorded results, a sentence about images without results; else empty.
        constant_inputs: Further inputs with the constants that they are given, as part of a sentence; may be empty.
        rewritten: The .tflite file with these inputs as constants, used instead of the original; empty without them.
    """

    graph: Graph
    facts: SchemeFacts
    decoder: str
    decoders: tuple[str, ...]
    settings: Settings
    sources: dict[str, str]
    post_process: dict[str, float] = field(default_factory=dict)
    saturated_biases: dict[int, int] = field(default_factory=dict)
    reference_kernels: bool = False
    odd_boxes: str = ""
    remark: str = ""
    runtime: str = ""
    constant_inputs: str = ""
    rewritten: bytes = b""

    def __repr__(self) -> str:
        return f"Inspection({self.facts.scheme}, {len(self.graph.ops)} operators, decoder {self.decoder})"

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names; may be empty."""
        return self.settings.labels or ()

    def label(self, class_id: int) -> str:
        """Name of the class, or e.g. `class 17` if it has none."""
        return label_of(self.labels, class_id)

    def read_as(self, decoder: str) -> Inspection:
        """This inspection with another decoder that fits. Default settings are replaced by those of the new decoder."""
        if decoder == self.decoder:
            return self
        usual, classes = DECODERS[decoder].defaults, DECODERS[decoder].class_count(self.graph)
        names = [name for name, source in self.sources.items() if source == "default" and name != "class_offset"]
        values = {name: getattr(usual, name) for name in names}
        if self.sources.get("labels") in (None, "class count"):
            values["labels"] = labels_by_count(classes) or None
        settings = replace(self.settings, **{**values, "decoder": decoder})
        return replace(self, decoder=decoder, settings=settings, sources={**self.sources, "decoder": "guess"})

    def following(self, reference: Inspection) -> Inspection:
        """This variant's inspection, with its default input preparation and labels replaced by the reference's.

        Settings adopted earlier are replaced, too, because the reference's may have been guessed since then.
        """
        values = {
            name: value
            for name in FOLLOWED
            if self.sources.get(name) in (None, "default", "class count", "reference")
            and (value := getattr(reference.settings, name)) is not None
        }
        counts_background = reference.sources.get("class_offset") == LABELS  # the labels say so
        if "labels" in values and counts_background and self.sources.get("class_offset") == "default":
            values["class_offset"] = reference.settings.class_offset
        same_reading = reference.sources.get("decoder") == "guess" and reference.decoder in self.decoders
        read = self.read_as(reference.decoder) if same_reading and self.sources["decoder"] == "default" else self
        settings = replace(read.settings, **values)
        return replace(read, settings=settings, sources={**read.sources, **dict.fromkeys(values, "reference")})


LABELS = "labels"
"""Source of a class_offset that follows from the labels: they include a line for the background."""
FOLLOWED = ("mean", "std", "channels", "resize", "labels")
"""Settings that a variant adopts from its reference."""


def inspect(data: bytes, given: Settings, sidecar: Settings) -> Inspection:
    """Read a model file and complete its settings. Raises ModelError, NoDecoderError, SettingsError."""
    onnx = OnnxRunner(data) if is_onnx(data) else None
    graph = onnx.graph if onnx is not None else read_graph(data)
    constants = constant_inputs(graph)
    if onnx is not None:
        onnx.set_constants(constants)
        graph = onnx.graph
    elif constants:
        rewritten = with_constant_inputs(data, constants)
        inspection = inspect(rewritten, given, sidecar)
        return replace(inspection, constant_inputs=described(graph, constants), rewritten=rewritten)
    check_operators(graph)
    notes = onnx.notes if onnx is not None else exporter_notes(data)
    file_settings = _own_settings(data, graph, notes)  # first, because for a model of another task its error says most
    name, decoder = choose(graph, given.decoder or sidecar.decoder, _label_count(given, sidecar, file_settings))
    nms = _nms_settings(graph)
    layers = [
        ("file", raw_pixels(image_input(graph))),  # the input's type decides, whatever the user gives
        ("file", Settings(nms_iou=nms.nms_iou)),  # NMS inside the file always uses its own threshold
        ("given", given),
        ("sidecar", sidecar),
        ("file", nms),  # after the user's: showing fewer of its detections is possible
        ("file", file_settings),
        ("default", replace(decoder.defaults, decoder=name, class_offset=0)),
        ("class count", Settings(labels=labels_by_count(decoder.class_count(graph)) or None)),
    ]
    settings = Settings()
    sources: dict[str, str] = {}
    for source, layer in layers:
        sources |= {field_name: source for field_name in layer.given() if field_name not in sources}
        settings = settings.with_defaults(layer)
    settings, sources = _without_background(settings, sources, decoder.class_count(graph))
    options, biases = _post_process(graph), saturated_biases(data, graph) if onnx is None else {}
    result = Inspection(graph, scheme_facts(graph), name, fitting(graph), settings, sources, options, biases)
    return replace(result, runtime=ONNX, constant_inputs=described(graph, constants)) if onnx is not None else result


NO_NETWORK = Graph((Tensor(0, "image", (1, -1, -1, 3), "uint8", None, False),), (), inputs=(0,), outputs=())
"""The graph of recorded results: an image input, but no operators."""


def inspect_recorded(data: bytes, given: Settings, sidecar: Settings) -> Inspection:
    """Like `inspect`, for recorded results; max_detections is the only setting that is used. Raises ModelError."""
    limit = given.max_detections or sidecar.max_detections or 100
    settings = Settings(
        decoder=RECORDED, labels=read_results(data).labels(), max_detections=limit, class_offset=0, nms_iou=1.0
    )
    facts = SchemeFacts(Scheme.RECORDED, 0, 0, 0, (), False)
    sources = {"decoder": "file", "labels": "file", "max_detections": "given" if given.max_detections else "default"}
    return Inspection(NO_NETWORK, facts, RECORDED, (RECORDED,), settings, sources)


def _nms_settings(graph: Graph) -> Settings:
    """Settings with the IoU threshold and maximum number of detections of built-in NMS; empty if there is no NMS."""
    options = _post_process(graph)
    overlap, limit = options.get("nms_iou_threshold"), options.get("max_detections")
    if overlap is None or limit is None or not (0 <= overlap <= 1 and limit >= 1):
        return Settings()
    return Settings(nms_iou=round(overlap, 6), max_detections=int(limit))


def _label_count(*layers: Settings) -> int:
    """Number of labels in the first of these settings that have labels; 0 if none have."""
    return next((len(layer.labels) for layer in layers if layer.labels), 0)


def _without_background(
    settings: Settings, sources: dict[str, str], classes: int | None
) -> tuple[Settings, dict[str, str]]:
    """Remove the labels' background line; a default class_offset becomes 1 if the outputs count background."""
    labels = settings.labels or ()
    if without_background(labels) == labels:
        return settings, sources
    if background_offset(labels, classes) and sources.get("class_offset") == "default":
        settings, sources = replace(settings, class_offset=1), {**sources, "class_offset": LABELS}
    return replace(settings, labels=without_background(labels)), sources


def check_operators(graph: Graph) -> None:
    """Raise ModelError for operators that this runtime cannot run: TensorFlow (Flex) and Edge TPU operators."""
    if any(op.custom and op.kind == "edgetpu-custom-op" for op in graph.ops):
        raise ModelError(
            "is compiled for the Edge TPU, so only that chip runs it; give the file that it was compiled from (the"
            " one without _edgetpu in its name)."
        )
    if flex := sorted({op.kind.removeprefix("Flex") for op in graph.ops if op.custom and op.kind.startswith("Flex")}):
        raise ModelError(
            f"needs TensorFlow's own operators ({', '.join(flex[:5])}), which TensorFlow Lite lacks; export it with"
            " TFLITE_BUILTINS alone, or give its SavedModel."
        )


def _own_settings(data: bytes, graph: Graph, notes: dict[str, Any]) -> Settings:
    """Settings in the file's metadata. Raises ModelError if the metadata say that it is not a detector."""
    return replace(own_settings(data, image_input(graph), notes), labels=_own_labels(data, notes))


def _own_labels(data: bytes, notes: dict[str, Any]) -> tuple[str, ...] | None:
    """Class names from the exporter's notes, else from a label file appended to the model; None if there are none."""
    try:
        if notes:
            return labels_by_id(numbered(notes["names"], "the metadata"), "the metadata")
        content = label_file(data)
        return parse_labels(content, "labels") if content else None
    except LabelsError:
        return None  # an unreadable label file is no reason to refuse the model


def _post_process(graph: Graph) -> dict[str, float]:
    op = next((op for op in graph.ops if op.kind == POST_PROCESS), None)
    options = op.options if op else {}
    return {name: float(value) for name, value in sorted(options.items()) if isinstance(value, (int, float))}


class Detector:
    """Runs one model. Lives in one worker process; not thread-safe.

    Args:
        candidates: Whether boxes before NMS are returned as well. A model with built-in NMS runs faster without them.
        kernels: A name from `qviz.tflite.runner.KERNELS`.
    """

    def __init__(
        self, data: bytes, settings: Settings, threads: int = 1, candidates: bool = True, kernels: str = "default"
    ) -> None:
        onnx = OnnxRunner(data, threads) if is_onnx(data) else None
        if onnx is not None:
            onnx.set_constants(constant_inputs(onnx.graph))
        self.graph = onnx.graph if onnx is not None else read_graph(data)
        self.spec = input_spec(settings)
        self._input = image_input(self.graph)
        self._reader = HeadReader(self.graph, settings, *input_size(self._input))
        inner = self._reader.inner if self._reader.needs_inner(candidates) else ()
        useless = self._reader.inner and not inner  # constants are only needed with the inner tensors
        self._further = () if useless else tuple(t for t in self._reader.tensors if t not in self.graph.outputs)
        self._runner = onnx or Runner(data, threads, keep_all=False, kernels=kernels, inner=inner)

    @property
    def reads_outputs_only(self) -> bool:
        """Whether detections (without candidates) can be decoded from the outputs and the file's constants alone."""
        return not self._reader.needs_inner(candidates=False)

    def prepare(self, image: Image) -> tuple[np.ndarray, Placement]:
        """The input tensor for an image, and where the image lies in it. Raises ModelError."""
        return _filled(image, self.spec, self._input)

    def decode(self, outputs: list[np.ndarray], placement: Placement, size: tuple[int, int], score: float) -> Inference:
        """Detections decoded from outputs that any runtime computed; the outputs have the file's order and types.

        size: (width, height) of the original image.
        """
        return inference(self._reader.decode(self._tensors(outputs), score), placement, size, 0.0)

    def detect(self, image: Image, score: float) -> Inference:
        """Detections with at least this score; boxes are in pixels of the image."""
        tensors, placement = self._run(image)
        milliseconds = self._runner.milliseconds
        return inference(self._reader.decode(tensors, score), placement, image.size, milliseconds)

    def detect_and_fit(self, image: Image, score: float) -> tuple[Inference, float | None]:
        """The result of `detect`, and how well the outputs fit the decoder (`Decoder.fit`)."""
        tensors, placement = self._run(image)
        decoded, fit = self._reader.decode(tensors, score), self._reader.fit(tensors)
        return inference(decoded, placement, image.size, self._runner.milliseconds), fit

    def _run(self, image: Image) -> tuple[dict[int, np.ndarray], Placement]:
        """Run the model on an image: the tensors that the head's reader needs, by index, and the image's placement."""
        values, placement = _filled(image, self.spec, self._input)
        return self._tensors(self._runner.run([values])), placement

    def _tensors(self, outputs: list[np.ndarray]) -> dict[int, np.ndarray]:
        """The outputs and the inner tensors that the head's reader needs, by tensor index."""
        tensors = dict(zip(self.graph.outputs, outputs, strict=True))
        for index in self._further:
            with suppress(QvizError):  # the decoder can do without a tensor that the runtime did not keep
                tensors[index] = self._runner.tensor(index)
        return tensors


def inference(decoded: Decoded, placement: Placement, size: tuple[int, int], milliseconds: float) -> Inference:
    """The inference result, with boxes in pixels of the original image. size: (width, height) of that image."""

    def to_original(detections: Detections) -> Detections:
        # not clipped to the image: pycocotools scores boxes as the model gives them
        moved = placement.detections_to_original(detections)
        finite = (np.abs(moved.boxes) < 1e9).all(axis=1)  # neither NaN nor so large that areas overflow
        return moved if finite.all() else moved[finite]

    candidates = to_original(decoded.candidates) if decoded.candidates is not None else None
    return Inference(to_original(decoded.detections), candidates, *size, milliseconds)


AnyImage = EncodedImage | Image
AnyDetector = Detector | SavedModelDetector | RecordedDetector


# ---- what runs in the workers -------------------------------------------------------------------------------------


_DETECTORS, _IMAGES, _INPUTS = LRUCache[Any](8), LRUCache[Any](4), LRUCache[Any](1)


def _filled(image: Image, spec: InputSpec, tensor: Tensor) -> tuple[np.ndarray, Placement]:
    """Like `fill`, but cached: the next model with the same input reuses the result for the same pixels."""
    if tensor.dtype != "float32":
        return fill(image, spec, tensor)
    key = id(image.pixels), spec, tensor.shape  # the array is cached too, so its id stays unique
    _, values, placement = _INPUTS.get(key, lambda: (image.pixels, *fill(image, spec, tensor)))
    return values, placement


def decoded(image: EncodedImage) -> Image:
    """The decoded image with its corruption applied; the images with and without it are cached. Raises ImageError."""
    plain = _IMAGES.get(image.plain.digest, lambda: read_image(image))
    if image.corruption is None:
        return plain
    from qviz.corruptions import corrupted  # imported here because it is rarely needed

    return _IMAGES.get(image.digest, lambda: corrupted(plain, image))


def inspect_job(model: Blob, given: Settings, sidecar: Settings) -> Inspection:
    """Run `inspect` in a worker, as the file is not trusted; also check that the model loads, with which kernels."""
    data = model.read()
    if is_recorded(data):
        return inspect_recorded(data, given, sidecar)
    inspection = inspect(data, given, sidecar)
    if inspection.runtime:
        return inspection
    return replace(inspection, reference_kernels=Runner(inspection.rewritten or data).reference_kernels)


def detect_job(
    model: Blob, settings: Settings, image: AnyImage, score: float, threads: int = 1, candidates: bool = True
) -> Inference:
    """Run one model in a worker, which caches interpreter and decoded image. Raises ImageError, ModelError."""
    pixels = image if isinstance(image, Image) else decoded(image)
    if settings.decoder == RECORDED and isinstance(image, EncodedImage) and image.corruption is not None:
        raise ModelError("holds recorded results, which do not exist for corrupted images.")
    key = model.digest, settings, threads, candidates
    detector = _DETECTORS.get(key, lambda: _detector(model.read(), settings, threads, candidates))
    return detector.detect(pixels, score)


def _detector(data: bytes, settings: Settings, threads: int, candidates: bool) -> AnyDetector:
    """A detector that runs in TensorFlow Lite, or in TensorFlow if TensorFlow Lite cannot express the model.

    For recorded results, it is a detector that returns those results.
    """
    if settings.decoder == RECORDED:
        return RecordedDetector(data, settings.labels or (), settings.max_detections or 100)
    if settings.decoder == TENSORFLOW:
        return SavedModelDetector(data, settings, threads)
    return Detector(data, settings, threads, candidates)


def preview_job(image: EncodedImage, longest: int) -> tuple[int, int, bytes]:
    """(width, height, JPEG preview whose longer side has at most `longest` pixels) of one image."""
    pixels = decoded(image)
    return pixels.width, pixels.height, preview(pixels, longest)
