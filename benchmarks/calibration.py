"""Time to calibrate the sample on 60 images, with qviz, with litert-quantizer and with TensorFlow's converter.

All use the same photographs; decoding and preparing them is part of the time. qviz uses one worker process per core,
with one thread each. The others can only use one process, with one thread. CPU seconds of all processes are printed
too, because they depend less on other work of the machine. Imports and the start of workers are listed separately.

ours           ranges of all images, once for all recipes; then the time of each further recipe
peer           litert-quantizer's Calibrator and its quantize, which calibrates again for each recipe
converter      TensorFlow's converter from the SavedModel, which does not report calibrating and building separately
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.quantization_debugger import SETTINGS, float32, hushed, processor
from benchmarks.what_if import quiet
from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine, importing
from qviz.features.building.build import builders, start_building
from qviz.features.building.calibration import Calibration, calibrate, network_input
from qviz.features.building.recipes import Options
from qviz.features.building.source import Source, source_of
from qviz.features.detection.models import load_model, read_source
from qviz.structures import EncodedImage

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
IMAGES = 60
GOAL, GOAL_EACH = 3.0, 0.3
RECIPES = (("int8", Options()), ("int8", Options(keep_orders=(0, 1))), ("int8", Options(algorithm="octav")),
           ("int16x8", Options()))  # fmt: skip
"""Recipes and options that are built from the same ranges, one after another."""


def photographs() -> list[EncodedImage]:
    return list(load_images([SAMPLE / "calibration"]))[:IMAGES]


def loaded_source(engine: LocalEngine) -> Source:
    model_source = read_source(float32(), SETTINGS)
    return source_of(load_model(engine, model_source), model_source)


def timed(call: Callable[[], Any]) -> tuple[float, float, Any]:
    """(seconds, CPU seconds, the call's result)."""
    start, before = time.perf_counter(), processor()
    calibration = call()
    return time.perf_counter() - start, processor() - before, calibration


def ours(images: Sequence[EncodedImage]) -> Calibration:
    start = time.perf_counter()
    with LocalEngine(warm_up=importing("qviz.features.building")) as engine, builders() as makers:
        source = loaded_source(engine)
        print(f"workers are up and the model is read after   {time.perf_counter() - start:6.2f} s")
        runs = [timed(lambda: calibrate(Context(engine), source, images)) for _ in range(4)]
        first, *warm = [seconds for seconds, _, _ in runs]
        print(
            f"ours, ranges of {len(images)} images on {engine.workers} workers: first {first:6.2f} s (goal {GOAL:g}),"
            f" then {median(warm):.2f} s, processor {median(busy for _, busy, _ in runs[1:]):.2f} s"
        )
        calibration: Calibration = runs[0][2]
        built = [
            timed(lambda o=options, r=recipe: _built(makers, source, r, o, calibration))
            for recipe, options in RECIPES * 2
        ]
        for (recipe, options), (seconds, busy, inside) in zip(RECIPES * 2, built, strict=True):
            changed = "operators 0-1 in float" if options.keeps_float else options.algorithm
            print(
                f"  a further recipe: {recipe:<8}{changed:<24}{seconds:6.2f} s (goal {GOAL_EACH:g}; building alone"
                f" {inside:.2f} s), processor {busy:.2f} s"
            )
    return calibration


def _built(makers: LocalEngine, source: Source, recipe: str, options: Options, ranges: Calibration) -> float:
    """Seconds that building takes in the worker, without sending the job."""
    return start_building(makers, source, recipe, options, ranges).result().seconds


def peer(images: Sequence[EncodedImage], source: Source) -> dict[str, tuple[float, float]]:
    """Measure litert-quantizer with its own calibration. Returns tensor name -> (smallest, largest) value."""
    from litert_quantizer import calibrator, quantizer, recipe, recipe_manager
    from litert_quantizer.utils import qsv_utils

    tensor = source.graph.input_tensors()[0]
    name = next(name for name, index in source.graph.signature.items() if index == tensor.index)

    def measure() -> Any:
        rules = recipe_manager.RecipeManager()
        rules.load_quantization_recipe(recipe.static_wi8_ai8())
        calibration_runner = calibrator.Calibrator(
            source.float_data, num_threads=1, qsv_update_func=qsv_utils.min_max_update
        )
        inputs = [{name: network_input(image, SETTINGS, tensor)} for image in images]
        calibration_runner.calibrate({"serving_default": inputs}, rules)
        return calibration_runner.get_model_qsvs()

    with quiet():
        seconds, busy, calibration = timed(measure)
        building, _, _ = timed(
            lambda: quantizer.Quantizer(source.float_data, recipe.static_wi8_ai8()).quantize(
                calibration, enable_progress_report=False
            )
        )
    print(
        f"litert-quantizer, ranges of {len(images)} images: {seconds:6.2f} s, processor {busy:.2f} s;"
        f" building {building:.2f} s"
    )
    return {key: (float(ends["min"].min()), float(ends["max"].max())) for key, ends in calibration.items()}


def converter(images: Sequence[EncodedImage], source: Source) -> None:
    """Measure TensorFlow's converter, used as in sample_data/build/models.py for the sample's int8 file."""
    import tensorflow as tf

    tensor = source.graph.input_tensors()[0]

    def convert() -> bytes:
        tflite_converter = tf.lite.TFLiteConverter.from_saved_model(
            str(SAMPLE / "saved_model"), signature_keys=["serving_default"]
        )
        tflite_converter.allow_custom_ops = True
        tflite_converter.optimizations = [tf.lite.Optimize.DEFAULT]
        tflite_converter.representative_dataset = lambda: ([network_input(image, SETTINGS, tensor)] for image in images)
        tflite_converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
            tf.lite.OpsSet.TFLITE_BUILTINS,
        ]
        return bytes(tflite_converter.convert())

    with hushed():
        seconds, busy, _ = timed(convert)
    print(
        f"TensorFlow's converter, {len(images)} images, calibrated and built: {seconds:6.2f} s, processor {busy:.2f} s"
    )


def same(ranges: Calibration, others: dict[str, tuple[float, float]]) -> None:
    """Print the largest difference between ends of ranges, relative to the range, over tensors that both have."""
    common = [name for name in others if name in ranges.ranges]
    apart = [
        max(abs(a - b) for a, b in zip(ranges.ranges[name], others[name], strict=True))
        / max(others[name][1] - others[name][0], 1e-9)
        for name in common
    ]
    print(f"ranges of {len(common)} tensors that both name: largest difference {max(apart):.2e} of the range")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    images = photographs()
    ranges = ours(images)
    with LocalEngine(1) as engine:
        source = loaded_source(engine)
    with hushed():
        imports, _, _ = timed(lambda: __import__("litert_quantizer") and __import__("tensorflow"))
    others = peer(images, source)
    converter(images, source)
    print(f"importing litert-quantizer and TensorFlow, apart: {imports:.1f} s")
    same(ranges, others)


if __name__ == "__main__":
    main()
