"""Variants of a float32 .tflite file, by litert-quantizer: each follows its recipe and runs."""

from __future__ import annotations

import numpy as np
import pytest
from litert_quantizer import quantizer, recipe

from qviz.engine import LocalEngine
from qviz.errors import QuantizeError
from qviz.features.building.build import checked, start_building
from qviz.features.building.calibration import Calibration, network_input
from qviz.features.building.quantizers import _statistics
from qviz.features.building.recipes import RECIPES, Builder, Options
from qviz.features.building.result import Built, check_integers_only, float_operators
from qviz.features.building.source import Source
from qviz.structures import EncodedImage, Graph, Scheme
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import INTEGER_FORM, WITHOUT_INT8, scheme_facts
from tests.conftest import Sample
from tests.features.conftest import SETTINGS

pytestmark = pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
POST_PROCESS = "TFLite_Detection_PostProcess"


def variant(workers: LocalEngine, source: Source, name: str, *more: object) -> tuple[Built, Graph]:
    built = start_building(workers, source, name, *more).result()  # type: ignore[arg-type]
    return built, read_graph(built.data)


def run(data: bytes, image: EncodedImage) -> list[np.ndarray]:
    """The outputs, as real values."""
    graph = read_graph(data)
    values = Runner(data).run([network_input(image, SETTINGS, graph.input_tensors()[0])])
    pairs = zip(graph.output_tensors(), values, strict=True)
    return [t.quantization.dequantize(v) if t.quantization is not None else v for t, v in pairs]


def sqnr(reference: bytes, built: bytes, image: EncodedImage) -> float:
    """SQNR of all outputs together, dB."""
    a, b = (np.concatenate([value.ravel() for value in run(data, image)]) for data in (reference, built))
    return float(20 * np.log10(np.linalg.norm(a) / np.linalg.norm(a - b)))


OF_THE_SAMPLE = [name for name in RECIPES if not RECIPES[name].blockwise]
SHARE = {"float16": 0.51, "dynamic_range": 0.3, "weight_only_int8": 0.3, "int8": 0.31, "int16x8": 0.32}


@pytest.mark.parametrize("name", OF_THE_SAMPLE)
def test_recipes_on_the_sample(name: str, workers: LocalEngine, tflite: Source, ranges: Calibration) -> None:
    row = RECIPES[name]
    built, graph = variant(workers, tflite, name, Options(), ranges if row.needs_calibration else None)
    facts = scheme_facts(graph)
    assert (built.scheme, facts.scheme, built.remark, built.builder) == (
        row.scheme,
        row.scheme,
        "",
        Builder.LITERT_QUANTIZER,
    )
    assert facts.weight_bits == row.weight_bits
    assert len(built.data) < SHARE.get(name, 0.17) * len(tflite.data)
    reasons = {row.reason for row in built.stayed_float}
    if not row.needs_calibration:
        assert reasons == set()
        return
    assert {tensor.dtype for tensor in (*graph.input_tensors(), *graph.output_tensors())} == {"float32"}
    assert not any("integer kernel" in reason for reason in reasons)  # each ADD_N was replaced by an ADD
    assert len([row for row in built.stayed_float if row.reason.startswith(f"output of {POST_PROCESS}")]) == 4
    assert facts.quantized_operators == 124
    assert [graph.ops[order].kind for island in facts.float_islands for order in island] == [POST_PROCESS]


def test_files_with_operators_in_float_do_not_compute_on_integers_alone(
    workers: LocalEngine, tflite: Source, ranges: Calibration, sample: Sample
) -> None:
    """The bundled int8 file has ADD_N in float; the one that is built here has only the post-process in float."""
    given = read_graph(sample.models["int8"].read_bytes())
    assert float_operators(given) == ("ADD_N",)
    with pytest.raises(QuantizeError, match="does not compute on integers alone: ADD_N in float"):
        check_integers_only(given)
    check_integers_only(variant(workers, tflite, "int8", Options(), ranges)[1])


LEAST_DB = {"float16": 55, "dynamic_range": 40, "weight_only_int8": 45, "int8": 30, "int16x8": 45}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_on_a_dense_head(
    name: str, workers: LocalEngine, dense: Source, dense_ranges: Calibration, images: list[EncodedImage]
) -> None:
    """All recipes; SQNR is as high as the bit width allows, while a broken file would have 17 dB."""
    row = RECIPES[name]
    built, graph = variant(workers, dense, name, Options(), dense_ranges if row.needs_calibration else None)
    assert (built.scheme, built.remark, scheme_facts(graph).weight_bits) == (row.scheme, "", row.weight_bits)
    assert sqnr(dense.data, built.data, images[0]) > LEAST_DB.get(name, 22)


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("int8", "octav"),
        ("int16x8", "mse"),
        ("weight_only_int4", "octav"),
        ("weight_only_int4", "gptq"),
        ("dynamic_range_int4", "hadamard"),
        ("dynamic_range_int4_blockwise", "octav"),
        ("dynamic_range_int4_blockwise", "gptq"),
    ],
)
def test_weight_algorithms(
    name: str,
    algorithm: str,
    workers: LocalEngine,
    dense: Source,
    dense_ranges: Calibration,
    images: list[EncodedImage],
) -> None:
    ranges = dense_ranges if RECIPES[name].needs_calibration else None
    built, _ = variant(workers, dense, name, Options(algorithm=algorithm), ranges, images)
    plain, _ = variant(workers, dense, name, Options(), ranges)
    assert built.scheme is RECIPES[name].scheme
    assert built.data != plain.data
    assert sqnr(dense.data, built.data, images[0]) > 22
    reasons = {row.reason for row in built.stayed_float if "--io" not in row.reason}
    assert reasons == ({"the Hadamard rotation itself, which is exact in float"} if algorithm == "hadamard" else set())


