"""One file under other kernels: floats differ in the last digits, integers by a step."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine
from qviz.errors import ImageError
from qviz.features.backends.noise import MAX_IMAGES, Difference, KernelNoise, KernelSets, noise_budget
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Stepper
from tests.conftest import Sample
from tests.graphs import per_tensor, tensor

Models = dict[str, LoadedModel]


@pytest.fixture(scope="module")
def image(sample: Sample) -> EncodedImage:
    return next(iter(load_images([sample.images / "hens.jpg"])))


def budget(engine: LocalEngine, model: LoadedModel, image: EncodedImage) -> KernelNoise:
    (kernel_noise,) = noise_budget(Context(engine), model, [image], kernels=["builtin"]).sets
    return kernel_noise


def test_floats_differ_in_the_last_digits(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    kernel_noise = budget(engine, loaded["float32"], image)
    assert len(kernel_noise.layers) >= 120
    assert not kernel_noise.equal
    assert any(layer.differing_share > 0 for layer in kernel_noise.layers)
    assert any(layer.local_differing_share == 0 and layer.local_kernel_sqnr_db is None for layer in kernel_noise.layers)
    assert all(layer.kernel_sqnr_db is None or layer.kernel_sqnr_db > 90 for layer in kernel_noise.layers)
    assert {layer.steps for layer in kernel_noise.layers} == {None}
    assert kernel_noise.agreement == 1


def test_integer_operators_differ_by_at_most_one_step(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    kernel_noise = budget(engine, loaded["int8"], image)
    alone = [layer.local_steps for layer in kernel_noise.layers if layer.local_steps is not None]
    assert len(alone) > 100
    assert 1 <= kernel_noise.local_steps <= 2
    assert 0 in alone
    gathered = max(layer.steps or 0 for layer in kernel_noise.layers)
    assert gathered > kernel_noise.local_steps  # differences of single steps accumulate along the network
    worst = kernel_noise.worst
    assert worst is not None
    assert worst.kernel_sqnr_db == min(layer.kernel_sqnr_db for layer in kernel_noise.layers if layer.kernel_sqnr_db)
    assert f"operator {worst.order}" in kernel_noise.sentence
    assert "one operator alone differs by at most 1 step" in kernel_noise.sentence or kernel_noise.local_steps == 2


def interpreter(data: bytes, resolver: OpResolverType) -> Interpreter:
    result = Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    result.allocate_tensors()
    return result


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_first_operator_equals_two_plain_interpreters(
    name: str, sample: Sample, loaded: Models, image: EncodedImage
) -> None:
    """It reads the input, so local and cumulative error are the difference of two plain interpreters."""
    data, settings = sample.models[name].read_bytes(), loaded[name].settings
    values, _ = fill(read_image(image), input_spec(settings), loaded[name].inspection.graph.input_tensors()[0])
    op = next(op for op in loaded[name].inspection.graph.ops if op.kind == "CONV_2D")
    outputs = []
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        whole = interpreter(data, resolver)
        whole.set_tensor(whole.get_input_details()[0]["index"], values)
        whole.invoke()
        outputs.append(np.array(whole.get_tensor(op.outputs[0])))
    sums = KernelSets(data, settings, ("builtin",)).run(image, 0.25).sums["builtin"][op.order]
    differing = int(np.count_nonzero(outputs[0] != outputs[1]))
    assert sums.cumulative.differing == differing
    assert name == "int8" or sums.local.differing == differing  # in int8 a QUANTIZE precedes it
    if name == "int8":
        assert sums.cumulative.steps == int(np.abs(outputs[0].astype(int) - outputs[1].astype(int)).max())


@pytest.mark.parametrize("kernels", ["builtin", "default"])
def test_the_chosen_kernels_are_used(kernels: str, sample: Sample, loaded: Models, image: EncodedImage) -> None:
    """Bit for bit equal to the whole file with the default kernels, and different with others."""
    data = sample.models["int8"].read_bytes()
    graph = loaded["int8"].inspection.graph
    values, _ = fill(read_image(image), input_spec(loaded["int8"].settings), graph.input_tensors()[0])
    scores = graph.ops[-1].inputs[1]
    assert scores is not None
    stepped = Stepper(data, kernels=kernels).run([values], keep=[scores])[scores]
    default = Runner(data)
    default.run([values])
    assert np.array_equal(stepped, default.tensor(scores)) is (kernels == "default")


def test_equal_outputs_are_reported_as_bit_for_bit(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    (kernel_noise,) = noise_budget(Context(engine), loaded["int8"], [image], kernels=["default"]).sets
    assert kernel_noise.equal
    assert {layer.kernel_sqnr_db for layer in kernel_noise.layers} == {None}
    assert (kernel_noise.local_steps, kernel_noise.worst, kernel_noise.agreement) == (0, None, 1)
    assert "bit for bit" in kernel_noise.sentence


def test_a_difference_counts_elements_and_steps() -> None:
    int8_tensor = tensor(0, dtype="int8", quantization=per_tensor(0.5, 0))
    difference = Difference()
    difference.add(
        np.array([-128, 1, 2], np.int8), np.array([127, 1, 4], np.int8), int8_tensor, "a"
    )  # no overflow in the difference
    difference.add(np.array([3], np.int8), np.array([3], np.int8), int8_tensor, "b")
    assert (difference.differing, difference.steps, difference.errors.count) == (2, 255, 4)
    assert difference.errors.max_abs == pytest.approx(127.5)
    other = Difference()
    other.add(np.array([1], np.int8), np.array([2, 3], np.int8), int8_tensor, "c")  # other shapes are not compared
    assert (other.differing, other.errors.count) == (0, 0)


def test_json_and_frame_of_a_noise_budget(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    broken = EncodedImage("bad.jpg", b"no image")
    result = noise_budget(Context(engine), loaded["int8"], [broken, image, *[broken] * MAX_IMAGES], kernels=["builtin"])
    assert (result.images, len(result.skipped)) == (1, MAX_IMAGES - 1)
    written = json.dumps(result.to_json(), allow_nan=False)
    assert {"kernels", "agreement", "layers"} <= set(json.loads(written)["sets"][0])
    frame = result.to_frame()
    assert len(frame) == len(result.sets[0].layers)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        noise_budget(Context(engine), loaded["int8"], [broken])
    with pytest.raises(ImageError, match="No image was given"):
        noise_budget(Context(engine), loaded["int8"], [])
