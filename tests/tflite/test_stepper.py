from __future__ import annotations

import subprocess
import sys
import weakref
from pathlib import Path

import cv2
import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qviz.errors import ModelError
from qviz.structures import Tensor
from qviz.tflite import stepper as module
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Stepper
from tests.conftest import ROOT, SCHEMES, Sample
from tests.tflite.files import code, operator, packed, relu, tensor

KIND = fb.BuiltinOperator
VALUES = np.array([[-1, 2, -3, 4]], np.float32)
SHARED = ROOT.parent / "shared" / "models"
OTHERS = (
    "yolox_nano_float32", "yolox_nano_dynamic_range_quant", "yolox_nano_full_integer_quant",
    "yolox_nano_integer_quant_with_int16_act", "nanodet_m_320_float16", "nanodet_m_320_int8_full",
    "ssd_mobilenet_v1_coco_quant",
)  # fmt: skip


def photograph(sample: Sample, reads: Tensor) -> np.ndarray:
    """A photograph in [-1, 1], quantized for an integer input."""
    pixels = cv2.cvtColor(cv2.imread(str(sample.images / "hens.jpg")), cv2.COLOR_BGR2RGB)
    values = (cv2.resize(pixels, (reads.shape[2], reads.shape[1])).astype(np.float32) / 127.5 - 1)[None]
    return values if reads.quantization is None else reads.quantization.quantize(values, reads.dtype)


def differing(data: bytes, sample: Sample) -> list[str]:
    """Tensors of the steps, as copies or as views, that differ from those of the whole model."""
    stepper, whole = Stepper(data), Runner(data, keep_all=True)
    values = photograph(sample, stepper.graph.input_tensors()[0])
    whole.run([values])
    written = [index for step in stepper.steps for index in step.outputs]
    assert written
    viewed: dict[int, tuple[tuple[int, ...], bytes]] = {}
    stepper.visit([values], lambda index, tensor: viewed.update({index: (tensor.shape, tensor.tobytes())}))
    tensors = stepper.run([values], keep=written)
    expected = {index: (whole.tensor(index).shape, whole.tensor(index).tobytes()) for index in written}
    copied = {index: (tensors[index].shape, tensors[index].tobytes()) for index in written}
    differs = [index for index in written if not expected[index] == copied[index] == viewed[index]]
    return [f"{stepper.graph.producer(i).kind} {stepper.graph.tensors[i].name}" for i in differs]  # type: ignore[union-attr]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_tensor_equals_the_whole_model_bit_for_bit(scheme: str, sample: Sample) -> None:
    data = sample.models[scheme].read_bytes()
    assert differing(data, sample) == []
    stepper = Stepper(data)
    assert all(len(step.orders) == 1 and not step.reason for step in stepper.steps)
    assert len(stepper.steps) + len(stepper.folded) == len(stepper.graph.ops)


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_equal_the_whole_model(name: str, sample: Sample) -> None:
    path = SHARED / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    assert differing(path.read_bytes(), sample) == []


CONVERT = """
import sys
import numpy as np
import tensorflow as tf
made = tf.lite.TFLiteConverter.from_saved_model(sys.argv[1], signature_keys=["serving_default"])
made.allow_custom_ops = True
made.optimizations = [tf.lite.Optimize.DEFAULT]
random = np.random.default_rng(0)
made.representative_dataset = lambda: ([random.uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)] for _ in range(2))
int16 = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
made.target_spec.supported_ops = [int16, tf.lite.OpsSet.TFLITE_BUILTINS]
open(sys.argv[2], "wb").write(made.convert())
"""


@pytest.mark.slow
def test_int16_activations(sample: Sample, tmp_path: Path) -> None:
    path = tmp_path / "int16x8.tflite"
    subprocess.run([sys.executable, "-c", CONVERT, str(sample.folder / "saved_model"), str(path)], check=True)
    data = path.read_bytes()
    assert "int16" in {tensor.dtype for tensor in Stepper(data).graph.tensors}
    assert differing(data, sample) == []


