"""One file under other kernels: floats differ in the last digits, integers by a step, and equal is equal."""

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
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error.noise import MAX_IMAGES, Difference, KernelNoise, KernelSets, noise_budget
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
    (found,) = noise_budget(Context(engine), model, [image], kernels=["builtin"]).sets
    return found


def test_floats_differ_in_the_last_digits(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    found = budget(engine, loaded["float32"], image)
    assert len(found.layers) >= 120
    assert not found.equal
    assert any(layer.differing_share > 0 for layer in found.layers)
    assert any(layer.local_differing_share == 0 and layer.local_kernel_sqnr_db is None for layer in found.layers)
    assert all(layer.kernel_sqnr_db is None or layer.kernel_sqnr_db > 90 for layer in found.layers)
    assert {layer.steps for layer in found.layers} == {None}
    assert found.agreement == 1


def test_an_integer_operator_alone_differs_by_a_step(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    found = budget(engine, loaded["int8"], image)
    alone = [layer.local_steps for layer in found.layers if layer.local_steps is not None]
    assert len(alone) > 100
    assert 1 <= found.local_steps <= 2
    assert 0 in alone
    gathered = max(layer.steps or 0 for layer in found.layers)
    assert gathered > found.local_steps  # a step here and there grows along the network
    worst = found.worst
    assert worst is not None
    assert worst.kernel_sqnr_db == min(layer.kernel_sqnr_db for layer in found.layers if layer.kernel_sqnr_db)
    assert f"operator {worst.order}" in found.sentence
    assert "one operator alone differs by at most 1 step" in found.sentence or found.local_steps == 2


def interpreter(data: bytes, resolver: OpResolverType) -> Interpreter:
    made = Interpreter(
        model_content=data, experimental_op_resolver_type=resolver, experimental_preserve_all_tensors=True
    )
    made.allocate_tensors()
    return made


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_the_first_operator_is_what_two_interpreters_say(
    name: str, sample: Sample, loaded: Models, image: EncodedImage
) -> None:
    """Nothing lies before it: local and cumulative are the difference of two plain interpreters."""
    data, settings = sample.models[name].read_bytes(), loaded[name].settings
    values, _ = fill(read_image(image), input_spec(settings), loaded[name].inspection.graph.input_tensors()[0])
    op = next(op for op in loaded[name].inspection.graph.ops if op.kind == "CONV_2D")
    made = []
    for resolver in (OpResolverType.AUTO, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        whole = interpreter(data, resolver)
        whole.set_tensor(whole.get_input_details()[0]["index"], values)
        whole.invoke()
        made.append(np.array(whole.get_tensor(op.outputs[0])))
    found = KernelSets(data, settings, ("builtin",)).run(image, 0.25).sums["builtin"][op.order]
    differing = int(np.count_nonzero(made[0] != made[1]))
    assert found.cumulative.differing == differing
    assert name == "int8" or found.local.differing == differing  # before int8's lies a QUANTIZE
    if name == "int8":
        assert found.cumulative.steps == int(np.abs(made[0].astype(int) - made[1].astype(int)).max())


@pytest.mark.parametrize("kernels", ["builtin", "default"])
def test_the_chain_runs_on_the_kernels_asked_for(
    kernels: str, sample: Sample, loaded: Models, image: EncodedImage
) -> None:
    """Bit for bit, like the whole file under that resolver; and unlike it under the other."""
    data = sample.models["int8"].read_bytes()
    graph = loaded["int8"].inspection.graph
    values, _ = fill(read_image(image), input_spec(loaded["int8"].settings), graph.input_tensors()[0])
    scores = graph.ops[-1].inputs[1]
    assert scores is not None
    found = Stepper(data, kernels=kernels).run([values], keep=[scores])[scores]
    default = Runner(data)
    default.run([values])
    assert np.array_equal(found, default.tensor(scores)) is (kernels == "default")


def test_equal_is_none_and_said_so(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    (found,) = noise_budget(Context(engine), loaded["int8"], [image], kernels=["default"]).sets
    assert found.equal
    assert {layer.kernel_sqnr_db for layer in found.layers} == {None}
    assert (found.local_steps, found.worst, found.agreement) == (0, None, 1)
    assert "bit for bit" in found.sentence


def test_a_difference_counts_elements_and_steps() -> None:
    held = tensor(0, dtype="int8", quantization=per_tensor(0.5, 0))
    found = Difference()
    found.add(np.array([-128, 1, 2], np.int8), np.array([127, 1, 4], np.int8), held, "a")  # no overflow on the way
    found.add(np.array([3], np.int8), np.array([3], np.int8), held, "b")
    assert (found.differing, found.steps, found.errors.count) == (2, 255, 4)
    assert found.errors.max_abs == pytest.approx(127.5)
    other = Difference()
    other.add(np.array([1], np.int8), np.array([2, 3], np.int8), held, "c")  # other shapes are not compared
    assert (other.differing, other.errors.count) == (0, 0)


def test_a_budget_is_written_down(engine: LocalEngine, loaded: Models, image: EncodedImage) -> None:
    broken = EncodedImage("bad.jpg", b"no image")
    found = noise_budget(Context(engine), loaded["int8"], [broken, image, *[broken] * MAX_IMAGES], kernels=["builtin"])
    assert (found.images, len(found.skipped)) == (1, MAX_IMAGES - 1)
    written = json.dumps(found.to_json(), allow_nan=False)
    assert {"kernels", "agreement", "layers"} <= set(json.loads(written)["sets"][0])
    frame = found.to_frame()
    assert len(frame) == len(found.sets[0].layers)
    with pytest.raises(ImageError, match=r"bad\.jpg"):
        noise_budget(Context(engine), loaded["int8"], [broken])
    with pytest.raises(ImageError, match="No image was given"):
        noise_budget(Context(engine), loaded["int8"], [])
