from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as fb

from qviz.errors import ModelError
from qviz.structures import Graph
from qviz.tflite.alignment import agree, flow_of
from qviz.tflite.constants import operator_weights
from qviz.tflite.pairing import LayerPairs, pair_layers
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import CONVERSIONS
from tests.conftest import ROOT, Sample
from tests.graphs import graph, op, tensor
from tests.tflite import files

MODELS = ROOT.parent / "shared" / "models"
VARIANTS = ("float16", "dynamic_range", "int8", "int8_wrong_range")


def orders(pairs: LayerPairs) -> list[tuple[int, int]]:
    return [(pair.reference_order, pair.order) for pair in pairs.pairs]


def read(path: Path) -> tuple[Graph, dict[int, np.ndarray]]:
    data = path.read_bytes()
    graph_of_file = read_graph(data)
    return graph_of_file, operator_weights(data, graph_of_file)


def paired(reference: Path, variant: Path, weights: bool = True) -> LayerPairs:
    (first, reference_weights), (second, variant_weights) = read(reference), read(variant)
    return pair_layers(first, second, reference_weights, variant_weights) if weights else pair_layers(first, second)


# --- the sample


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_sample_is_paired(sample: Sample, variant: str) -> None:
    reference, other = read(sample.models["float32"])[0], read(sample.models[variant])[0]
    pairs = paired(sample.models["float32"], sample.models[variant])
    assert pairs.paired_share >= 0.99
    for pair in pairs.pairs:
        assert other.ops[pair.order].kind == reference.ops[pair.reference_order].kind
        assert other.tensors[pair.tensor].shape == reference.tensors[pair.reference_tensor].shape
        assert pair.tensor == other.ops[pair.order].outputs[0]
    assert {pair.how for pair in pairs.pairs} <= {"name", "graph"}
    assert pairs.to_json() == {
        "paired_share": pairs.paired_share,
        "pairs": [{"order": j, "reference_order": i} for i, j in orders(pairs)],
        "unpaired": [],
    }


def test_weights_do_not_change_pairs_decided_by_the_graph(sample: Sample) -> None:
    both = sample.models["float32"], sample.models["int8"]
    assert paired(*both, weights=False) == paired(*both)


def test_pairing_takes_less_than_half_a_second(sample: Sample) -> None:
    (first, reference_weights), (second, variant_weights) = read(sample.models["float32"]), read(sample.models["int8"])
    start = time.process_time()
    pair_layers(first, second, reference_weights, variant_weights)
    assert time.process_time() - start < 0.5


