"""Layer errors on the sample: the broken layer is identified, a network against itself has no error."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine
from qviz.errors import ImageError
from qviz.features.detection.inference import AHEAD
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.layer_error.stream import sums_of_image
from qviz.features.layer_error.tensor_error import sqnr_db
from qviz.features.layer_error.text import layers_verdict
from qviz.progress import Advance
from qviz.structures import EncodedImage, Op
from qviz.tflite.paired_networks import PairedNetworks, as_real
from tests.conftest import Sample

Models = dict[str, LoadedModel]


@pytest.fixture(scope="module")
def images(sample: Sample) -> list[EncodedImage]:
    return list(load_images([sample.images / "hens.jpg", sample.images / "dog_shepherd.jpg"]))


def errors(engine: LocalEngine, loaded: Models, name: str, images: list[EncodedImage], fed: str) -> LayerErrors:
    return layers(Context(engine), loaded["float32"], loaded[name], images, local_inputs=fed)


def test_the_wrong_range_is_at_the_input(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    broken = errors(engine, loaded, "int8_wrong_range", images, "reference")
    good = errors(engine, loaded, "int8", images, "reference")
    first = broken.layers[0]
    assert first.op_kind == "QUANTIZE"
    assert first.clipped_share is not None and first.clipped_share > 0.2
    assert good.layers[0].clipped_share == 0
    assert first.clipping_mse is not None and first.rounding_mse is not None
    assert first.clipping_mse > 1000 * first.rounding_mse
    assert "the input quantizer (QUANTIZE) clips" in layers_verdict({"int8": good, "wrong": broken})


def test_a_network_against_itself_has_no_error(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    same = errors(engine, loaded, "float32", images, "reference")
    assert same.paired_share == 1
    assert {layer.cumulative_mse for layer in same.layers} == {0}
    assert all(layer.local_mse in (0, None) for layer in same.layers)


@pytest.mark.parametrize("name", ["int8", "float16", "dynamic_range"])
def test_every_variant_pairs_and_every_layer_is_measured(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage], name: str
) -> None:
    result = errors(engine, loaded, name, images, "reference")
    assert result.paired_share >= 0.99
    assert result.images == 2
    measured = [layer for layer in result.layers if layer.cumulative_mse is not None]
    assert len(measured) >= 120
    json.dumps(result.to_json())


def test_local_error_is_that_of_one_operator(sample: Sample, loaded: Models, images: list[EncodedImage]) -> None:
    networks = PairedNetworks(
        sample.models["float32"].read_bytes(),
        sample.models["int8"].read_bytes(),
        (loaded["float32"].settings, loaded["int8"].settings),
    )
    truth, variant_tensors = networks.run(read_image(images[0]))
    op = next(op for op in networks.layers if op.kind == "CONV_2D")
    actual = networks.local(op, truth)
    x = truth[networks.partners[op.outputs[0]]]
    assert actual is not None
    # one convolution at 8 bits: less error than the accumulated one, about half a step
    tensor = networks.variant.graph.tensors[op.outputs[0]]
    assert tensor.quantization is not None
    assert 25 < (sqnr_db(x, actual) or 0) < 60
    assert np.median(np.abs(x - actual)) < float(tensor.quantization.scales[0])
    assert as_real(variant_tensors[op.outputs[0]], tensor).shape == x.shape


def test_variant_inputs_feed_both_operators_equally(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    fed_own = errors(engine, loaded, "int8_wrong_range", images, "variant")
    fed_reference = errors(engine, loaded, "int8_wrong_range", images, "reference")
    by_order = {layer.order: layer for layer in fed_reference.layers}
    first = fed_own.layers[0]
    assert first.local_mse == pytest.approx(by_order[first.order].local_mse, rel=1e-6)  # it is the first layer
    later = [layer for layer in fed_own.layers[3:] if layer.local_mse and by_order[layer.order].local_mse]
    assert any(abs(layer.local_mse / by_order[layer.order].local_mse - 1) > 0.2 for layer in later)


@pytest.mark.parametrize("fed", ["reference", "variant"])
@pytest.mark.parametrize("name", ["int8", "dynamic_range"])
def test_streamed_errors_equal_those_of_a_whole_run(
    sample: Sample, loaded: Models, images: list[EncodedImage], name: str, fed: str
) -> None:
    """Tensors are compared while the reference runs and then freed; here all are preserved and compared in float64."""
    files = sample.models["float32"].read_bytes(), sample.models[name].read_bytes()
    networks = PairedNetworks(*files, (loaded["float32"].settings, loaded[name].settings))
    picture = read_image(images[0])
    result = sums_of_image(networks, picture, fed)
    truth, variant_tensors = networks.run(picture)
    tensors = networks.variant.graph.tensors
    real = {index: as_real(values, tensors[index]) for index, values in variant_tensors.items()}
    assert set(result) == {op.order for op in networks.layers if op.outputs[0] in variant_tensors}
    for op in networks.layers:
        x, y = truth[networks.partners[op.outputs[0]]], real[op.outputs[0]]
        assert result[op.order].cumulative.error == pytest.approx(energy(x, y), rel=1e-4, abs=1e-9)
        expected, actual = (
            (x, networks.local(op, truth)) if fed == "reference" else (expectation(networks, op, real), y)
        )
        assert (expected is None or actual is None) == (result[op.order].local.count == 0)
        if expected is not None and actual is not None:
            assert result[op.order].local.error == pytest.approx(energy(expected, actual), rel=1e-4, abs=1e-9)


def expectation(networks: PairedNetworks, op: Op, real: dict[int, np.ndarray]) -> np.ndarray | None:
    copies: list[np.ndarray] = []
    networks.expect(op, real, lambda values: copies.append(values.copy()))
    return copies[0] if copies else None


def energy(x: np.ndarray, y: np.ndarray) -> float:
    return float(np.sum((x.astype(np.float64).ravel() - y.astype(np.float64).ravel()) ** 2))


def test_images_are_read_lazily(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    read, read_ahead = 0, []

    class Many:
        def __len__(self) -> int:
            return 20

        def __iter__(self) -> Iterator[EncodedImage]:
            nonlocal read
            for _ in range(len(self)):
                read += 1
                yield EncodedImage("bad.jpg", b"no image") if read % 4 else images[0]

    def look(done: int, total: int) -> None:
        read_ahead.append((read - done, total))

    context = Context(engine, progress=Advance(look))
    result = layers(context, loaded["float32"], loaded["float32"], Many())
    assert (result.images, len(result.skipped)) == (5, 15)
    assert max(ahead for ahead, _ in read_ahead) <= AHEAD * engine.workers + 1
    assert {total for _, total in read_ahead} == {20}


def test_unused_share_of_ranges(engine: LocalEngine, loaded: Models, images: list[EncodedImage]) -> None:
    rows = errors(engine, loaded, "int8", images, "reference").layers
    shares = [layer.unused_share for layer in rows if layer.unused_share is not None]
    assert len(shares) > 100
    assert all(0 <= share <= 1 for share in shares)
    # calibration used more than two photographs; the input spans its whole range
    assert rows[0].unused_share == pytest.approx(0, abs=0.02)
    assert any(share > 0.1 for share in shares)
    assert {layer.unused_share for layer in errors(engine, loaded, "float16", images, "reference").layers} == {None}


def test_a_broken_image_is_skipped_with_a_reason(
    engine: LocalEngine, loaded: Models, images: list[EncodedImage]
) -> None:
    result = errors(engine, loaded, "int8", [EncodedImage("bad.jpg", b"no image"), images[0]], "reference")
    assert (result.images, len(result.skipped)) == (1, 1)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        errors(engine, loaded, "int8", [EncodedImage("bad.jpg", b"no image")], "reference")
