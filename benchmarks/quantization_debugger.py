"""Compare qviz's layer errors with TensorFlow's QuantizationDebugger: agreement of the figures, and time of each.

Both use the same SavedModel, calibration photographs and 40 images, with the same input tensors. The debugger's error
of a layer (NumericVerify: the int8 operator against the float one on the dequantized int8 inputs) corresponds to qviz's
local error with `local_inputs="variant"`; MSE is the mean over the images. qviz reads the file that the debugger
quantized, without NumericVerify. Each runs in one process with one thread; the debugger can use no more, and qviz is
also measured with more. CPU seconds (all threads and processes) are printed too, because they depend less on other work
of the machine.

Operators that read a QUANTIZE differ: the one that reads the image, and those after an operator that stayed float. The
debugger's float operator reads the input of the QUANTIZE, not its output, so its error includes the rounding and
clipping of the QUANTIZE. In qviz, the QUANTIZE is a separate layer with its own error.

end to end   the debugger: calibrate, convert and run; qviz: start a worker, load both files and run; without imports
limit        plain runs of both whole models on one image
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
from scipy.stats import spearmanr

from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.datasets.images import read_image
from qviz.engine import LocalEngine, importing
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import LayerErrors, layers
from qviz.progress import Advance
from qviz.session import Session
from qviz.structures import EncodedImage, Settings
from qviz.tflite.inputs import InputSpec, fill
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
SETTINGS = Settings(mean=(127.5,) * 3, std=(127.5,) * 3, channels="rgb", resize="stretch")
IMAGES = 40
NOISE = 1e-10
"""A smaller MSE is only the rounding of float32, in layers that copy values (RESHAPE, CONCATENATION)."""
Values = Callable[[], Iterator[list[np.ndarray]]]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of the local MSE of two tools over the tensors that both report.

    Attributes:
        common, only_ours, only_debugger: Number of tensors that both tools, or only one of them, report.
        rank: Spearman's rank correlation.
        difference: Median of |ours / theirs - 1|.
    """

    common: int
    only_ours: int
    only_debugger: int
    rank: float
    difference: float
    apart: tuple[tuple[float, str, str, float, float], ...]
    """The largest differences of an MSE above NOISE: (difference, operator, tensor, ours, theirs)."""


def float32() -> Path:
    return SAMPLE / "models" / "ssdlite_mobilenet_v2_float32.tflite"


def photographs() -> list[Path]:
    """The calibration photographs, then the sample's."""
    return [path for name in ("calibration", "images") for path in sorted((SAMPLE / name).glob("*.jpg"))]


def input_values(images: Sequence[Path]) -> Values:
    """The model's input tensors for these images, prepared by qviz, so that both tools use the same values."""
    tensor = read_graph(float32().read_bytes()).input_tensors()[0]
    spec = InputSpec(SETTINGS.mean or (), SETTINGS.std or (), "rgb", "stretch")  # type: ignore[arg-type]
    return lambda: ([fill(read_image(image), spec, tensor)[0]] for image in load_images(images))


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Suppress both output streams, to which the converter prints from C++."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    copies = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for stream, copy_of_stream in zip((1, 2), copies, strict=True):
            os.dup2(copy_of_stream, stream)
        for number in (*copies, nowhere):
            os.close(number)


