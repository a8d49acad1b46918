"""With a wrong input range, layers saturate in the dark; FP32 has no ranges."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import find_images, load_images
from qviz.engine import LocalEngine
from qviz.features.corruption_sweep.out_of_range import range_reach
from qviz.features.corruption_sweep.saturation import explain, saturation, with_readers
from qviz.features.corruption_sweep.text import explanation_sentence
from qviz.features.detection.models import LoadedModel
from qviz.structures import AppliedCorruption, EncodedImage, Quantization, Tensor
from tests.conftest import Sample

NIGHT = [AppliedCorruption("exposure", amount) for amount in (-1.0, -3.0)]


@pytest.fixture(scope="module")
def photographs(sample: Sample) -> list[EncodedImage]:
    return list(load_images(find_images([sample.images])))[:2]


def test_the_input_saturates_first(
    engine: LocalEngine, loaded: dict[str, LoadedModel], photographs: list[EncodedImage]
) -> None:
    result = saturation(Context(engine), loaded["float32"], loaded["int8_wrong_range"], photographs, NIGHT)
    assert (result.images, result.corruptions) == (2, (None, *NIGHT))
    first = result.layers[0]  # the input's quantizer: darkness lies in the half that it cannot represent
    assert (first.op_index, first.op_type) == (0, "QUANTIZE")
    assert 0.1 < first.shares[0] < first.shares[1] < first.shares[2] <= 1
    assert first in result.first_layers(10) and first.rise == pytest.approx(first.shares[2] - first.shares[0])
    shares = [result.clipped_share(shift) for shift in result.corruptions]
    assert all(share is not None for share in shares) and shares[2] > shares[0]  # type: ignore[operator]
    assert result.clipped_share(AppliedCorruption("night", 3)) is None
    assert {len(row.shares) for row in result.under("exposure").layers} == {3}


def test_float_activations_do_not_saturate(
    engine: LocalEngine, loaded: dict[str, LoadedModel], photographs: list[EncodedImage]
) -> None:
    result = saturation(Context(engine), loaded["float32"], loaded["float16"], photographs[:1], NIGHT[:1])
    assert (result.layers, result.first_layers(10), result.clipped_share(None)) == ((), (), None)


def test_the_layers_that_saturate_explain_the_loss(
    engine: LocalEngine, loaded: dict[str, LoadedModel], photographs: list[EncodedImage]
) -> None:
    pair = loaded["float32"], loaded["int8_wrong_range"]
    result = explain(Context(engine), *pair, photographs, NIGHT[0], [0])
    assert result.base < 0.7 and result.explained is not None and result.agreement > result.base
    assert result.operators > result.layers == 1
    sentence = explanation_sentence(result)
    assert "they explain" in sentence and "exposure at severity -1" in sentence


def test_readers_of_a_saturated_layer_are_grouped_with_it(loaded: dict[str, LoadedModel]) -> None:
    graph = loaded["int8"].inspection.graph
    assert {0, 1} <= with_readers(graph, [0])


def test_half_a_step_beyond_the_range_is_not_saturation() -> None:
    tensor = Tensor(0, "t", (4,), "int8", Quantization(np.array([0.5]), np.array([0]), None), False)
    low, high = -64.0, 63.5
    result = range_reach(3, "CONV_2D", tensor, np.array([low - 0.25, high + 0.25, 0, 1], np.float32))
    assert (result.below, result.above, result.excess, result.share) == (0, 0, (0, 0), 0)
    result = range_reach(3, "CONV_2D", tensor, np.array([low - 12.75 - 0.25, high + 1, 0, 1], np.float32))
    assert (result.below, result.above, result.share) == (1, 1, 0.5)
    assert result.excess == pytest.approx((12.75 / 127.5, 0.75 / 127.5))
