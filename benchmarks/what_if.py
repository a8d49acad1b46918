"""Compare the agreement that *what if* predicts for sets of layers in float with that of files built in this way.

    python -m benchmarks.what_if                               predicted and measured, on the bundled sample
    python -m benchmarks.what_if REFERENCE VARIANT IMAGES      only the time of the usual sets and of the search, on 24
                                                               images of a folder

The sample's float32 file is quantized by litert-quantizer (static int8), completely and with each set left in float.
The prediction only uses the completely quantized file. This is done twice: with a calibration on photographs, and on
photographs in half their range of values, so that there is a loss to recover.

The remaining differences come from rounding. Where a set begins, the QUANTIZE kernel of the built file rounds a few
values in a million to the neighbouring step (ties, and the reciprocal of the scale). One of about 90 objects that is at
the score threshold changes the agreement by .006 to .011.
"""

import contextlib
import io
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import qviz
from benchmarks.diagnosis import IMAGES, cpu_seconds
from qviz.datasets.files import find_images, load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine, importing
from qviz.features.comparison.matching import Summary
from qviz.features.detection.models import LoadedModel
from qviz.features.what_if import FloatSet
from qviz.features.what_if.sets import Orders, with_conversions
from qviz.session import Session
from qviz.structures.dataset import spread
from qviz.tflite.constants import operator_weights
from qviz.tflite.inputs import fill, input_spec
from qviz.tflite.pairing import pair_layers

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
FLOAT = SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite"
CLOSE = 0.05


