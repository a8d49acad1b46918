"""Time to split a file into a chain of one-operator models, and time of a run of the chain.

Limit: a run of the same file in one interpreter with one thread. The two are run in turns; the ratio is that of the
medians. For the layer errors of one image, the limit is the processor time of the operators alone within the same run:
both networks operator by operator, and each operator once more for its local error.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks.figures import line
from qviz.datasets.images import read_image
from qviz.features.layer_error.stream import sums_of_image
from qviz.structures import EncodedImage, Settings
from qviz.tflite.paired_networks import PairedNetworks
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Stepper

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = SAMPLE / "models"
SETTINGS = Settings(mean=(127.5,) * 3, std=(127.5,) * 3, channels="rgb", resize="stretch")
RUNS = 31


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def measure(name: str, goal: float | None) -> None:
    data = (MODELS / f"ssdlite_mobilenet_v2_{name}.tflite").read_bytes()
    cuts = [milliseconds(lambda: Stepper(data)) for _ in range(7)]
    print(line(f"{name}: cut, interpreters ready", cuts, goal=300))
    whole, stepper = Runner(data, keep_all=False), Stepper(data)
    values = np.random.default_rng(0).uniform(-1, 1, (1, 300, 300, 3)).astype(np.float32)
    pairs = [(milliseconds(lambda: whole.run([values])), milliseconds(lambda: stepper.run([values])))
             for _ in range(RUNS + 3)][3:]  # fmt: skip
    print(line(f"{name}: limit, the whole model", [pair[0] for pair in pairs]))
    print(line(f"{name}: {len(stepper.steps)} steps", [pair[1] for pair in pairs]))
    ratio = median(pair[1] for pair in pairs) / median(pair[0] for pair in pairs)
    print(f"{name}: ratio {ratio:.2f}" + (f"   goal {goal:.1f}" if goal else ""))


def layer_errors(local_inputs: str) -> None:
    """Print the processor time of the layer errors of one image and that of the operators within it."""
    files = [(MODELS / f"ssdlite_mobilenet_v2_{name}.tflite").read_bytes() for name in ("float32", "int8")]
    networks = PairedNetworks(files[0], files[1], (SETTINGS, SETTINGS))
    path = min((SAMPLE / "images").iterdir())
    image = read_image(EncodedImage(path.name, path.read_bytes()))
    invoke, spent = Interpreter.invoke, [0.0]

    def timed(interpreter: Interpreter) -> None:
        start = time.thread_time()
        invoke(interpreter)
        spent[0] += time.thread_time() - start

    Interpreter.invoke = timed
    rows: list[tuple[float, float]] = []
    for _ in range(RUNS + 3):
        spent[0], start = 0.0, time.thread_time()
        sums_of_image(networks, image, local_inputs)
        rows.append(((time.thread_time() - start) * 1e3, spent[0] * 1e3))
    Interpreter.invoke = invoke
    name = f"layer errors of an image, inputs of the {local_inputs}"
    print(line(name, [row[0] for row in rows[3:]]))
    print(line(f"{name}: limit, the operators alone", [row[1] for row in rows[3:]]))
    print(f"{name}: ratio {median(row[0] / row[1] for row in rows[3:]):.2f}   goal 1.6")


def main() -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    measure("int8", goal=2.0)
    measure("float32", goal=None)
    for local_inputs in ("variant", "reference"):
        layer_errors(local_inputs)


if __name__ == "__main__":
    main()
