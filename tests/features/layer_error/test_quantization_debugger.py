"""Local errors against TensorFlow's QuantizationDebugger, and SQNR against ONNX Runtime's own function.

The debugger's NumericVerify compares an int8 operator with the float one on the same dequantized inputs, which is
`local_inputs="variant"`. Only operators that read a QUANTIZE differ: the debugger's float twin reads what goes into it,
so that the quantizer's own error is counted there as well. Layers that only copy have no error in qviz, and float32's
rounding (1e-13) in the debugger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks import quantization_debugger as benchmark
from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine
from qviz.features.layer_error import LayerErrors, layers
from qviz.features.layer_error.tensor_error import ErrorSums, sqnr_db
from qviz.session import Session
from qviz.structures import Graph
from qviz.tflite.schema import read_graph

CALIBRATION, RUN = 6, 4


@dataclass(frozen=True)
class BothTools:
    """qviz's layers and the debugger's mean squared errors of one int8 file, and which tensors come from a QUANTIZE."""

    qviz_layers: LayerErrors
    debugger_mse: dict[str, float]
    requantized: set[str]


@pytest.fixture(scope="module")
def both(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> BothTools:
    reason = "TensorFlow is not installed; its QuantizationDebugger is what is compared."
    pytest.importorskip("tensorflow", reason=reason)  # not when tests are collected: it takes 5 s in every process
    paths = benchmark.photographs()
    images = paths[-RUN:]
    with benchmark.hushed():
        quantization_debugger = benchmark.debugger(paths[:CALIBRATION], images)
        quantization_debugger.run()
        variant = benchmark.int8_file(quantization_debugger, tmp_path_factory.mktemp("debugger"))
    models = Session(benchmark.float32(), variant, engine=engine, cache=False, **benchmark.SETTINGS.given()).models
    qviz_layers = layers(Context(engine), *models, load_images(images), local_inputs="variant")
    return BothTools(
        qviz_layers, benchmark.statistics(quantization_debugger), behind_quantize(read_graph(variant.read_bytes()))
    )


def behind_quantize(graph: Graph) -> set[str]:
    """Outputs of the operators that read a QUANTIZE."""
    written = {op.outputs[0] for op in graph.ops if op.kind == "QUANTIZE"}
    return {graph.tensors[op.outputs[0]].name for op in graph.ops if written.intersection(op.inputs)}


@pytest.mark.slow
def test_local_mse_equals_the_debuggers(both: BothTools) -> None:
    comparison = benchmark.compare(both.qviz_layers, both.debugger_mse)
    assert comparison.common >= 100
    assert comparison.rank >= 0.98
    assert comparison.difference <= 0.05


@pytest.mark.slow
def test_only_operators_that_read_a_quantize_differ(both: BothTools) -> None:
    qviz_mse = {layer.tensor: layer.local_mse or 0 for layer in both.qviz_layers.layers}
    debugger_mse = {name: mse for name, mse in both.debugger_mse.items() if mse > benchmark.NOISE and name in qviz_mse}
    apart = {name for name, mse in debugger_mse.items() if abs(qviz_mse[name] / mse - 1) > 0.005}
    assert apart and apart <= both.requantized
    assert all(debugger_mse[name] > qviz_mse[name] for name in apart)


@pytest.mark.slow
def test_most_layers_only_round(both: BothTools) -> None:
    """RMSE/scale is about 1/sqrt(12) where rounding alone is left."""
    compared = [layer for layer in both.qviz_layers.layers if both.debugger_mse.get(layer.tensor, 0) > benchmark.NOISE]
    middle = float(np.median([layer.local_rmse_over_scale or 0 for layer in compared]))
    assert middle == pytest.approx(1 / np.sqrt(12), rel=0.1)


def onnx_runtime_sqnr(x: Sequence[np.ndarray], y: Sequence[np.ndarray]) -> float:
    """The formula of `compute_signal_to_quantization_noice_ratio` (onnxruntime/quantization/qdq_loss_debug.py):

    20 log10(|x| / |x - y|) over all arrays joined, both norms no smaller than float64's epsilon.
    """
    joined, other = (np.concatenate([array.ravel() for array in arrays]) for arrays in (x, y))
    signal, noise = (max(float(np.linalg.norm(values)), np.finfo("float").eps) for values in (joined, joined - other))
    return float(20 * np.log10(signal / noise))


@pytest.mark.parametrize("noise", [1e-4, 1e-2, 1.0])
def test_sqnr_equals_onnx_runtimes(noise: float) -> None:
    draw = np.random.default_rng(7)
    x = draw.normal(size=(3, 50, 60)).astype(np.float32)
    y = (x + draw.normal(scale=noise, size=x.shape)).astype(np.float32)
    assert sqnr_db(x, y) == pytest.approx(onnx_runtime_sqnr([x], [y]), abs=1e-4)


def test_images_are_pooled_as_in_onnx_runtime() -> None:
    draw = np.random.default_rng(8)
    xs = [draw.normal(scale=size, size=(40, 9)).astype(np.float32) for size in (0.1, 1, 10)]
    ys = [(x + draw.normal(scale=0.02, size=x.shape)).astype(np.float32) for x in xs]
    sums = ErrorSums()
    for x, y in zip(xs, ys, strict=True):
        sums.add(x, y, "")
    assert sums.sqnr_db == pytest.approx(onnx_runtime_sqnr(xs, ys), abs=1e-4)
