"""Who says how a model is run: the call, the sidecar, the file, the reference, the decoder; the first that speaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qviz.datasets.images import read_image
from qviz.detector import Detector, check_operators, detect_job, image_input, inspect
from qviz.engine import LocalEngine
from qviz.errors import ImageError, ModelError, NoDecoderError, SettingsError
from qviz.structures import EncodedImage, Image, Op, Settings, digest_of
from qviz.structures.boxes import iou_matrix
from tests.conftest import Sample
from tests.graphs import graph, image_tensor, tensor
from tests.tflite.files import relu

NOTHING = Settings()


def grey(value: float) -> Settings:
    return Settings(mean=(value,) * 3)


FIRST_TO_SPEAK = [
    (grey(1), grey(2), grey(3), 1.0, "given"),
    (NOTHING, grey(2), grey(3), 2.0, "sidecar"),
    (NOTHING, NOTHING, grey(3), 3.0, "reference"),
    (NOTHING, NOTHING, NOTHING, 127.5, "default"),
]


@pytest.mark.parametrize(("given", "sidecar", "reference", "mean", "source"), FIRST_TO_SPEAK)
def test_the_first_that_speaks_wins(
    given: Settings, sidecar: Settings, reference: Settings, mean: float, source: str, sample: Sample
) -> None:
    data = sample.models["int8"].read_bytes()
    result = inspect(data, given, sidecar)
    if reference.given():
        result = result.following(inspect(data, reference, NOTHING))
    assert (result.settings.mean, result.sources["mean"]) == ((mean,) * 3, source)


def test_field_by_field(sample: Sample) -> None:
    given, sidecar = Settings(channels="bgr", class_offset=0), Settings(channels="rgb", class_offset=1, nms_iou=0.4)
    result = inspect(sample.models["int8"].read_bytes(), given, sidecar)
    assert {name: result.sources[name] for name in ("channels", "class_offset", "nms_iou", "std", "labels")} == {
        "channels": "given",
        "class_offset": "given",
        "nms_iou": "sidecar",
        "std": "default",
        "labels": "class count",
    }
    assert (result.settings.channels, result.settings.class_offset, result.settings.nms_iou) == ("bgr", 0, 0.4)


def test_a_variant_follows_its_reference_in_the_input_only(sample: Sample) -> None:
    given = Settings(mean=(9.0,) * 3, resize="letterbox", labels=("a",), nms_iou=0.4, max_detections=7, class_offset=1)
    data = sample.models["int8"].read_bytes()
    result = inspect(data, NOTHING, NOTHING).following(inspect(data, given, NOTHING)).settings
    assert (result.mean, result.resize, result.labels) == ((9.0,) * 3, "letterbox", ("a",))
    assert (result.nms_iou, result.max_detections, result.class_offset) == (0.6, 100, 0)


REFUSED: list[tuple[bytes, Settings, type[Exception], str]] = [
    (b"text", NOTHING, ModelError, "is no TensorFlow Lite file"),
    (relu((1, 4)), NOTHING, ModelError, "reads 'in' of shape [1, 4]; one image is expected"),
    (relu((1, 8, 8, 3)), NOTHING, NoDecoderError, "'out' [1, 8, 8, 3] float32"),
    (relu((1, 8, 8, 3)), Settings(decoder="ssd_raw"), NoDecoderError, "does not fit the decoder 'ssd_raw'"),
    (relu((1, 8, 8, 3)), Settings(decoder="ssd"), SettingsError, "decoder is 'ssd'; choose one of"),
]


@pytest.mark.parametrize(("data", "given", "error", "sentence"), REFUSED)
def test_refused(data: bytes, given: Settings, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error) as caught:
        inspect(data, given, NOTHING)
    assert sentence in str(caught.value)


def test_tensorflows_own_operators_are_named() -> None:
    ops = [Op(0, "FlexRFFT", (0,), (1,), custom=True), Op(1, "TFLite_Detection_PostProcess", (1,), (2,), custom=True)]
    tensors = [image_tensor(), tensor(1), tensor(2)]
    with pytest.raises(ModelError, match=r"TensorFlow's own operators \(RFFT\).*TFLITE_BUILTINS"):
        check_operators(graph(tensors, [2], ops))
    check_operators(graph(tensors, [2], ops[1:]))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((4, 100, 200, 3), "batch 1"),
        ((1, -1, -1, 3), "fixed size"),
        ((1, 100, 200, 7), "one image is expected"),
        ((1, 3, 100), "one image is expected"),
    ],
)
def test_an_input_that_is_no_image_of_a_fixed_size(shape: tuple[int, ...], sentence: str) -> None:
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


def test_a_job_sees_what_is_there(engine: LocalEngine, sample: Sample, horses: EncodedImage) -> None:
    data = sample.models["float32"].read_bytes()
    blob, settings = engine.share(data, digest_of(data)), inspect(data, NOTHING, NOTHING).settings
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
def test_boxes_are_those_of_the_original_whatever_the_resize(
    resize: str, beside: tuple[int, int], sample: Sample
) -> None:
    """The astronaut (512 x 512) in a grey picture twice as wide or twice as high."""
    data, name = sample.models["float32"].read_bytes(), "astronaut.jpg"
    person = read_image(EncodedImage(name, (sample.images / name).read_bytes())).pixels
    x, y = beside
    pixels = np.full((512 + y, 512 + x, 3), 114, np.uint8)
    pixels[y:, x:] = person
    settings = Settings(resize=resize).with_defaults(inspect(data, NOTHING, NOTHING).settings)
    result = Detector(data, settings).detect(Image(name, pixels, ""), 0.3)
    assert settings.labels[result.detections.class_ids[0]] == "person"
    annotated = np.array([[19 + x, 15 + y, 362 + x, 512 + y]], np.float32)
    assert iou_matrix(annotated, result.detections.boxes[:1])[0, 0] > 0.75
    assert iou_matrix(annotated, result.candidates.by_score().boxes[:1])[0, 0] > 0.75


@pytest.mark.parametrize("scheme", ["float32", "float16", "int8"])
def test_without_candidates_the_detections_are_the_same(scheme: str, sample: Sample) -> None:
    """A run that keeps every tensor takes longer and gives the same bits."""
    data, name = sample.models[scheme].read_bytes(), "irish_session.jpg"
    settings = inspect(data, NOTHING, NOTHING).settings
    image = read_image(EncodedImage(name, (sample.images / name).read_bytes()))
    full, lean = (Detector(data, settings, 1, candidates).detect(image, 0.01) for candidates in (True, False))
    assert lean.candidates is None and full.candidates is not None
    for field in ("boxes", "scores", "class_ids"):
        assert np.array_equal(getattr(full.detections, field), getattr(lean.detections, field))