def renamed(data: bytes, rename: Callable[[list[bytes]], list[bytes]]) -> bytes:
    """The file rewritten with other tensor names and without a signature."""
    model = fb.ModelT.InitFromPackedBuf(data, 0)
    model.signatureDefs = []
    tensors = model.subgraphs[0].tensors
    for each, name in zip(tensors, rename([each.name for each in tensors]), strict=True):
        each.name = name
    builder = flatbuffers.Builder(len(data) + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def replaced(names: list[bytes]) -> list[bytes]:
    return [b"x%d" % i for i in range(len(names))]


def shuffled(names: list[bytes]) -> list[bytes]:
    return random.Random(3).sample(names, len(names))


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("rename", [replaced, shuffled])
def test_pairing_does_not_depend_on_names(
    sample: Sample, tmp_path: Path, rename: Callable[[list[bytes]], list[bytes]], weights: bool
) -> None:
    anonymous = tmp_path / "renamed.tflite"
    anonymous.write_bytes(renamed(sample.models["int8"].read_bytes(), rename))
    pairs = paired(sample.models["float32"], anonymous, weights)
    assert orders(pairs) == orders(paired(sample.models["float32"], sample.models["int8"]))
    if rename is replaced:
        assert {pair.how for pair in pairs.pairs} == {"graph"}


# --- models of other origin


def test_models_of_litert_quantizer_are_paired(sample: Sample, tmp_path: Path) -> None:
    quantizer = pytest.importorskip("litert_quantizer").quantizer
    recipe = pytest.importorskip("litert_quantizer.recipe")
    reference = sample.models["float32"]
    for name in ("dynamic_wi8_afp32", "weight_only_wi8_afp32", "weight_only_wi4_afp32"):
        model_bytes = quantizer.Quantizer(str(reference), getattr(recipe, name)()).quantize().quantized_model
        variant = tmp_path / f"{name}.tflite"
        variant.write_bytes(model_bytes)
        assert paired(reference, variant).paired_share >= 0.99


OTHERS = [
    ("yolox_nano_float32", "yolox_nano_full_integer_quant"),
    ("yolox_nano_float32", "yolox_nano_integer_quant"),
    ("yolox_nano_float32", "yolox_nano_integer_quant_with_int16_act"),
    ("nanodet_m_320_float32", "nanodet_m_320_int8_full"),  # outputs in another order, operators too
    ("nanodet_m_320_float32", "nanodet_m_320_int8_floatio"),
]


def other(name: str) -> Path:
    path = MODELS / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize(("reference", "variant"), OTHERS)
def test_other_model_families_are_paired(reference: str, variant: str, weights: bool) -> None:
    pairs = paired(other(reference), other(variant), weights)
    assert pairs.paired_share >= 0.95
    anonymous = read_graph(renamed(other(variant).read_bytes(), replaced))
    assert orders(pair_layers(read(other(reference))[0], anonymous)) == orders(pairs)


def test_unrelated_models_are_not_paired(sample: Sample) -> None:
    pairs = paired(sample.models["float32"], other("nanodet_m_320_float32"))
    assert pairs.paired_share < 0.02
    assert len(pairs.unpaired) > 280


def test_related_models_share_only_their_heads(sample: Sample) -> None:
    """MobileNet V1 and V2 under SSD heads of one size: some backbone layers look alike and must not be paired."""
    reference, variant = read(sample.models["float32"])[0], read(other("ssd_mobilenet_v1_coco_quant"))[0]
    pairs = pair_layers(reference, variant)
    kinds = {reference.ops[i].kind for i, _ in orders(pairs)}
    assert kinds == {"RESHAPE", "CONCATENATION", "LOGISTIC", "TFLite_Detection_PostProcess"}


# --- small graphs: one line "name KIND source source" per operator, all tensors of one shape


def chain(*lines: str, outputs: str = "", shape: tuple[int, ...] = (1, 4, 4, 8)) -> Graph:
    """Tensors by name; the input is x; a source in capitals is a constant; outputs: by default the last line's."""
    rows = [line.split() for line in lines]
    constants = [word for row in rows for word in row[2:] if word.isupper()]
    names = list(dict.fromkeys(["x", *constants, *(row[0] for row in rows)]))
    tensors = [tensor(i, name, shape, constant=name in constants) for i, name in enumerate(names)]
    ops = [op(kind, [names.index(word) for word in read], [names.index(name)]) for name, kind, *read in rows]
    return graph(tensors, [names.index(name) for name in (outputs or rows[-1][0]).split()], ops)


def test_conversions_are_not_layers() -> None:
    reference = chain("a CONV_2D x W", "b RELU a", "c ADD a b")
    variant = chain(
        "p QUANTIZE x", "m CONV_2D p W", "q DEQUANTIZE m", "n RELU q", "r QUANTIZE n", "o ADD m r", "s DEQUANTIZE o"
    )
    pairs = pair_layers(reference, variant)
    assert orders(pairs) == [(0, 1), (1, 3), (2, 5)]
    assert (pairs.unpaired, pairs.unpaired_reference, pairs.paired_share) == ((), (), 1.0)


def test_dequantized_constants_are_not_layers() -> None:
    packed = chain("w DEQUANTIZE W", "a CONV_2D x w", "b RELU a")
    for pairs in (pair_layers(packed, packed), pair_layers(chain("a CONV_2D x W", "b RELU a"), packed)):
        assert len(pairs.pairs) == 2
        assert pairs.paired_share == 1


def test_a_missing_operator_is_listed_and_the_rest_paired() -> None:
    reference = chain("a CONV_2D x W", "b LOGISTIC a", "c CONV_2D b V", "d TANH c")
    variant = chain("m CONV_2D x W", "n CONV_2D m V", "o TANH n", "p MUL o o")
    pairs = pair_layers(reference, variant)
    assert orders(pairs) == [(0, 0), (2, 1), (3, 2)]
    assert (pairs.unpaired, pairs.unpaired_reference, pairs.paired_share) == ((3,), (1,), 0.75)


def test_a_fused_activation_pairs_with_the_separate_one() -> None:
    reference = chain("a CONV_2D x W", "b RELU6 a", "c CONV_2D b V", "d TANH c")
    pairs = pair_layers(reference, chain("m CONV_2D x W", "n CONV_2D m V", "o TANH n"))
    names = {pair.reference_order: reference.tensors[pair.reference_tensor].name for pair in pairs.pairs}
    assert names == {0: "b", 2: "c", 3: "d"}


EQUIVALENT = [("ADD", "ADD_N"), ("RESHAPE", "SQUEEZE"), ("SPLIT", "SPLIT_V"), ("PAD", "PADV2")]


@pytest.mark.parametrize(("kind", "same"), EQUIVALENT)
def test_equivalent_operator_types_are_paired(kind: str, same: str) -> None:
    assert orders(pair_layers(chain(f"a {kind} x x"), chain(f"b {same} x x"))) == [(0, 0)]


OTHER_LAYERS = [
    (chain("a CONV_2D x"), chain("a DEPTHWISE_CONV_2D x")),
    (chain("a CONV_2D x"), chain("a CONV_2D x", shape=(1, 4, 8, 8))),  # other elements
    (chain("a CONV_2D x"), chain("a CONV_2D x", shape=(1, 8, 8, 2))),  # other last dimension
]


@pytest.mark.parametrize(("reference", "variant"), OTHER_LAYERS)
def test_an_equal_name_alone_makes_no_pair(reference: Graph, variant: Graph) -> None:
    pairs = pair_layers(reference, variant)
    assert (orders(pairs), pairs.unpaired, pairs.unpaired_reference) == ([], (0,), (0,))


def test_branches_in_another_file_order_are_paired() -> None:
    reference = chain("a CONV_2D x W", "b CONV_2D x V", "c TANH a", "d LOGISTIC b", outputs="c d")
    variant = chain("m CONV_2D x V", "n CONV_2D x W", "o LOGISTIC m", "p TANH n", outputs="o p")
    assert orders(pair_layers(reference, variant)) == [(1, 0), (0, 1), (3, 2), (2, 3)]


TWINS = chain("a CONV_2D x W", "b CONV_2D x V", outputs="a b")


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(8, 1, 1, 8)).astype(np.float32)


