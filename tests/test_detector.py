"""Settings of a model by source, in order: call, sidecar, model file, reference, decoder; and its detections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qviz.datasets.images import read_image
from qviz.detector import Detector, check_operators, detect_job, inspect
from qviz.engine import LocalEngine
from qviz.errors import ImageError, ModelError, NoDecoderError, SettingsError
from qviz.structures import EncodedImage, Image, Op, Settings, digest_of
from qviz.structures.boxes import iou_matrix
from qviz.tflite.constant_inputs import image_input
from tests.conftest import Sample
from tests.graphs import graph, image_tensor, tensor
from tests.tflite.files import relu

NO_SETTINGS = Settings()


def grey(value: float) -> Settings:
    return Settings(mean=(value,) * 3)


PRECEDENCE = [
    (grey(1), grey(2), grey(3), 1.0, "given"),
    (NO_SETTINGS, grey(2), grey(3), 2.0, "sidecar"),
    (NO_SETTINGS, NO_SETTINGS, grey(3), 3.0, "reference"),
    (NO_SETTINGS, NO_SETTINGS, NO_SETTINGS, 127.5, "default"),
]


@pytest.mark.parametrize(("explicit", "sidecar", "reference", "mean", "source"), PRECEDENCE)
def test_settings_sources_in_order_of_precedence(
    explicit: Settings, sidecar: Settings, reference: Settings, mean: float, source: str, sample: Sample
) -> None:
    data = sample.models["int8"].read_bytes()
    result = inspect(data, explicit, sidecar)
    if reference.given():
        result = result.following(inspect(data, reference, NO_SETTINGS))
    assert (result.settings.mean, result.sources["mean"]) == ((mean,) * 3, source)


def test_each_setting_has_its_own_source(sample: Sample) -> None:
    explicit, sidecar = Settings(channels="bgr", class_offset=0), Settings(channels="rgb", class_offset=1, nms_iou=0.4)
    result = inspect(sample.models["int8"].read_bytes(), explicit, sidecar)
    assert {name: result.sources[name] for name in ("channels", "class_offset", "nms_iou", "std", "labels")} == {
        "channels": "given",
        "class_offset": "given",
        "nms_iou": "file",  # NMS is inside the file
        "std": "default",
        "labels": "class count",
    }
    assert (result.settings.channels, result.settings.class_offset, result.settings.nms_iou) == ("bgr", 0, 0.6)


def test_a_variant_takes_only_input_settings_from_its_reference(sample: Sample) -> None:
    explicit = Settings(
        mean=(9.0,) * 3, resize="letterbox", labels=("a",), nms_iou=0.4, max_detections=7, class_offset=1
    )
    data = sample.models["int8"].read_bytes()
    result = inspect(data, NO_SETTINGS, NO_SETTINGS).following(inspect(data, explicit, NO_SETTINGS)).settings
    assert (result.mean, result.resize, result.labels) == ((9.0,) * 3, "letterbox", ("a",))
    assert (result.nms_iou, result.max_detections, result.class_offset) == (0.6, 25, 0)  # those of the file


REFUSED: list[tuple[bytes, Settings, type[Exception], str]] = [
    (b"text", NO_SETTINGS, ModelError, "is not a TensorFlow Lite file"),
    (relu((1, 4)), NO_SETTINGS, ModelError, "reads 'in' of shape [1, 4]; one image is expected"),
    (relu((1, 8, 8, 3)), NO_SETTINGS, NoDecoderError, "'out' [1, 8, 8, 3] float32"),
    (relu((1, 8, 8, 3)), Settings(decoder="ssd_raw"), NoDecoderError, "does not fit the decoder 'ssd_raw'"),
    (relu((1, 8, 8, 3)), Settings(decoder="ssd"), SettingsError, "decoder is 'ssd'; choose one of"),
]


@pytest.mark.parametrize(("data", "explicit", "error", "sentence"), REFUSED)
def test_unsupported_models_are_refused(data: bytes, explicit: Settings, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        inspect(data, explicit, NO_SETTINGS)
    assert sentence in str(caught.value)


def test_tensorflow_select_operators_are_named() -> None:
    ops = [Op(0, "FlexRFFT", (0,), (1,), custom=True), Op(1, "TFLite_Detection_PostProcess", (1,), (2,), custom=True)]
    tensors = [image_tensor(), tensor(1), tensor(2)]
    with pytest.raises(ModelError, match=r"TensorFlow's own operators \(RFFT\).*TFLITE_BUILTINS"):
        check_operators(graph(tensors, [2], ops))
    check_operators(graph(tensors, [2], ops[1:]))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((400, 100, 200, 3), "batch 1"),
        ((1, 100, 200, 4), "four channels, and the file does not say what the fourth is"),
        ((1, -1, -1, 3), "fixed size"),
        ((1, 100, 200, 7), "one image is expected"),
        ((1, 3, 100), "one image is expected"),
    ],
)
def test_inputs_that_are_not_images_of_fixed_size_are_refused(shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        image_input(graph([tensor(0, "input", shape), tensor(1)], [1]))


def test_two_inputs_are_named() -> None:
    of = graph([image_tensor(), tensor(1, "anchors")], [1])
    two: Any = type(of)(of.tensors, of.ops, (0, 1), of.outputs)
    with pytest.raises(ModelError, match=r"has 2 inputs \('image', 'anchors'\); a detector with one image"):
        image_input(two)


@pytest.fixture(scope="module")
def horses(sample: Sample) -> EncodedImage:
    path = sample.images / "horses_nokota.jpg"
    return EncodedImage(path.name, path.read_bytes())


def test_a_detection_job_detects_objects(engine: LocalEngine, sample: Sample, horses: EncodedImage) -> None:
    data = sample.models["float32"].read_bytes()
    blob, settings = engine.share(data, digest_of(data)), inspect(data, NO_SETTINGS, NO_SETTINGS).settings
    result = engine.submit(detect_job, blob, settings, horses, 0.5).result(timeout=60)
    assert settings.labels[result.detections.class_ids[0]] == "horse"
    boxes = result.detections.boxes
    assert (boxes[:, 2] <= result.width + 5).all()
    assert (boxes[:, 3] <= result.height + 5).all()
    assert (boxes[:, 2:] - boxes[:, :2] > 20).all()  # in pixels of the original
    assert len(result.candidates) > len(boxes) > 0
    assert result.milliseconds > 0
    with pytest.raises(ImageError, match=r"bad\.jpg is empty"):
        engine.submit(detect_job, blob, settings, EncodedImage("bad.jpg", b""), 0.5).result(timeout=60)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "letterbox-top-left"])
@pytest.mark.parametrize("beside", [(512, 0), (0, 512)], ids=["at the right", "below"])
def test_boxes_are_in_original_pixels_for_every_resize(resize: str, beside: tuple[int, int], sample: Sample) -> None:
    """The astronaut (512 x 512) in a grey image of twice the width or height."""
    data, name = sample.models["float32"].read_bytes(), "astronaut.jpg"
    person = read_image(EncodedImage(name, (sample.images / name).read_bytes())).pixels
    x, y = beside
    pixels = np.full((512 + y, 512 + x, 3), 114, np.uint8)
    pixels[y:, x:] = person
    settings = Settings(resize=resize).with_defaults(inspect(data, NO_SETTINGS, NO_SETTINGS).settings)
    result = Detector(data, settings).detect(Image(name, pixels, ""), 0.3)
    assert settings.labels[result.detections.class_ids[0]] == "person"
    annotated = np.array([[19 + x, 15 + y, 362 + x, 512 + y]], np.float32)
    assert iou_matrix(annotated, result.detections.boxes[:1])[0, 0] > 0.75
    assert iou_matrix(annotated, result.candidates.by_score().boxes[:1])[0, 0] > 0.75


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_detections_are_the_same_without_candidates(scheme: str, sample: Sample) -> None:
    """Preserving every tensor, which candidates need, takes longer and gives the same bits."""
    data, name = sample.models[scheme].read_bytes(), "irish_session.jpg"
    settings = inspect(data, NO_SETTINGS, NO_SETTINGS).settings
    image = read_image(EncodedImage(name, (sample.images / name).read_bytes()))
    full, lean = (Detector(data, settings, 1, candidates).detect(image, 0.01) for candidates in (True, False))
    assert lean.candidates is None and full.candidates is not None
    for field in ("boxes", "scores", "class_ids"):
        assert np.array_equal(getattr(full.detections, field), getattr(lean.detections, field))
