"""16-bit activations for some operators of an int8 file: types of the built file, and what they gain."""

from __future__ import annotations

import pytest

from qviz.decoders.post_process import KIND as POST_PROCESS
from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.building.build import start_building
from qviz.features.building.calibration import Calibration
from qviz.features.building.recipes import Options
from qviz.features.building.source import Source
from qviz.features.building.wide import with_wide_ranges
from qviz.structures import EncodedImage, Scheme
from qviz.tensorflow_models import SourceKind
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts
from tests.features.building.chains import chain, random_layers
from tests.features.building.test_building import sqnr
from tests.features.conftest import calibrated, keras_source, source_of

BITS = {"int8": 8, "int16": 16}


def activation_bits(data: bytes) -> list[tuple[str, int]]:
    """(kind, bits of the output) of the operators that compute."""
    graph = read_graph(data)
    ops = [op for op in graph.ops if op.kind not in ("QUANTIZE", "DEQUANTIZE")]
    return [(op.kind, BITS[graph.tensors[op.outputs[0]].dtype]) for op in ops]


def test_the_chosen_operators_alone_get_16_bits(
    workers: LocalEngine, dense: Source, dense_ranges: Calibration, images: list[EncodedImage]
) -> None:
    built = start_building(workers, dense, "int8", Options.of(wide_operators="0-2"), dense_ranges).result()
    bits = activation_bits(built.data)
    assert [kind for kind, _ in bits] == [op.kind for op in dense.graph.ops]
    assert [width for _, width in bits] == [16] * 3 + [8] * (len(bits) - 3)
    assert (built.wide, built.scheme) == ((0, 1, 2), Scheme.MIXED)
    assert "because some operators have 16-bit activations as requested" in built.remark
    plain = start_building(workers, dense, "int8", Options(), dense_ranges).result()
    assert (plain.wide, plain.scheme) == ((), Scheme.INT8)
    assert len(built.data) < 1.02 * len(plain.data) + 1000
    every = Options(wide_orders=tuple(range(len(dense.graph.ops))))
    whole = start_building(workers, dense, "int8", every, dense_ranges).result()
    assert whole.scheme is Scheme.INT16X8
    assert sqnr(dense.data, whole.data, images[0]) > sqnr(dense.data, plain.data, images[0]) + 6


def test_operators_are_chosen_by_name_too(workers: LocalEngine, dense: Source, dense_ranges: Calibration) -> None:
    name = dense.graph.tensors[dense.graph.ops[1].outputs[0]].name
    built = start_building(workers, dense, "int8", Options.of(wide=f"^{name[:12]}"), dense_ranges).result()
    assert built.wide == tuple(
        op.order for op in dense.graph.ops if dense.graph.tensors[op.outputs[0]].name.startswith(name[:12])
    )


def test_operators_without_a_16_bit_kernel_are_named(workers: LocalEngine, tflite: Source, ranges: Calibration) -> None:
    added = next(op.order for op in tflite.graph.ops if op.kind == "ADD_N")  # becomes an ADD
    selection = next(op.order for op in tflite.graph.ops if op.kind == POST_PROCESS)
    built = start_building(workers, tflite, "int8", Options(wide_orders=(0, 1, added, selection)), ranges).result()
    assert built.wide == (0, 1, added)
    assert built.remark.endswith(f"1 operator could not get 16-bit activations: {POST_PROCESS}.")


def test_hard_swish_is_written_as_operators_with_16_bit_kernels(
    workers: LocalEngine, engine: LocalEngine, images: list[EncodedImage], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It has no 16-bit kernel; left at 8 bits it would limit the whole network to their precision."""
    keras = keras_source(workers, tmp_path_factory.mktemp("hard_swish"), "hard_swish")
    source = source_of(SourceKind.TFLITE, keras.float_data, keras.float_data)
    kinds = [op.kind for op in source.graph.ops]
    assert kinds.count("HARD_SWISH") == 3
    ranges = calibrated(engine, source, images)
    every = tuple(range(len(kinds)))
    swishes = [order for order in every if kinds[order] == "HARD_SWISH"]
    built = start_building(workers, source, "int8", Options(wide_orders=every), ranges).result()
    assert (built.wide, built.scheme) == (every, Scheme.INT16X8)
    assert "HARD_SWISH" not in {op.kind for op in read_graph(built.data).ops}
    others = Options(wide_orders=tuple(order for order in every if order not in swishes))
    narrow = start_building(workers, source, "int8", others, ranges).result()
    assert sqnr(source.data, built.data, images[0]) > sqnr(source.data, narrow.data, images[0]) + 6
    some = start_building(
        workers, source, "int8", Options(wide_orders=(0, swishes[0]), keep_orders=(every[-1],)), ranges
    ).result()
    assert some.wide == (0, swishes[0])
    assert [op.kind for op in read_graph(some.data).ops].count("HARD_SWISH") == 2
    assert len(scheme_facts(read_graph(some.data)).float_islands) == 1
    assert "kept by --keep-operators" in " ".join(row.reason for row in some.stayed_float)


def test_numbers_that_are_no_operators_are_refused() -> None:
    with pytest.raises(SettingsError, match="'x' does not name operators"):
        Options.of(wide_operators="x")


def test_tensors_that_only_16_bit_operators_use_are_not_clipped() -> None:
    data = chain(random_layers(8, 8, 8, depthwise=False))
    graph, extreme = read_graph(data), (-9.0, 9.0)
    names = [graph.tensors[op.outputs[0]].name for op in graph.ops]
    ranges, extremes = dict.fromkeys(names, (-1.0, 1.0)), dict.fromkeys(names, extreme)
    calibration = with_wide_ranges(graph, [0, 1], Calibration(ranges, 4, "mean", "digest", extremes))
    assert calibration is not None
    assert [calibration.ranges[name] == extreme for name in names] == [True, False, False], "8 bits read the second one"
    assert with_wide_ranges(graph, [], calibration) is calibration