def test_weights_distinguish_identical_branches() -> None:
    reference_weights, variant_weights = {0: noise(0), 1: noise(1)}, {0: noise(1) * 0.9, 1: -noise(0)}
    anonymous = chain("m CONV_2D x W", "n CONV_2D x V", outputs="m n")
    assert orders(pair_layers(TWINS, anonymous)) == [(0, 0), (1, 1)]  # nothing distinguishes them
    assert orders(pair_layers(TWINS, anonymous, reference_weights, variant_weights)) == [(1, 0), (0, 1)]
    assert orders(pair_layers(TWINS, TWINS, reference_weights, variant_weights)) == [
        (1, 0),
        (0, 1),
    ]  # names are wrong, weights decide


def test_names_distinguish_identical_branches() -> None:
    assert orders(pair_layers(TWINS, chain("b CONV_2D x W", "a CONV_2D x V", outputs="a b"))) == [(1, 0), (0, 1)]


def test_swapped_layers_are_not_paired_wrongly() -> None:
    reference = chain("a CONV_2D x W", "b CONV_2D a V", "c TANH b")
    pairs = pair_layers(reference, reference, {0: noise(0), 1: noise(1)}, {0: noise(1), 1: noise(0)})
    assert not {(0, 0), (1, 1)} & set(orders(pairs))
    assert len(pairs.unpaired) == 1  # two pairs would cross


def test_a_layer_with_destroyed_weights_is_paired() -> None:
    reference = chain("a CONV_2D x W", "b CONV_2D a V", "c TANH b")
    broken = {0: noise(0), 1: noise(7)}
    assert len(pair_layers(reference, reference, {0: noise(0), 1: noise(1)}, broken).pairs) == 3


def test_pairs_never_cross() -> None:
    """Names shuffled among layers of one shape, and one layer missing: pairing by name alone would cross."""
    lines = [f"t{k} CONV_2D {f't{k - 1}' if k else 'x'} W{k}" for k in range(12)]
    reference = chain(*lines)
    names = [f"t{k}" for k in random.Random(0).sample(range(12), 12)]
    variant = chain(*(f"{names[k]} CONV_2D {names[k - 1] if k else 'x'} W{k}" for k in range(11)))
    pairs = orders(pair_layers(reference, variant))
    assert len(pairs) == 11
    assert [i for i, _ in pairs] == sorted(i for i, _ in pairs)


