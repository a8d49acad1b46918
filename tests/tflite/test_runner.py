from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from qviz.errors import ModelError
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import unpacks_constant
from tests.conftest import Sample
from tests.tflite.files import code, operator, packed, relu, tensor

VALUES = np.array([[-1, 2, -3, 4]], np.float32)


def test_one_operator() -> None:
    runner = Runner(relu())
    (output,) = runner.run([VALUES])
    assert output.tolist() == [[0, 2, 0, 4]]
    assert runner.milliseconds > 0


def test_results_are_copies() -> None:
    runner = Runner(relu())
    (first,) = runner.run([VALUES])
    runner.run([-VALUES])
    assert first.tolist() == [[0, 2, 0, 4]]


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_outputs_equal_the_plain_interpreter_bit_for_bit(name: str, sample: Sample) -> None:
    """Preserving all tensors does not change the outputs."""
    data = sample.models[name].read_bytes()
    values = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    plain = Interpreter(model_content=data, num_threads=1)
    plain.allocate_tensors()
    plain.set_tensor(plain.get_input_details()[0]["index"], values)
    plain.invoke()
    outputs = Runner(data).run([values])
    for detail, output in zip(plain.get_output_details(), outputs, strict=True):
        assert output.tobytes() == plain.get_tensor(detail["index"]).tobytes()


@pytest.mark.parametrize("name", ["float16", "int8"])
def test_chosen_inner_tensors_are_those_of_a_run_that_preserves_all(name: str, sample: Sample) -> None:
    data = sample.models[name].read_bytes()
    graph = read_graph(data)
    ops = [op for op in graph.ops if not unpacks_constant(graph, op)]
    inner = [op.outputs[0] for op in ops[::10] if op.outputs[0] not in graph.outputs]
    values = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    every, chosen = Runner(data), Runner(data, keep_all=False, inner=inner)
    outputs = zip(every.run([values]), chosen.run([values]), strict=True)
    pairs = [*outputs, *((every.tensor(one), chosen.tensor(one)) for one in inner)]
    assert len(inner) >= 9
    assert [np.array_equal(first, second) for first, second in pairs] == [True] * len(pairs)


def test_inner_tensors_can_be_read() -> None:
    tensors = [tensor(name, [1, 4]) for name in ("in", "out", "inner")]
    data = packed(tensors, [operator(0, [0], [2]), operator(1, [2], [1])], [code(19), code(59)])  # RELU, NEG
    runner = Runner(data)
    assert runner.run([VALUES])[0].tolist() == [[0, -2, 0, -4]]
    assert runner.tensor(2).tolist() == [[0, 2, 0, 4]]
    with pytest.raises(ModelError, match="does not let tensor 99 be read"):
        runner.tensor(99)


@pytest.mark.parametrize(
    "values", [VALUES.astype(np.int8), VALUES[:, :3], VALUES[0]], ids=["other type", "other shape", "no batch"]
)
def test_inputs_of_other_shape_or_type_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ModelError, match="failed while it ran"):
        Runner(relu()).run([values])


UNRUNNABLE = [
    (b"", "cannot be run by TensorFlow Lite"),
    (b"hello, this is no model", "cannot be run by TensorFlow Lite"),
    (
        packed([tensor("in", [1]), tensor("out", [1])], [operator(0, [0], [1])], [code(32, custom="MyOp")]),
        "custom op: MyOp",
    ),
    (relu().replace(b"\x02\x00\x00\x00in\x00", b"\x02\x00\x00\x00\xff\xfe\x00"), "has a name that is not text"),
]


@pytest.mark.parametrize(("data", "sentence"), UNRUNNABLE)
def test_a_model_that_cannot_be_prepared_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        Runner(data)
