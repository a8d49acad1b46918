"""Time to trace one object through the int8 sample, at every operator and in the quick mode; warm, one worker.

The limit is computed from plain invokes of whole models. A full trace runs FP32 once and, for each operator, the rest
of the variant from there, which is half of the variant on average. A quick trace runs both models once and about eight
such rests.
"""

import os
import time
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.figures import line
from qviz.context import Context
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine, importing
from qviz.features.tracing import trace
from qviz.session import Session
from qviz.tflite.runner import Runner

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = [SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in ("float32", "int8")]
RUNS = 9
GOALS = {"full": 1200, "quick": 250}


def invoke(path: Path) -> float:
    """Median milliseconds of one invoke of a whole model."""
    runner = Runner(path.read_bytes(), keep_all=False)
    values = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    times = []
    for _ in range(21):
        runner.run([values])
        times.append(runner.milliseconds)
    return median(times)


def main() -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    reference_ms, variant_ms = (invoke(path) for path in MODELS)
    (image,) = load_images([SAMPLE / "images" / "biplane.jpg"])
    with LocalEngine(1, warm_up=importing("qviz.detector")) as engine:
        reference, variant = Session(*MODELS, engine=engine, cache=False).models
        operators = len(trace(Context(engine), reference, variant, image).points)  # warms the worker
        limits = {"full": reference_ms + operators * variant_ms / 2, "quick": reference_ms + variant_ms * (1 + 8 / 2)}
        for way, goal in GOALS.items():
            times = []
            for _ in range(RUNS):
                start = time.perf_counter()
                trace(Context(engine), reference, variant, image, quick=way == "quick")
                times.append((time.perf_counter() - start) * 1e3)
            print(line(f"trace, {way}", times, goal))
            print(f"  limit, bare invokes: {limits[way]:.0f} ms; ratio {min(times) / limits[way]:.1f}")


if __name__ == "__main__":
    main()