@pytest.mark.parametrize(("name", "io"), [("int8", "int8"), ("int8", "uint8"), ("int16x8", "int16")])
def test_integer_inputs_and_outputs(
    name: str, io: str, workers: LocalEngine, dense: Source, dense_ranges: Calibration, images: list[EncodedImage]
) -> None:
    built, graph = variant(workers, dense, name, Options(io=io), dense_ranges)
    assert {tensor.dtype for tensor in (*graph.input_tensors(), *graph.output_tensors())} == {io}
    assert built.stayed_float == ()
    assert sqnr(dense.data, built.data, images[0]) > 30


def test_class_ids_and_the_count_are_not_quantized(
    workers: LocalEngine, tflite: Source, ranges: Calibration, images: list[EncodedImage]
) -> None:
    """With integers asked for at both ends. Left to itself, litert-quantizer gives the outputs one byte each."""
    built, graph = variant(workers, tflite, "int8", Options(io="int8"), ranges)
    assert [tensor.dtype for tensor in graph.input_tensors()] == ["int8"]
    assert {tensor.dtype for tensor in graph.output_tensors()} == {"float32"}
    _, classes, scores, count = by_kind(tflite.data, images[0])
    _, built_classes, _, built_count = by_kind(built.data, images[0])
    assert built_count == count
    assert (built_classes == np.rint(built_classes)).all()
    assert built_classes[np.argmax(scores)] == classes[np.argmax(scores)]

    alone = quantizer.Quantizer(tflite.data, recipe.static_wi8_ai8())
    left = alone.quantize(_statistics(tflite.graph, ranges, {}), enable_progress_report=False).quantized_model
    assert {tensor.dtype for tensor in read_graph(bytes(left)).output_tensors()} == {"int8"}


def by_kind(data: bytes, image: EncodedImage) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """boxes, classes, scores, count; of classes and scores, those above 1 are the classes."""
    outputs = run(data, image)
    boxes, count = (next(v for v in outputs if v.ndim == n) for n in (3, 1))
    first, second = (v for v in outputs if v.ndim == 2)
    classes, scores = (first, second) if first.max() > 1 else (second, first)
    return boxes, classes[0], scores[0], count


def test_operators_excluded_from_quantization(workers: LocalEngine, tflite: Source, ranges: Calibration) -> None:
    """By expression and by operator index; all other quantizable operators are quantized."""
    options = Options(keep_float=("ClassPredictor/",), keep_orders=(0, 7))
    built, graph = variant(workers, tflite, "int8", options, ranges)
    source = tflite.graph
    names = {op.order: source.tensors[op.outputs[0]].name for op in source.ops}
    float_names = {name for order, name in names.items() if "ClassPredictor/" in name or order in (0, 7)}
    assert len(float_names) == 8
    built_tensors = {tensor.name: tensor for op in graph.ops for tensor in graph.op_outputs(op)}
    for op in source.ops:
        name = names[op.order]
        stays = name in float_names or op.custom or op.kind in WITHOUT_INT8 - set(INTEGER_FORM)
        assert built_tensors[name].dtype == ("float32" if stays else "int8"), name
    reasons = {row.tensor: row.reason for row in built.stayed_float}
    assert {reasons[name] for name in float_names} == {
        "kept by --keep-float ClassPredictor/",
        "kept by --keep-operators 0",
        "kept by --keep-operators 7",
    }
    assert built.scheme in (Scheme.INT8, Scheme.MIXED)
    assert built.remark == "" or "stay in float as requested" in built.remark


def test_weights_excluded_from_quantization(workers: LocalEngine, tflite: Source) -> None:
    built, graph = variant(workers, tflite, "weight_only_int8", Options(keep_orders=(0,)))
    assert [row.reason for row in built.stayed_float] == ["kept by --keep-operators 0"]
    name = built.stayed_float[0].tensor
    assert next(tensor for tensor in graph.tensors if tensor.name == name).dtype == "float32"


def test_the_model_has_the_measured_ranges(workers: LocalEngine, tflite: Source, ranges: Calibration) -> None:
    _, graph = variant(workers, tflite, "int8", Options(io="int8"), ranges)
    (tensor,) = graph.input_tensors()
    assert tensor.quantization is not None
    low, high = ranges.ranges[tflite.graph.input_tensors()[0].name]
    assert tensor.quantization.scales[0] == pytest.approx((high - low) / 255, rel=1e-3)


def test_an_invalid_model_from_litert_quantizer_is_refused(dense: Source, images: list[EncodedImage]) -> None:
    """GPTQ without its second moments: litert-quantizer then writes float weights declared as integers."""
    litert_quantizer = quantizer.Quantizer(dense.data)
    litert_quantizer.add_dynamic_config(".*", "*", 8)
    litert_quantizer.add_dynamic_config(".*", "FULLY_CONNECTED", 8, algorithm_key="GPTQ")
    wrong = bytes(
        litert_quantizer.quantize({"nothing": {"min": np.zeros(1)}}, enable_progress_report=False).quantized_model
    )
    with pytest.raises(QuantizeError, match=r"was built, but it has \d+ bytes in .* where int8 takes \d+"):
        checked(wrong, RECIPES["dynamic_range"])
    with pytest.raises(QuantizeError, match="quantized nothing: the whole network stayed float32"):
        checked(dense.data, RECIPES["dynamic_range"])
    with pytest.raises(QuantizeError, match="The int8 file was built, but it is"):
        checked(dense.data[:2000], RECIPES["int8"])
