"""A planted interaction of quantization and darkness: int8 calibrated on bright photographs, and on mixed light.

For bright photographs, pixels are lightened so that none is darker than `VEIL` times white, as behind a window. Both
files are built by litert-quantizer from the sample's float32 file and tested on composed scenes in the dark. The output
shows the interaction with its interval, the alarm on darkened photographs, and the gain when the images that the alarm
selects are added to the calibration images.
"""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.what_if import quiet
from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.datasets.files import find_images, load_images
from qviz.detector import decoded
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy import evaluate
from qviz.features.corruption_sweep.out_of_range import OutOfRange, out_of_range
from qviz.features.corruption_sweep.result import Robustness
from qviz.features.corruption_sweep.sweep import sweep
from qviz.features.detection.models import LoadedModel
from qviz.session import Session
from qviz.structures import AppliedCorruption, Dataset, EncodedImage
from qviz.tflite.inputs import fill, input_spec

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
FLOAT = SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite"
VEIL = 0.2
DARK = (AppliedCorruption("night", 2), AppliedCorruption("night", 3), AppliedCorruption("exposure", -3))
SCENES = 60
SEVERITIES = (1, 2)
CORRUPTIONS = ("night", "exposure_down")


Inputs = list[dict[str, np.ndarray]]


def inputs_of(reference: LoadedModel, images: Sequence[EncodedImage], veil: float = 0.0) -> Inputs:
    """The model's inputs for these images, in [-1, 1], lightened by `veil`."""
    tensor, spec = reference.inspection.graph.input_tensors()[0], input_spec(reference.settings)
    read = (fill(decoded(image), spec, tensor)[0] for image in images)
    return [{"input": values * np.float32(1 - veil) + np.float32(veil)} for values in read]


def build(reference: LoadedModel, inputs: Inputs) -> bytes:
    """An int8 file with static ranges; the head's outputs stay float.

    Ranges are the smallest and largest values of all images. litert-quantizer's own ranges are not used: they are
    moving averages over the images (factor .95), so the effect of added images would depend on their number and order.
    """
    from litert_quantizer import calibrator, qtyping, quantizer, recipe
    from litert_quantizer.algorithm_manager import AlgorithmName
    from litert_quantizer.utils import qsv_utils

    with quiet():
        litert_quantizer_run: Any = quantizer.Quantizer(reference.model.data)
        litert_quantizer_run.load_quantization_recipe(recipe.static_wi8_ai8())
        kinds = qtyping.TFLOperationName
        for kind in (kinds.INPUT, kinds.OUTPUT):
            litert_quantizer_run.update_quantization_recipe(".*", kind, algorithm_key=AlgorithmName.NO_QUANTIZE)
        ranges = calibrator.Calibrator(reference.model.data, qsv_update_func=qsv_utils.min_max_update)
        ranges.calibrate({"serving_default": inputs}, litert_quantizer_run._recipe_manager)
        result = litert_quantizer_run.quantize(ranges.get_model_qsvs(), enable_progress_report=False)
    return bytes(result.quantized_model)


def swept(engine: LocalEngine, folder: Path, files: dict[str, bytes], data: Dataset) -> Robustness:
    paths = [folder / f"{name}.tflite" for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    models = Session(FLOAT, *paths, engine=engine, cache=False).models
    print("\nloss when clean, AP x100, [95 % interval], * significant")
    for row in evaluate(Context(engine), models, data).losses:
        print(f"{row.variant:<34} {_line(row.ap.value, row.ap.low, row.ap.high, row.ap.significant)}")
    return sweep(Context(engine), models, data, CORRUPTIONS, SEVERITIES)


def _line(value: float | None, low: float | None, high: float | None, significant: bool | None) -> str:
    return (
        f"{100 * (value or 0):+5.1f} [{100 * (low or 0):+.1f}, {100 * (high or 0):+.1f}] {'*' if significant else ''}"
    )


def show(result: Robustness) -> None:
    print(f"\n{result.images} scenes, severities {SEVERITIES}; AP x100; {result.images_per_second:.0f} images/s")
    for row in result.summary:
        print(f"{row.model:<34} P {100 * (row.p or 0):5.1f}  mPC {100 * (row.mpc or 0):5.1f}")
    print("interaction, AP x100, [95 % interval], * significant after Holm")
    for row in result.interactions:
        print(f"{row.model:<34} {row.corruption:<14} {_line(row.value, row.low, row.high, row.significant)}")


def show_alarm(result: OutOfRange) -> None:
    print(
        f"\nalarm of {result.variant}: {len(result.alarms)} of {len(result.images)} images,"
        f" typical {result.typical:.4f}"
    )
    for image in result.images[:3]:
        layers = ", ".join(f"{layer.op_index} {layer.op_type}" for layer in image.layers[:3])
        print(f"  {image.image:<28} {image.score:.4f}, {image.layers_outside} layers outside: {layers}")
    print(f"to add: {len(result.add)} images cover {result.add[-1].covered:.0%}" if result.add else "nothing to add")


def main() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    photographs = list(load_images(find_images([SAMPLE / "calibration"])))
    dark = [image.under(DARK[i % len(DARK)]) for i, image in enumerate(photographs)]
    scenes = read_coco(SAMPLE / "scenes" / "annotations.json", SAMPLE / "scenes")
    data = replace(scenes, images=scenes.images[:: max(1, len(scenes.images) // SCENES)][:SCENES])
    with tempfile.TemporaryDirectory() as name, LocalEngine(warm_up=importing("qviz.detector")) as engine:
        folder = Path(name)
        (reference,) = Session(FLOAT, engine=engine, cache=False).models
        plain, bright = inputs_of(reference, photographs), inputs_of(reference, photographs, VEIL)
        every = [*plain, *bright, *inputs_of(reference, dark)]
        files = {"mixed_light": build(reference, every), "bright_only": build(reference, bright)}
        path = folder / "bright_only.tflite"
        path.write_bytes(files["bright_only"])
        variant = Session(FLOAT, path, engine=engine, cache=False).models[1]
        alarm = out_of_range(Context(engine), reference, variant, [*photographs, *dark])
        chosen = {row.digest for row in alarm.add}
        added = [image for image in [*photographs, *dark] if image.digest in chosen]
        files["bright_and_added"] = build(reference, [*bright, *inputs_of(reference, added)])
        show_alarm(alarm)
        show(swept(engine, folder, files, data))


if __name__ == "__main__":
    main()
