"""Loss of AP with symmetric or asymmetric activations, and with weights that have one scale per tensor or per channel.

All files are built by litert-quantizer from the same ranges of the sample's float32 file. The recipe int8 uses
asymmetric activations and scales per channel. The loss is measured, with paired intervals, on the composed scenes and,
if QVIZ_COCO names their folder, on COCO val images.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.what_if import quiet
from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy import evaluate
from qviz.features.building.calibration import Calibration, calibrate
from qviz.features.building.quantizers import _statistics
from qviz.features.building.source import source_of
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.structures import Dataset

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
FLOAT = SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite"
COCO = os.environ.get("QVIZ_COCO", "")
"""Folder with instances_train2017.json, instances_val2017.json and their images in images/; empty if there is none."""
KINDS = {
    "asymmetric, per channel": (False, "CHANNELWISE"),
    "symmetric, per channel": (True, "CHANNELWISE"),
    "asymmetric, per tensor": (False, "TENSORWISE"),
    "symmetric, per tensor": (True, "TENSORWISE"),
}
"""Name -> (whether activations are symmetric, litert-quantizer's granularity of the weights' scales)."""


def built(reference: LoadedModel, ranges: Calibration, symmetric: bool, grain: str) -> bytes:
    """An int8 file with static ranges; inputs and outputs stay float."""
    from litert_quantizer import qtyping, quantizer
    from litert_quantizer.algorithm_manager import AlgorithmName

    tensor = qtyping.TensorQuantizationConfig
    config = qtyping.OpQuantizationConfig(
        activation_tensor_config=tensor(num_bits=8, symmetric=symmetric),
        weight_tensor_config=tensor(num_bits=8, symmetric=True, granularity=qtyping.QuantGranularity(grain)),
        compute_precision=qtyping.ComputePrecision.INTEGER,
    )
    kinds = qtyping.TFLOperationName
    with quiet():
        litert_quantizer_run: Any = quantizer.Quantizer(reference.model.data)
        litert_quantizer_run.update_quantization_recipe(
            ".*", kinds.ALL_SUPPORTED, config, AlgorithmName.MIN_MAX_UNIFORM_QUANT
        )
        for kind in (kinds.INPUT, kinds.OUTPUT):
            litert_quantizer_run.update_quantization_recipe(".*", kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
        statistics = _statistics(reference.inspection.graph, ranges, {})
        return bytes(litert_quantizer_run.quantize(statistics, enable_progress_report=False).quantized_model)


def datasets() -> list[tuple[Dataset, list[Path]]]:
    """(dataset to measure on, images to calibrate with) pairs."""
    scenes = SAMPLE / "scenes"
    rows = [(read_coco(scenes / "annotations.json", scenes), [SAMPLE / "calibration"])]
    if COCO:
        folder = Path(COCO)
        train = read_coco(folder / "instances_train2017.json", folder / "images")
        paths = [image.source for image in train.images if isinstance(image.source, Path)]
        rows.append((read_coco(folder / "instances_val2017.json", folder / "images"), paths))
    return rows


def show(engine: LocalEngine, models: Sequence[LoadedModel], data: Dataset) -> None:
    result = evaluate(Context(engine), models, data)
    print(f"\n{data.name}: {result.images} images, float32 AP {100 * (result.models[0].ap or 0):.1f}")
    for figures, loss in zip(result.models[1:], result.losses, strict=True):
        low, high = 100 * (loss.ap.low or 0), 100 * (loss.ap.high or 0)
        print(
            f"  {loss.variant:<34} AP {100 * (figures.ap or 0):5.1f}  loss {100 * (loss.ap.value or 0):+5.1f}"
            f" [{low:+.1f}, {high:+.1f}] {'*' if loss.ap.significant else ''}"
        )


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for data, paths in datasets():
        with tempfile.TemporaryDirectory() as name, LocalEngine(warm_up=importing("qviz.detector")) as engine:
            (reference,) = Session(FLOAT, engine=engine, cache=False).models
            ranges = calibrate(Context(engine), source_of(reference), list(load_images(paths)))
            files = []
            for kind, how in KINDS.items():
                files.append(Path(name) / f"{kind}.tflite")
                files[-1].write_bytes(built(reference, ranges, *how))
            show(engine, Session(FLOAT, *files, engine=engine, cache=False).models, data)


if __name__ == "__main__":
    main()