def debugger(calibration: Sequence[Path], images: Sequence[Path]) -> Any:
    """A QuantizationDebugger of the sample's SavedModel, quantized as sample_data/build/models.py does."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(SAMPLE / "saved_model"), signature_keys=["serving_default"]
    )
    converter.allow_custom_ops = True
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = input_values(calibration)
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.TFLITE_BUILTINS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    return tf.lite.experimental.QuantizationDebugger(converter=converter, debug_dataset=input_values(images))


def statistics(debugger: Any) -> dict[str, float]:
    """Tensor name -> mean squared error, from the file that the debugger writes."""
    text = io.StringIO()
    debugger.layer_statistics_dump(text)
    return {
        row["tensor_name"]: float(row["mean_squared_error"]) for row in csv.DictReader(text.getvalue().splitlines())
    }


def compare(ours: LayerErrors, debugger_mse: dict[str, float]) -> Agreement:
    qviz_layers = {layer.tensor: layer for layer in ours.layers if layer.local_mse is not None}
    common = [name for name in qviz_layers if name in debugger_mse]
    first = np.array([qviz_layers[name].local_mse for name in common], np.float64)
    second = np.array([debugger_mse[name] for name in common])
    apart = np.abs(first / second - 1)
    difference = np.where(second > NOISE, apart, 0)
    worst = tuple(
        (float(apart[i]), qviz_layers[common[i]].op_kind, common[i], float(first[i]), float(second[i]))
        for i in np.argsort(-difference)[:8]
    )
    rank = float(spearmanr(first, second).statistic)
    return Agreement(
        len(common),
        len(qviz_layers) - len(common),
        len(debugger_mse) - len(common),
        rank,
        float(np.median(apart)),
        worst,
    )


def int8_file(debugger: Any, folder: Path) -> Path:
    """Write the file that the debugger quantized, without NumericVerify, and return its path."""
    path = folder / "debugged_int8.tflite"
    path.write_bytes(debugger.get_nondebug_quantized_model())
    return path


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


@dataclass(frozen=True, slots=True)
class OwnRun:
    """One measurement of qviz.

    Attributes:
        whole: Seconds end to end.
        warm, busy: Seconds and CPU seconds of a second run with warm workers.
        result: The layer errors.
    """

    whole: float
    warm: float
    busy: float
    result: LayerErrors


def own_run(variant: Path, images: Sequence[Path], workers: int) -> OwnRun:
    start = time.perf_counter()
    with LocalEngine(workers, warm_up=importing("qviz.detector")) as engine:
        models = Session(float32(), variant, engine=engine, cache=False, **SETTINGS.given()).models
        result = _layers(engine, models, load_images(images))
        whole, before = time.perf_counter() - start, processor()
        warm, _ = seconds(lambda: _layers(engine, models, load_images(images)))
        return OwnRun(whole, warm, processor() - before, result)


def processor() -> float:
    """CPU seconds of this process and its workers."""
    here = psutil.Process()
    times = [process.cpu_times() for process in (here, *here.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)


def _layers(engine: LocalEngine, models: Sequence[LoadedModel], images: Iterable[EncodedImage]) -> LayerErrors:
    return layers(Context(engine), models[0], models[1], images, local_inputs="variant")


def limit(variant: Path, values: np.ndarray, runs: int = 21) -> float:
    """Seconds of a plain run of both files on one image, with one thread."""
    runners = [Runner(path.read_bytes(), 1, keep_all=False) for path in (float32(), variant)]
    durations = [seconds(lambda: [runner.run([values]) for runner in runners])[0] for _ in range(runs + 2)]
    return median(durations[2:])


def resident() -> float:
    """Resident memory of this process and its workers, in MB."""
    here = psutil.Process()
    total = 0
    for process in (here, *here.children(recursive=True)):
        with contextlib.suppress(psutil.Error):
            total += process.memory_info().rss
    return total / 2**20


def memory(variant: Path, marks: Sequence[int] = (10, 50, 100, 200)) -> dict[int, float]:
    """Number of images -> highest resident memory until then, in MB."""
    peaks, high = {}, 0.0

    def look(done: int, total: int) -> None:
        nonlocal high
        high = max(high, resident())
        if done in marks:
            peaks[done] = high

    with LocalEngine(warm_up=importing("qviz.detector")) as engine:
        first, second = Session(float32(), variant, engine=engine, cache=False, **SETTINGS.given()).models
        images = (image for path in islice(cycle(photographs()), max(marks)) for image in load_images([path]))
        layers(Context(engine, progress=Advance(look)), first, second, images)
    return peaks


def _real(q: np.ndarray, scale: float, zero: int) -> np.ndarray:
    return (q.astype(np.float32) - zero) * scale


SAME_FIGURES: dict[str, Callable[[np.ndarray, np.ndarray, float, int], float]] = {
    "sqnr": lambda x, q, scale, zero: float(
        20 * np.log10(np.linalg.norm(x) / np.linalg.norm(x - _real(q, scale, zero)))
    ),
    "cosine": lambda x, q, scale, zero: float(
        np.sum(x * _real(q, scale, zero)) / (np.linalg.norm(x) * np.linalg.norm(_real(q, scale, zero)))
    ),
    "rmse_over_scale": lambda x, q, scale, zero: float(np.sqrt(np.mean(np.square(x - _real(q, scale, zero)))) / scale),
}
"""Figures that qviz reports in addition to the debugger's, in the form in which users add them to the debugger."""


