"""AP of int8 files by the method that chose their activation ranges: qviz's methods and two peers, on the same images.

litert-quantizer    its own Calibrator with its defaults, and its own building
TensorFlow          the calibrator and the quantizer that TFLiteConverter runs, on the same float32 .tflite file

The models are the sample and, if it exists, those of the folder beside the project (float16 and dynamic-range files are
unfolded to float32 first). They are calibrated on COCO train images and measured on COCO val images, or on the sample's
images if there are no others. Even a 1 % wider input range changes the AP of 80 images by up to a point, so differences
within the intervals mean nothing. `QVIZ_MODELS=sample,yolox` chooses models, `QVIZ_IMAGES=40,80` the numbers of images,
and `QVIZ_FIRST=40` the first calibration image, for a second set of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.quantization_debugger import hushed
from benchmarks.what_if import quiet
from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.detector import AP_SCORE
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy.evaluator import Evaluator, mean_loss
from qviz.features.building import quantize
from qviz.features.building.calibration import METHODS, network_input
from qviz.features.building.source import Source, source_of
from qviz.features.detection.models import LoadedModel, ModelSource, follow, load_model
from qviz.structures import Dataset, EncodedImage, Scheme, Settings
from qviz.tflite.edit import packed, unpacked
from qviz.tflite.schema import read_graph
from qviz.tflite.scheme import scheme_facts
from qviz.tflite.unfold import unfolded

ROOT = Path(__file__).resolve().parents[1]
SAMPLE, SHARED = ROOT / "sample_data", ROOT.parent / "shared"
COCO, MODELS = SHARED / "coco", SHARED / "models"
ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
NANODET = Settings((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), "bgr", "stretch")
CASES = {
    "sample": (SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite", Settings()),
    "yolox": (MODELS / "yolox_nano_float32.tflite", Settings(ZERO, ONE, "bgr", "letterbox-top-left")),
    "nanodet": (MODELS / "nanodet_m_320_float32.tflite", NANODET),
    "yolov8n": (MODELS / "yolov8n_dynamic_range.tflite", Settings(ZERO, (255.0, 255.0, 255.0), "rgb", "letterbox")),
}
NAMES = os.environ.get("QVIZ_MODELS", ",".join(CASES)).split(",")
COUNTS = [int(count) for count in os.environ.get("QVIZ_IMAGES", "40,80").split(",")]
"""Number of images to calibrate on, and number of images to measure on."""
FIRST = int(os.environ.get("QVIZ_FIRST", "0"))
"""Position of the first calibration image."""


def images() -> tuple[list[EncodedImage], Dataset]:
    if not COCO.is_dir():
        scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
        few = replace(scenes, images=scenes.images[: COUNTS[1]])
        return list(load_images([SAMPLE / "calibration"]))[: COUNTS[0]], few
    train, val = (read_coco(COCO / f"instances_{part}2017.json", COCO / "images") for part in ("train", "val"))
    calibration = [image.encoded() for image in train.images[FIRST : FIRST + COUNTS[0]]]
    return calibration, replace(val, images=val.images[: COUNTS[1]])


def float32(path: Path) -> bytes:
    data = path.read_bytes()
    graph = read_graph(data)
    return data if scheme_facts(graph).scheme is Scheme.FLOAT32 else unfolded(data, graph)


def with_signature(data: bytes) -> bytes:
    """The file with a signature, which litert-quantizer's calibrator needs."""
    from ai_edge_litert import schema_py_generated as fb

    model = unpacked(data)
    if not model.signatureDefs:
        graph = model.subgraphs[0]
        inputs, outputs = (
            [fb.TensorMapT(name=f"{word}{number}", tensorIndex=index) for number, index in enumerate(side)]
            for word, side in (("input", graph.inputs), ("output", graph.outputs))
        )
        model.signatureDefs = [fb.SignatureDefT(inputs=inputs, outputs=outputs, signatureKey="serving_default")]
    return packed(model)


def by_litert_quantizer(source: Source, inputs: Sequence[Any]) -> bytes:
    from litert_quantizer import calibrator, quantizer, recipe, recipe_manager

    data = with_signature(source.float_data)
    signature = read_graph(data).signature
    name = next(name for name, index in signature.items() if index == source.graph.inputs[0])
    rules = recipe_manager.RecipeManager()
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    runner = calibrator.Calibrator(data, num_threads=1)
    runner.calibrate({runner.get_signature_list().popitem()[0]: [{name: values} for values in inputs]}, rules)
    quantizing = quantizer.Quantizer(data, recipe.static_wi8_ai8())
    quantizing.update_quantization_recipe(".*", "OUTPUT", algorithm_key="no_quantize")  # class ids must not be rounded
    return bytes(quantizing.quantize(runner.get_model_qsvs(), enable_progress_report=False).quantized_model)


def by_tensorflow(source: Source, inputs: Sequence[Any]) -> bytes:
    from tensorflow.lite.python.convert import mlir_quantize
    from tensorflow.lite.python.optimize import calibrator

    calibrated = calibrator.Calibrator(source.float_data).calibrate(lambda: ([values] for values in inputs))
    return bytes(mlir_quantize(calibrated))


PEERS: dict[str, Callable[[Source, Sequence[Any]], bytes]] = {
    "litert-quantizer": by_litert_quantizer,
    "TensorFlow": by_tensorflow,
}


def files(context: Context, source: Source, calibration: Sequence[EncodedImage]) -> Iterator[tuple[str, bytes]]:
    """(name of the method, int8 file) for each method and peer."""
    for method in METHODS:
        yield method, quantize(context, source, "int8", calibration=calibration, ranges=method).data
    inputs = [network_input(image, source.settings, source.graph.input_tensors()[0]) for image in calibration]
    for name, build in PEERS.items():
        with quiet(), hushed():
            data = build(source, inputs)
        yield name, data


def measure(context: Context, reference: LoadedModel, variants: Sequence[LoadedModel], on: Dataset) -> None:
    models = [reference, *variants]
    evaluator = Evaluator(context, models, on, AP_SCORE)
    first, *others = [evaluator.measure(context, model).result() for model in models]
    print(f"  float32: AP {100 * (first.ap or 0):.1f} on {evaluator.images} images")
    for model, result in zip(variants, others, strict=True):
        loss = mean_loss([first], [result], evaluator.images)
        value, low, high = (100 * (number or 0) for number in (loss.value, loss.low, loss.high))
        agreement = result.agreement or 0
        print(f"  {model.name:<18} loses {value:+5.1f} [{low:+.1f}, {high:+.1f}]; agreement {agreement:.3f}")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    calibration, on = images()
    for name in NAMES:
        path, settings = CASES[name]
        if not path.is_file():
            continue
        print(f"\n{path.name}, calibrated on {len(calibration)} images", flush=True)
        with LocalEngine(warm_up=importing("qviz.detector")) as engine:
            context = Context(engine)
            reference = load_model(engine, ModelSource(path.name, float32(path), settings))
            built = list(files(context, source_of(reference), calibration))
            variants = [follow(load_model(engine, ModelSource(key, data)), reference) for key, data in built]
            measure(context, reference, variants, on)


if __name__ == "__main__":
    main()
