"""Whether a variant was made from the reference: by its weights, layers, classes and input size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import qviz
from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.made_from import MadeFrom, made_from
from qviz.features.inspection.weights import compare_layer
from tests.squares import Squares

RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.normal(size=(8, 3, 3, 16)).astype(np.float32)
ENTRY = RANDOM.normal(size=(8, 3, 3, 3)).astype(np.float32)


def rounded(weights: np.ndarray, bits: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """(real values after rounding per output channel, step of each weight)."""
    largest = 2 ** (bits - 1) - 1
    scale = np.broadcast_to(np.abs(weights).max((1, 2, 3), keepdims=True) / largest, weights.shape)
    return np.clip(np.rint(weights / scale), -largest, largest) * scale, scale


def kind(reference: np.ndarray, original: np.ndarray, is_entry: bool = False, bits: int = 8) -> str:
    """What a layer is called whose variant holds `original` in integers."""
    variant, scale = rounded(original, bits)
    clipped = np.abs(variant / scale) >= 2 ** (bits - 1) - 1.5
    return compare_layer(reference, variant, scale, clipped, is_entry)[0]


PER_CHANNEL = RANDOM.uniform(0.2, 5, (8, 1, 1, 1)).astype(np.float32)
PER_INPUT = RANDOM.uniform(0.2, 5, (1, 1, 1, 16)).astype(np.float32)
NOISE = RANDOM.normal(size=WEIGHTS.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        (WEIGHTS, "rounded"),
        (WEIGHTS * PER_CHANNEL, "rescaled"),  # a folded batch normalisation
        (WEIGHTS * PER_CHANNEL / PER_INPUT, "rescaled"),  # cross-layer equalization
        (WEIGHTS + 0.02 * NOISE, "trained"),
        (WEIGHTS[RANDOM.permutation(8)], "permuted"),
        (WEIGHTS * (1 + 0.3 * np.sign(NOISE)), "other"),  # another checkpoint
        (NOISE, "other"),
        (-WEIGHTS, "other"),
        (WEIGHTS * 1e-3 * (1 + NOISE), "other"),
    ],
)
def test_kinds_of_layers(original: np.ndarray, expected: str) -> None:
    assert kind(WEIGHTS, original) == expected


def test_reversed_channels_are_recognised_in_the_first_layer_alone() -> None:
    assert kind(ENTRY, ENTRY[..., ::-1], is_entry=True) == "reversed"
    assert kind(ENTRY, ENTRY[..., ::-1]) == "other"


def test_four_bits_are_no_excuse_for_other_weights() -> None:
    assert kind(WEIGHTS, WEIGHTS, bits=4) == "rounded"
    assert kind(WEIGHTS, WEIGHTS * (1 + 0.6 * np.sign(NOISE)), bits=4) == "other"


def test_weights_that_were_cut_off_on_purpose_are_the_references() -> None:
    scale = np.full(WEIGHTS.shape, 1 / 127, np.float32)
    variant = np.clip(WEIGHTS, -1, 1)
    assert compare_layer(WEIGHTS, variant, scale, np.abs(variant) >= 1)[0] == "rounded"


def test_the_samples_variants_were_made_from_the_reference(loaded: dict[str, LoadedModel], engine: LocalEngine) -> None:
    for name in ("float16", "dynamic_range", "int8", "int8_wrong_range"):
        origin = made_from(Context(engine), loaded["float32"], loaded[name])
        assert origin.value == "yes", name
        assert origin.largest_weight_error_steps is not None and origin.largest_weight_error_steps <= 0.51


@pytest.fixture(scope="module")
def sample_float() -> Path:
    return Path("sample_data/models/ssdlite_mobilenet_v2_float32.tflite").resolve()


SQUARES = [
    ("bgr_inside", "not_same_network", "reversed"),
    ("other_class_order", "not_same_network", "permuted"),
    ("other_checkpoint", "not_same_network", "steps away"),
    ("input_256", "other_input_size", "256 x 256"),
    ("reference", "", ""),
    ("end_to_end", "", ""),  # another head on the same weights
    ("pixels_with_scores", "", ""),
    ("logits_with_boxes", "", ""),
    ("uint8_input", "", ""),
]


@pytest.mark.parametrize(("name", "code", "words"), SQUARES)
def test_square_detectors(name: str, code: str, words: str, squares: Squares) -> None:
    origin = origin_of(squares, name)
    assert origin.value == ("no" if code else "yes")
    assert origin.code == code
    assert words in origin.reason
    assert bool(origin.cure) == bool(code)


def origin_of(squares: Squares, name: str) -> MadeFrom:
    with qviz.open(squares.model("reference", "float32"), squares.model(name, "int8"), mean=0, std=255) as session:
        return made_from(session.context, *session.models)


def test_another_network_is_the_headline(squares: Squares) -> None:
    pair = squares.model("reference", "float32"), squares.model("bgr_inside", "int8")
    result = qviz.compare(*pair, images=squares.images, mean=0, std=255, labels=squares.labels)
    assert str(result).startswith(f"{pair[1].name} was not made from {pair[0].name}. Its weights fit")
    assert result.warnings[0].code == "not_same_network"


def test_two_coarse_files_of_one_network(tmp_path: Path, sample_float: Path) -> None:
    """The reference may be rounded more coarsely than the variant."""
    paths = [
        qviz.quantize(sample_float, recipe=name).save(tmp_path / f"{name}.tflite")
        for name in ("dynamic_range_int4", "dynamic_range")
    ]
    for pair in (paths, paths[::-1]):
        with qviz.open(*pair) as session:
            assert made_from(session.context, *session.models).value == "yes"