@pytest.mark.parametrize(("written_out", "expected"), [(6, 1), (7, 0)])
def test_the_search_distance_for_a_partner(written_out: int, expected: int) -> None:
    """Only the reference has `written_out` operators between two pairs, and a layer after them."""
    lines = [f"r{k} EXP {f'r{k - 1}' if k else 'a'}" for k in range(written_out)]
    end = [f"b CONV_2D r{written_out - 1} V", *(f"s{k} NEG {f's{k - 1}' if k else 'b'}" for k in range(written_out))]
    reference = chain("a TANH x", *lines, *end, f"c LOGISTIC s{written_out - 1}")
    variant = chain("m TANH x", "n ABS m", "o CONV_2D n V", "p ABS o", "q LOGISTIC p")
    pairs = orders(pair_layers(reference, variant))
    assert sum(reference.ops[i].kind == "CONV_2D" for i, _ in pairs) == expected
    assert [i for i, _ in pairs][:: 2 if expected else 1] == [0, len(reference.ops) - 1]


def test_too_many_operators_are_refused() -> None:
    long = replace(TWINS, ops=TWINS.ops * 5001)
    with pytest.raises(ModelError, match="has 10002 operators; files of more than 10000 are not compared by layer"):
        pair_layers(TWINS, long)


def test_an_empty_graph() -> None:
    empty = graph([tensor(0)], [0])
    assert pair_layers(empty, empty) == LayerPairs((), (), (), 1.0)


def test_dynamic_shapes_match_fixed_shapes() -> None:
    opened = chain("a CONV_2D x", shape=(1, -1, 4, 8))
    assert agree(flow_of(chain("a CONV_2D x")), 0, flow_of(opened), 0)


# --- the weights


def test_weights_of_the_sample_agree_across_files(sample: Sample) -> None:
    reference, reference_weights = read(sample.models["float32"])
    for variant in VARIANTS[:3]:
        _, variant_weights = read(sample.models[variant])
        pairs = paired(sample.models["float32"], sample.models[variant])
        compared = [
            (reference_weights[i], variant_weights[j]) for i, j in orders(pairs) if reference.ops[i].kind == "CONV_2D"
        ]
        assert len(compared) == 55
        for a, b in compared:
            assert a.shape == b.shape
            assert np.abs(a - b).max() <= 0.02 * np.abs(a).max()  # 1/127 per channel, and rounding
    assert not {op.kind for op in reference.ops if op.order in reference_weights} & CONVERSIONS


INT4, INT2, HALF = fb.TensorType.INT4, fb.TensorType.INT2, fb.TensorType.FLOAT16
PACKED = [
    # type, bytes, real values at scale 0.5
    (INT4, np.array([0x1F, 0x87], np.uint8), [-0.5, 0.5, 3.5, -4.0]),  # the first element in the low bits
    (INT2, np.array([0b10_01_11_00], np.uint8), [0, -0.5, 0.5, -1.0]),
    (fb.TensorType.INT8, np.array([-128, 127, 0, 2], np.int8), [-64.0, 63.5, 0, 1.0]),
]


def one_layer(kind: int, values: np.ndarray, scales: tuple[float, ...] = (), **quantization: int) -> bytes:
    """A fully connected layer of weights (2, 2)."""
    zeros = [0] * len(scales)
    weights = files.tensor("w", (2, 2), kind, 1, scales, zeros, **quantization)
    tensors = [files.tensor("in", (1, 2)), files.tensor("out", (1, 2)), weights]
    codes = [files.code(fb.BuiltinOperator.FULLY_CONNECTED)]
    return files.packed(tensors, [files.operator(0, [0, 2], [1])], codes, constants=[values])


def weights_of(data: bytes) -> np.ndarray:
    return operator_weights(data, read_graph(data))[0]


@pytest.mark.parametrize(("kind", "values", "expected"), PACKED)
def test_integer_weights_are_dequantized(kind: int, values: np.ndarray, expected: list[float]) -> None:
    assert weights_of(one_layer(kind, values, (0.5,))).tolist() == np.reshape(expected, (2, 2)).tolist()


def test_per_channel_weights_are_dequantized() -> None:
    values = np.array([1, 2, 3, 4], np.int8)
    weights = weights_of(one_layer(fb.TensorType.INT8, values, (1.0, 0.5), axis=1))
    assert weights.tolist() == [[1, 1], [3, 2]]


def test_float16_weights_become_float32() -> None:
    weights = weights_of(one_layer(HALF, np.array([1, 2, 3, 0.5], np.float16)))
    assert (weights.dtype, weights.tolist()) == (np.float32, [[1, 2], [3, 0.5]])


def test_a_constant_that_is_too_short_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'w' has 8 bytes, too few for float32 \[2, 2\]"):
        weights_of(one_layer(fb.TensorType.FLOAT32, np.zeros(2, np.float32)))


def test_integers_without_scales_are_not_weights() -> None:
    data = one_layer(fb.TensorType.INT8, np.zeros(4, np.int8))
    assert operator_weights(data, read_graph(data)) == {}
