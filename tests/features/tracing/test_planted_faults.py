"""A fault planted into one operator is the first culprit of a full and of a quick trace, with its cause."""

from __future__ import annotations

import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.detection.models import LoadedModel, ModelSource, load_models
from qviz.features.tracing import trace
from qviz.structures import EncodedImage
from tests import faults
from tests.conftest import Sample

Models = dict[str, LoadedModel]

FAULTS = [
    ("scale of operator 9 shrunk", faults.output_scale_shrunk(9), 9, "clipping"),
    ("scale of operator 35 shrunk", faults.output_scale_shrunk(35), 35, "clipping"),
    ("weights of operator 9 in 3 bits", faults.weights_rounded(9), 9, "weights"),
    ("weights of operator 39 in 3 bits", faults.weights_rounded(39), 39, "weights"),
    ("bias of operator 15 in 11 bits", faults.bias_overflown(15, 11), 15, "bias"),
    ("bias of operator 61 in 11 bits", faults.bias_overflown(61, 11), 61, "bias"),
    ("range of the image shifted", faults.input_zero_point_shifted(-110), 0, "input_range"),
]


@pytest.fixture(scope="module")
def biplane(sample: Sample) -> EncodedImage:
    (image,) = load_images([sample.images / "biplane.jpg"])
    return image


@pytest.mark.parametrize(("name", "edit", "order", "cause"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_the_first_culprit(
    engine: LocalEngine, loaded: Models, sample: Sample, biplane: EncodedImage,
    name: str, edit: faults.Edit, order: int, cause: str,
) -> None:  # fmt: skip
    broken = faults.planted(sample.models["int8"].read_bytes(), edit)
    variant = load_models(engine, [ModelSource("broken.tflite", broken, loaded["int8"].settings)])[0]
    for quick in (False, True):
        result = trace(Context(engine), loaded["float32"], variant, biplane, object_number=0, quick=quick)
        assert result.object.variant_score < result.object.reference_score - 0.5
        first = result.culprits[0]
        assert (first.order, first.cause) == (order, cause), [(row.order, row.cause) for row in result.culprits]
        assert first.gain > 0.5 * (result.end_score - result.object.variant_score)


def test_without_a_fault_no_operator_loses_half_of_the_score(
    engine: LocalEngine, loaded: Models, biplane: EncodedImage
) -> None:
    result = trace(Context(engine), loaded["float32"], loaded["int8"], biplane, object_number=0)
    assert all(culprit.gain < 0.2 for culprit in result.culprits)
    assert not {"weights", "bias", "clipping", "input_range"} & {culprit.cause for culprit in result.culprits}
