from __future__ import annotations

import numpy as np
import pytest

from qviz.errors import ModelError
from qviz.structures import Image
from qviz.tflite.inputs import PAD, InputSpec, fill, input_size
from tests.graphs import per_tensor, tensor

PLAIN = InputSpec((0.0,) * 3, (1.0,) * 3, "rgb", "stretch")


def spec(resize: str = "stretch", channels: str = "rgb", mean: tuple = (0, 0, 0), std: tuple = (1, 1, 1)) -> InputSpec:
    return InputSpec(mean, std, channels, resize)


def plain(width: int, height: int, colour: tuple[int, int, int] = (10, 20, 30)) -> Image:
    return Image("x", np.full((height, width, 3), colour, np.uint8), "")


PLACEMENTS = [
    # image, input (w, h), resize -> the image's rectangle in the input
    ((400, 100), (200, 200), "stretch", (0, 0, 200, 200)),
    ((400, 100), (200, 200), "letterbox", (0, 75, 200, 125)),
    ((100, 400), (200, 200), "letterbox", (75, 0, 125, 200)),
    ((400, 100), (200, 200), "letterbox-top-left", (0, 0, 200, 50)),
    ((100, 400), (200, 200), "letterbox-top-left", (0, 0, 50, 200)),
    ((50, 50), (200, 100), "letterbox", (50, 0, 150, 100)),  # a small image is enlarged
    ((3, 1000), (64, 64), "letterbox", (31, 0, 32, 64)),  # never thinner than a pixel
    ((333, 217), (300, 300), "letterbox", (0, 52, 300, 247)),
]


@pytest.mark.parametrize(("size", "model", "resize", "rectangle"), PLACEMENTS)
def test_placement_and_its_inverse(
    size: tuple[int, int], model: tuple[int, int], resize: str, rectangle: tuple[float, ...]
) -> None:
    entry = tensor(0, shape=(1, model[1], model[0], 3))
    values, placement = fill(plain(*size), spec(resize), entry)
    x1, y1, x2, y2 = rectangle
    assert (values[0, y1:y2, x1:x2] == (10, 20, 30)).all()
    outside = np.ones(values.shape[1:3], bool)
    outside[y1:y2, x1:x2] = False
    assert (values[0][outside] == PAD).all()
    back = placement.to_original(np.array([rectangle], np.float32))
    assert back[0] == pytest.approx([0, 0, *size], abs=1e-3)


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "letterbox-top-left"])
def test_a_dot_is_mapped_back_to_its_original_position(resize: str) -> None:
    """On real pixels, not only by arithmetic."""
    dotted = plain(400, 100, (0, 0, 0))
    dotted.pixels[20:40, 280:320] = 255
    values, placement = fill(dotted, spec(resize), tensor(0, shape=(1, 200, 200, 3)))
    rows, columns = np.nonzero(values[0, ..., 0] > 200)  # above the letterbox's grey
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    assert placement.to_original(box)[0] == pytest.approx([280, 20, 320, 40], abs=4)


def test_normalization_is_per_channel_in_the_models_order() -> None:
    settings = spec(channels="bgr", mean=(30, 20, 10), std=(1, 2, 4))
    values, _ = fill(plain(4, 4, (14, 24, 34)), settings, tensor(0, shape=(1, 4, 4, 3)))
    assert values[0, 0, 0].tolist() == [4.0, 2.0, 1.0]  # blue first
    values, _ = fill(plain(4, 4, (14, 24, 34)), spec(mean=(10, 20, 30), std=(4, 2, 1)), tensor(0, shape=(1, 4, 4, 3)))
    assert values[0, 0, 0].tolist() == [1.0, 2.0, 4.0]


def test_channels_first() -> None:
    values, _ = fill(plain(8, 4), PLAIN, tensor(0, shape=(1, 3, 4, 8)))
    assert (values.shape, values.flags.c_contiguous) == ((1, 3, 4, 8), True)
    assert values[0, :, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("shape", [(1, 4, 8, 1), (1, 1, 4, 8)])
def test_greyscale_input_is_the_mean_of_the_channels(shape: tuple[int, ...]) -> None:
    values, _ = fill(plain(8, 4), PLAIN, tensor(0, shape=shape))
    assert (values.shape, set(values.ravel().tolist())) == (shape, {20.0})


ONE = (127.5, 127.5)
TYPED = [
    # grey value, (mean, std), dtype, quantization, what the model reads
    (200, (0, 1), "float32", None, 200.0),
    (200, (0, 1), "uint8", None, 200),
    (255, ONE, "float16", None, 1.0),
    (200, (0, 1), "uint8", per_tensor(1.0, 0), 200),
    (200, (0, 255), "uint8", per_tensor(1 / 255, 0), 200),
    (0, ONE, "int8", per_tensor(1 / 128, 0), -128),
    (255, ONE, "int8", per_tensor(1 / 128, 0), 127),  # 128 does not fit
    (5, (0, 1), "uint8", per_tensor(2.0, 0), 3),  # half away from zero; to even would be 2
    (5, (10, 1), "int8", per_tensor(2.0, 0), -3),
    (100, (0, 3), "uint8", per_tensor(1.0, 0), 33),  # 33.33
    (101, (0, 3), "uint8", per_tensor(1.0, 0), 34),  # 33.67: truncation would give 33
    (10, (127.5, 127.5), "int8", per_tensor(1 / 255, -128), -128),  # the wrong range clips at its end
    (200, (0, 1), "int8", None, 127),
    (200, ONE, "int16", per_tensor(1 / 32768, 0), 18633),
]


@pytest.mark.parametrize(("grey", "normal", "dtype", "quantization", "expected"), TYPED)
def test_input_types(grey: int, normal: tuple[float, float], dtype: str, quantization, expected: float) -> None:
    entry = tensor(0, shape=(1, 4, 4, 3), dtype=dtype, quantization=quantization)
    values, _ = fill(plain(4, 4, (grey,) * 3), spec(mean=normal[:1] * 3, std=normal[1:] * 3), entry)
    assert values.dtype == np.dtype(dtype)
    assert set(values.ravel().tolist()) == {expected}


SIZES = [((1, 320, 640, 3), (640, 320)), ((1, 3, 320, 640), (640, 320)), ((1, 96, 96, 1), (96, 96))]


@pytest.mark.parametrize(("shape", "expected"), SIZES)
def test_input_sizes(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert input_size(tensor(0, shape=shape)) == expected


@pytest.mark.parametrize(
    "shape",
    [(), (1, 10), (300, 300, 3), (65, 300, 300, 3), (1, 300, 300, 5), (1, -1, -1, 3), (1, 0, 9, 3), (1, 9000, 9, 3)],
)
def test_inputs_that_are_not_images_of_fixed_size_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"[Ee]xport (the model|it) with a fixed size"):
        input_size(tensor(0, "pixels", shape))