def test_folded_constants_equal_the_plain_kernels(sample: Sample) -> None:
    """XNNPACK leaves 176 of these 182 unwritten in the whole file (zeros), so the plain kernels decide."""
    data = sample.models["float16"].read_bytes()
    stepper = Stepper(data)
    plain = Interpreter(
        model_content=data,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    plain.allocate_tensors()
    plain.invoke()
    assert len(stepper.folded) == 182
    for index, values in stepper.folded.items():
        np.testing.assert_array_equal(values, plain.get_tensor(index))


@pytest.fixture(scope="module")
def int8(sample: Sample) -> Stepper:
    return Stepper(sample.models["int8"].read_bytes())


@pytest.mark.parametrize("start", [1, 40, 90, 157])
def test_a_run_can_start_at_any_step(start: int, int8: Stepper, sample: Sample) -> None:
    values = photograph(sample, int8.graph.input_tensors()[0])
    full = int8.run([values], keep=range(len(int8.graph.tensors)))
    again = int8.run([], start=start, tensors=full)
    assert again.keys() == set(int8.graph.outputs)
    assert all(again[index].tobytes() == full[index].tobytes() for index in int8.graph.outputs)


def test_a_replaced_tensor_changes_only_later_tensors(int8: Stepper, sample: Sample) -> None:
    values = photograph(sample, int8.graph.input_tensors()[0])
    (target,) = int8.steps[60].outputs
    every = [index for step in int8.steps for index in step.outputs]
    plain = int8.run([values], keep=every)
    changed = int8.run([values], keep=every, replace=lambda i, value: np.zeros_like(value) if i == target else value)
    follows = {target}
    for step in int8.steps:
        if follows & set(step.inputs):
            follows |= set(step.outputs)
    differ = {index for index in every if plain[index].tobytes() != changed[index].tobytes()}
    assert not changed[target].any()
    assert differ <= follows
    assert differ & set(int8.graph.outputs)
    assert 10 < len(differ) < len(every)


def test_tensors_are_freed_after_their_last_use(int8: Stepper, sample: Sample) -> None:
    references: list[tuple[weakref.ref[np.ndarray], int]] = []
    alive: list[int] = []

    def watch(_: int, value: np.ndarray) -> np.ndarray:
        references.append((weakref.ref(value), value.nbytes))
        alive.append(sum(size for reference, size in references if reference() is not None))
        return value

    outputs = int8.run([photograph(sample, int8.graph.input_tensors()[0])], replace=watch)
    assert outputs.keys() == set(int8.graph.outputs)
    assert max(alive) < sum(size for _, size in references) / 5
    del outputs
    assert all(reference() is None for reference, _ in references)


def chain(*kinds: int) -> bytes:
    """Operators of one input, one after the other; the last one writes tensor 1."""
    places = [0, *range(2, len(kinds) + 1), 1]
    tensors = [tensor(f"t{i}", [1, 4]) for i in range(len(kinds) + 1)]
    ops = [operator(i, [places[i]], [places[i + 1]]) for i in range(len(kinds))]
    return packed(tensors, ops, [code(kind) for kind in kinds])


def test_a_single_step_can_be_run() -> None:
    stepper = Stepper(chain(KIND.RELU, KIND.NEG, KIND.EXP))
    assert [(step.orders, step.inputs, step.outputs) for step in stepper.steps] == [
        ((0,), (0,), (2,)), ((1,), (2,), (3,)), ((2,), (3,), (1,)),
    ]  # fmt: skip
    assert stepper.run_step(1, {2: VALUES})[3].tolist() == (-VALUES).tolist()
    first = stepper.run_step(0, {0: VALUES})[2]
    stepper.run_step(0, {0: -VALUES})
    assert first.tolist() == [[0, 2, 0, 4]]  # a copy
    with pytest.raises(ValueError, match=r"step 1 \(NEG\) reads tensor 2, which is neither given nor computed"):
        stepper.run([VALUES], start=1)


def test_a_replacement_of_other_type_or_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"tensor 1 is float32 \(1, 4\); it was replaced by float64 \(1, 4\)"):
        Stepper(relu()).run([VALUES], replace=lambda _, value: value.astype(np.float64))


@pytest.mark.parametrize("values", [VALUES.astype(np.int8), VALUES[:, :3], VALUES[0]], ids=["type", "shape", "batch"])
def test_inputs_of_other_shape_or_type_are_refused(values: np.ndarray) -> None:
    with pytest.raises(ModelError, match=r"reads 'in' as float32 \[1, 4\]"):
        Stepper(relu()).run([values])


def test_repeated_shared_and_absent_inputs() -> None:
    """x * x, then two fully connected layers with the same weights and no bias."""
    weights = np.eye(4, dtype=np.float32)[::-1].copy()
    tensors = [*(tensor(name, [1, 4]) for name in ("in", "out", "square", "turned")), tensor("w", [4, 4], buffer=1)]
    ops = [operator(0, [0, 0], [2]), operator(1, [2, 4, -1], [3]), operator(1, [3, 4, -1], [1])]
    data = packed(tensors, ops, [code(KIND.MUL), code(KIND.FULLY_CONNECTED)], constants=[weights])
    stepper = Stepper(data)
    assert [step.inputs for step in stepper.steps] == [(0,), (2,), (3,)]
    result = stepper.run([VALUES], keep=[3])
    assert result[3].tolist() == [[16, 9, 4, 1]]
    assert result[1].tolist() == Runner(data).run([VALUES])[0].tolist() == [[1, 4, 9, 16]]


def test_integer_constants_are_folded() -> None:
    quantized = tensor("q", [4], fb.TensorType.INT8, buffer=1, scales=[0.5], zeros=[1])
    tensors = [tensor("in", [1, 4]), tensor("out", [1, 4]), quantized, tensor("real", [4])]
    ops = [operator(0, [2], [3]), operator(1, [0, 3], [1])]
    data = packed(tensors, ops, [code(KIND.DEQUANTIZE), code(KIND.MUL)], constants=[np.array([1, 3, 5, 7], np.int8)])
    stepper = Stepper(data)
    assert {index: values.tolist() for index, values in stepper.folded.items()} == {3: [0, 1, 2, 3]}
    assert [(step.orders, step.inputs) for step in stepper.steps] == [((1,), (0,))]
    assert stepper.run([VALUES])[1].tolist() == Runner(data).run([VALUES])[0].tolist() == [[0, 2, -6, 12]]
    assert stepper.run([VALUES], keep=[3])[3].tolist() == [0, 1, 2, 3]