def sets_of(reference: LoadedModel) -> dict[str, list[int]]:
    """Name of a set -> its operators in the float file."""
    ops = reference.inspection.graph.ops
    count = len(ops)
    by_kind = {kind: [op.order for op in ops if op.kind == kind] for kind in ("DEPTHWISE_CONV_2D", "ADD", "LOGISTIC")}
    names = {op.order: reference.inspection.graph.tensors[op.outputs[0]].name for op in ops}
    random = np.random.default_rng(0)
    return {
        "first convolution": [0],
        "first three": [0, 1, 2],
        "first block": list(range(6)),
        "first tenth": list(range(count // 10)),
        "first half": list(range(count // 2)),
        "second half": list(range(count // 2, count)),
        "middle third": list(range(count // 3, 2 * count // 3)),
        "all but the first three": list(range(3, count)),
        "depthwise convolutions": by_kind["DEPTHWISE_CONV_2D"],
        "residual additions": by_kind["ADD"],
        "box predictors": [order for order, name in names.items() if "BoxEncodingPredictor" in name],
        "class predictors": [order for order, name in names.items() if "ClassPredictor" in name],
        "LOGISTIC and what is behind": [by_kind["LOGISTIC"][0] - 1, *range(by_kind["LOGISTIC"][0], count)],
        "every third": list(range(0, count, 3)),
        "a random half": sorted(int(order) for order in random.choice(count, count // 2, replace=False)),
        "all": list(range(count)),
    }


class Builder:
    """Builds static int8 files from one calibration."""

    def __init__(self, reference: LoadedModel, scale: float, shift: float) -> None:
        self._graph, self._data = reference.inspection.graph, reference.model.data
        spec, tensor = input_spec(reference.settings), self._graph.input_tensors()[0]
        photographs = (read_image(image) for image in load_images(find_images([SAMPLE / "calibration"])))
        inputs = [
            {"input": fill(image, spec, tensor)[0] * np.float32(scale) + np.float32(shift)} for image in photographs
        ]
        with quiet():
            self._calibration = self._quantizer([]).calibrate({"serving_default": inputs})

    def build(self, in_float: Collection[int]) -> bytes:
        with quiet():
            quantized = self._quantizer(in_float).quantize(self._calibration, enable_progress_report=False)
        assert quantized.quantized_model is not None
        return bytes(quantized.quantized_model)

    def _quantizer(self, in_float: Collection[int]) -> Any:
        from litert_quantizer import qtyping, quantizer, recipe
        from litert_quantizer.algorithm_manager import AlgorithmName

        result, kinds = quantizer.Quantizer(self._data), qtyping.TFLOperationName
        result.load_quantization_recipe(recipe.static_wi8_ai8())
        for kind in (kinds.INPUT, kinds.OUTPUT):
            result.update_quantization_recipe(".*", kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
        for order in in_float:
            scope = "".join(f"{self._graph.tensors[tensor].name};" for tensor in self._graph.ops[order].outputs)
            rule = f"^{re.escape(scope)}$"
            result.update_quantization_recipe(rule, kinds.ALL_SUPPORTED, algorithm_key=AlgorithmName.NO_QUANTIZE)
        return result


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress the progress bars and reports of the quantizer."""
    logging.disable(logging.WARNING)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def orders_in(variant: LoadedModel, reference: LoadedModel, operators: Collection[int]) -> Orders:
    """The variant's operators for these operators of the float file, and conversions that a rebuilt file lacks."""
    graphs = reference.inspection.graph, variant.inspection.graph
    files = reference.model.data, variant.model.data
    weights = [operator_weights(data, graph) for data, graph in zip(files, graphs, strict=True)]
    pairs = pair_layers(*graphs, *weights).pairs
    return with_conversions(graphs[1], frozenset(p.order for p in pairs if p.reference_order in set(operators)))


def measured(engine: LocalEngine, builder: Builder, folder: Path, operators: Collection[int]) -> Summary:
    path = folder / "rebuilt.tflite"
    path.write_bytes(builder.build(operators))
    models = Session(FLOAT, path, engine=engine, cache=False).models
    return Session(*models, images=SAMPLE / "images", engine=engine, cache=False).compare().variants[0].summary


def compare(engine: LocalEngine, folder: Path, name: str, scale: float, shift: float) -> None:
    path = folder / "whole.tflite"
    builder = Builder(Session(FLOAT, engine=engine, cache=False).models[0], scale, shift)
    path.write_bytes(builder.build([]))
    reference, variant = Session(FLOAT, path, engine=engine, cache=False).models
    sets = sets_of(reference)
    chosen = [orders_in(variant, reference, operators) for operators in sets.values()]
    session = Session(reference, variant, images=SAMPLE / "images", engine=engine, cache=False)
    result = session.what_if(sets=chosen)
    print(f"\n{name}: agreement of the whole int8 file {result.base:.3f}, {result.images} images")
    print(f"{'in float':<30} {'predicted':>9} {'measured':>9} {'difference':>10}   mean score delta")
    differences = []
    for (label, operators), row in zip(sets.items(), result.sets, strict=True):
        truth = measured(engine, builder, folder, operators)
        differences.append(abs(row.agreement - truth.agreement))
        print(_line(label, row, truth))
    close = sum(difference <= CLOSE for difference in differences)
    print(f"{close} of {len(differences)} within {CLOSE}; mean difference {np.mean(differences):.4f}")


def _line(label: str, row: FloatSet, truth: Summary) -> str:
    deltas = f"{row.mean_score_delta or 0:+.4f} {truth.mean_score_delta or 0:+.4f}"
    gap = row.agreement - truth.agreement
    return f"{label:<30} {row.agreement:>9.3f} {truth.agreement:>9.3f} {gap:>+10.3f}   {deltas}"


def speed(reference: Path, variant: Path, folder: Path) -> None:
    """Print how long the usual sets and the search take, with loading both models and starting the workers."""
    start, before = time.perf_counter(), cpu_seconds()
    images = spread(sorted(folder.iterdir()), IMAGES)
    with qviz.open(reference, variant, images=images, cache=False) as session:
        result = session.what_if()
    seconds = time.perf_counter() - start
    used = cpu_seconds() - before  # the workers' time counts once they have ended
    print(f"{variant.stem}: {len(result.sets)} sets, {result.images} images, {os.cpu_count()} cores")
    print(f"{used:.1f} s of processor time; {seconds:.1f} s at a load of {os.getloadavg()[0]:.1f}")


def main() -> None:
    if len(sys.argv) == 4 and sys.argv[1].endswith(".tflite"):
        speed(*map(Path, sys.argv[1:]))
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as folder, LocalEngine(warm_up=importing("qviz.detector")) as engine:
        compare(engine, Path(folder), "calibrated on photographs", 1.0, 0.0)
        compare(engine, Path(folder), "calibrated on half their range", 0.5, 0.5)


if __name__ == "__main__":
    main()
