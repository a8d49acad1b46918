"""Stretches and checkpoints give the same bits as a run of the whole file."""

from __future__ import annotations

import numpy as np
import pytest

from qviz.tflite.paired_networks import activations
from qviz.tflite.stepper import Stepper
from qviz.tflite.stretches import LENGTH, SHORT, Checkpoints, Stretches
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


def test_stretches_have_the_bits_of_single_steps(stepper: Stepper, whole: dict[int, np.ndarray]) -> None:
    stretches = Stretches(stepper)
    run_as_one = [stretches.between(bounds, whole) for bounds in stretches.orders]
    assert sum(one is not None for one in run_as_one) == len(run_as_one) >= 20
    for one in run_as_one:
        assert one is not None
        outputs = one.run([whole[tensor] for tensor in one.inputs])
        assert outputs and all(np.array_equal(value, whole[tensor]) for tensor, value in outputs.items())


def test_a_short_stretch_runs_where_the_long_one_does_not_fit(stepper: Stepper, whole: dict[int, np.ndarray]) -> None:
    stretches = Stretches(stepper)
    longest = stretches.longest(LENGTH, lambda bounds: True, whole)
    short = stretches.longest(LENGTH, lambda bounds: LENGTH + SHORT not in stretches.orders[bounds], whole)
    assert longest is not None and longest.end == 2 * LENGTH
    assert short is not None and short.end == LENGTH + SHORT
    assert stretches.longest(LENGTH + 1, lambda bounds: True, whole) is None, "no stretch starts there"


def test_a_stretch_that_differs_is_not_used(stepper: Stepper, whole: dict[int, np.ndarray]) -> None:
    other = {tensor: value + value.dtype.type(1) for tensor, value in whole.items()}
    bounds = 0, LENGTH
    stretch = Stretches(stepper).between(bounds, whole)
    assert stretch is not None
    changed = {**other, **{tensor: whole[tensor] for tensor in stretch.inputs}}
    assert Stretches(stepper).between(bounds, changed) is None


def test_a_later_run_uses_the_stretches_that_the_first_one_built(stepper: Stepper, inputs: np.ndarray) -> None:
    stretches = Stretches(stepper, stepper.graph.outputs)
    runs = [Checkpoints(stepper, [inputs * scale], stepper.graph.outputs, stretches) for scale in (1, 0.5)]
    assert all(
        stretches.between(bounds) is not None
        for bounds in stretches.orders
        if bounds[0] % LENGTH == 0 and bounds[1] - bounds[0] == LENGTH
    )
    exact = stepper.run([inputs * 0.5], keep=activations(stepper))
    assert all(np.array_equal(runs[1][tensor], value) for tensor, value in exact.items())


def test_every_tensor_of_a_run_can_be_computed_again(
    stepper: Stepper, inputs: np.ndarray, whole: dict[int, np.ndarray]
) -> None:
    run = Checkpoints(stepper, [inputs], stepper.graph.outputs)
    order = np.random.default_rng(3).permutation(sorted(whole)).tolist()
    assert all(np.array_equal(run[tensor], whole[tensor]) and tensor in run for tensor in order)
    assert run.bytes < 0.6 * sum(value.nbytes for value in whole.values()) and len(stepper.steps) > 2 * LENGTH
    with pytest.raises(KeyError):
        run[10**6]