def test_operators_sharing_a_resource_are_one_step() -> None:
    """NEG written to a variable and read again, then another NEG."""
    ops = [operator(3, [0], [4]), operator(0, [], [2]), operator(1, [2, 4], []), operator(2, [2], [3])]
    ops.append(operator(3, [3], [1]))
    ops[1].builtinOptionsType, ops[1].builtinOptions = fb.BuiltinOptions.VarHandleOptions, fb.VarHandleOptionsT()
    tensors = [tensor(name, [1, 4]) for name in ("in", "out", "handle", "read", "written")]
    tensors[2] = tensor("handle", [1], fb.TensorType.RESOURCE)
    kinds = (KIND.VAR_HANDLE, KIND.ASSIGN_VARIABLE, KIND.READ_VARIABLE, KIND.NEG)
    stepper = Stepper(packed(tensors, ops, [code(kind) for kind in kinds]))
    assert [step.orders for step in stepper.steps] == [(0,), (1, 2, 3), (4,)]
    assert stepper.steps[1].reason == "share a resource: VAR_HANDLE, ASSIGN_VARIABLE, READ_VARIABLE"
    assert stepper.run([VALUES])[1].tolist() == VALUES.tolist()


def test_shapes_that_are_known_only_at_run_time() -> None:
    """WHERE has an output of variable size; the operator that reads it is resized at each run."""
    tensors = [tensor("in", [1, 4], fb.TensorType.BOOL), tensor("out", [1, 2], fb.TensorType.FLOAT32)]
    tensors.append(tensor("places", [1, 2], fb.TensorType.INT64))
    data = packed(tensors, [operator(0, [0], [2]), operator(1, [2], [1])], [code(KIND.WHERE), code(KIND.CAST)])
    stepper = Stepper(data)
    for flags in ([[True, False, True, True]], [[False, False, False, True]]):
        values = np.array(flags)
        assert stepper.run([values])[1].tolist() == Runner(data).run([values])[0].tolist()


def test_operators_that_cannot_run_alone_are_joined_with_adjacent_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = module.prepared

    def picky(data: bytes, threads: int, kernels: str) -> Interpreter:
        codes = fb.ModelT.InitFromPackedBuf(data).operatorCodes
        if [code.builtinCode for code in codes] == [KIND.NEG]:
            raise RuntimeError("NEG does not like it here")
        return prepared(data, threads, kernels)

    monkeypatch.setattr(module, "prepared", picky)
    data = chain(KIND.RELU, KIND.EXP, KIND.NEG, KIND.ABS, KIND.SQRT)
    stepper = Stepper(data)
    assert [step.orders for step in stepper.steps] == [(0,), (1, 2, 3), (4,)]
    (block,) = (step for step in stepper.steps if step.block)
    assert (block.inputs, block.outputs) == ((2,), (5,))
    assert block.reason == "NEG refused alone: NEG does not like it here"
    assert stepper.run([VALUES])[1].tolist() == Runner(data).run([VALUES])[0].tolist()


def test_control_flow_is_one_step_with_its_subgraphs() -> None:
    choice = operator(0, [2, 0], [1])
    choice.builtinOptionsType = fb.BuiltinOptions.IfOptions
    choice.builtinOptions = fb.IfOptionsT(thenSubgraphIndex=1, elseSubgraphIndex=2)
    branches = []
    for number in (1, 2):
        branch = fb.SubGraphT(inputs=[0], outputs=[1], tensors=[tensor("x", [1, 4]), tensor("y", [1, 4])])
        branch.operators = [operator(number, [0], [1])]
        branches.append(branch)
    main = fb.SubGraphT(inputs=[2, 3], outputs=[1], operators=[operator(1, [3], [0]), choice])
    main.tensors = [tensor("x", [1, 4]), tensor("y", [1, 4]), tensor("flag", [1], fb.TensorType.BOOL)]
    main.tensors.append(tensor("in", [1, 4]))
    builder = flatbuffers.Builder(1024)
    model = fb.ModelT(version=3, subgraphs=[main, *branches], buffers=[fb.BufferT()])
    model.operatorCodes = [code(KIND.IF), code(KIND.RELU), code(KIND.NEG)]
    builder.Finish(model.Pack(builder), b"TFL3")
    stepper = Stepper(bytes(builder.Output()))
    assert [(step.orders, step.reason) for step in stepper.steps] == [((0,), ""), ((1,), "control flow")]
    for flag, expected in ((True, [[0, 2, 0, 4]]), (False, [[0, -2, 0, -4]])):
        assert stepper.run([np.array([flag]), VALUES])[1].tolist() == expected


@pytest.mark.parametrize("data", [b"", b"hello, this is no model", relu()[:-40]])
def test_a_file_that_is_not_a_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError):
        Stepper(data)