def run_seconds(debugger: Any, images: Sequence[Path], names: Sequence[str]) -> float:
    """Seconds of a run on these images if the debugger also computes these figures."""
    import tensorflow as tf

    metrics = {name: SAME_FIGURES[name] for name in names}
    options = tf.lite.experimental.QuantizationDebugOptions(layer_direct_compare_metrics=metrics)
    timed_debugger = tf.lite.experimental.QuantizationDebugger(
        quant_debug_model_content=debugger.quant_model, debug_dataset=input_values(images), debug_options=options
    )
    return seconds(timed_debugger.run)[0]


def show(agreement: Agreement) -> None:
    print(
        f"local MSE: {agreement.common} common tensors (only qviz {agreement.only_ours}, only debugger"
        f" {agreement.only_debugger}), rank correlation {agreement.rank:.4f} (goal .98), median difference"
        f" {agreement.difference:.3%} (goal 5%); the largest:"
    )
    for apart, kind, tensor, first, second in agreement.apart:
        print(f"  {apart:7.1%}  {kind:<18} qviz {first:.4g}  debugger {second:.4g}  {tensor[-60:]}")


def show_speed(name: str, runs: Sequence[OwnRun], build: float, debugger_mse: dict[str, float]) -> None:
    """Print qviz's times beside the debugger's: for building, and for running with more or fewer figures."""
    total, image = min(run.whole for run in runs), min(run.warm for run in runs) / IMAGES
    busy = min(run.busy for run in runs) / IMAGES
    print(f"qviz, {name}: end to end {total:.2f} s; an image {image * 1e3:.0f} ms, processor {busy * 1e3:.0f} ms")
    for figures, run in debugger_mse.items():
        print(
            f"  against the debugger's {figures:<16} end to end {(build + run) / total:4.1f} times as fast (goal 5),"
            f" an image {run / IMAGES / image:4.1f} times (goal 3)"
        )


def main() -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    images = photographs()[:IMAGES]
    shipped = SAMPLE / "models" / "ssdlite_mobilenet_v2_int8.tflite"
    print("memory, MB:", "  ".join(f"{done} images {high:.0f}" for done, high in memory(shipped).items()))
    with tempfile.TemporaryDirectory() as folder:
        with hushed():
            imports, _ = seconds(lambda: __import__("tensorflow"))
            build, quantization_debugger = seconds(
                lambda: debugger(sorted((SAMPLE / "calibration").glob("*.jpg")), images)
            )
            debugger_mse = {
                "own five figures": seconds(quantization_debugger.run)[0],
                "and SQNR": run_seconds(quantization_debugger, images, ["sqnr"]),
                "the same figures": run_seconds(quantization_debugger, images, list(SAME_FIGURES)),
            }
            variant = int8_file(quantization_debugger, Path(folder))
        alone = [own_run(variant, images, 1) for _ in range(3)]
        several = [own_run(variant, images, os.cpu_count() or 1) for _ in range(3)]
        bare = limit(variant, next(input_values(images)())[0])
    show(compare(alone[0].result, statistics(quantization_debugger)))
    print(f"debugger: build {build:.1f} s, importing TensorFlow {imports:.1f} s apart; one thread, it can do no other")
    for figures, run in debugger_mse.items():
        print(f"  {figures:<16} {run:.1f} s, an image {run / IMAGES * 1e3:.0f} ms")
    show_speed("one worker", alone, build, debugger_mse)
    show_speed(f"{os.cpu_count()} workers", several, build, debugger_mse)
    print(f"limit, bare passes of both models: {bare * 1e3:.0f} ms an image")


if __name__ == "__main__":
    main()
