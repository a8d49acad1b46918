"""Stretches and checkpoints give the same bits as a run of the whole file."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.tflite.paired_networks import activations
from qviz.tflite.stepper import Stepper
from qviz.tflite.stretches import LENGTH, Checkpoints, Stretches
from tests.conftest import Sample


@pytest.fixture(scope="module")
def data(sample: Sample) -> bytes:
    return sample.models["int8"].read_bytes()


@pytest.fixture(scope="module")
def stepper(data: bytes) -> Stepper:
    return Stepper(data)


@pytest.fixture(scope="module")
def inputs(stepper: Stepper) -> np.ndarray:
    tensor = stepper.graph.input_tensors()[0]
    return np.random.default_rng(7).uniform(-1, 1, tensor.shape).astype(tensor.dtype)


@pytest.fixture(scope="module")
def whole(stepper: Stepper, inputs: np.ndarray) -> dict[int, np.ndarray]:
    return stepper.run([inputs], keep=activations(stepper))


def test_stretches_have_the_bits_of_single_steps(data: bytes, stepper: Stepper, whole: dict[int, np.ndarray]) -> None:
    stretches = Stretches(data, stepper)
    run_as_one = [stretches.starting_at(start, whole) for start in stretches.orders]
    assert sum(one is not None for one in run_as_one) == len(run_as_one) >= 4
    for one in run_as_one:
        assert one is not None
        outputs = one.run([whole[tensor] for tensor in one.inputs])
        assert outputs and all(np.array_equal(value, whole[tensor]) for tensor, value in outputs.items())


def test_a_stretch_that_differs_is_not_used(data: bytes, stepper: Stepper, whole: dict[int, np.ndarray]) -> None:
    other = {tensor: value + value.dtype.type(1) for tensor, value in whole.items()}
    inputs = Stretches(data, stepper).starting_at(0, whole)
    assert inputs is not None
    changed = {**other, **{tensor: whole[tensor] for tensor in inputs.inputs}}
    assert Stretches(data, stepper).starting_at(0, changed) is None
    assert Stretches(data, stepper).starting_at(1, whole) is None, "no stretch starts there"


def test_every_tensor_of_a_run_can_be_computed_again(
    stepper: Stepper, inputs: np.ndarray, whole: dict[int, np.ndarray]
) -> None:
    run = Checkpoints(stepper, [inputs], stepper.graph.outputs)
    order = np.random.default_rng(3).permutation(sorted(whole)).tolist()
    assert all(np.array_equal(run[tensor], whole[tensor]) and tensor in run for tensor in order)
    assert run.bytes < 0.6 * sum(value.nbytes for value in whole.values()) and len(stepper.steps) > 2 * LENGTH
    with pytest.raises(KeyError):
        run[10**6]
