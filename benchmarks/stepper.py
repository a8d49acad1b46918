"""Time to split a file into a chain of one-operator models, and time of a run of the chain.

Limit: a run of the same file in one interpreter with one thread. The two are run in turns; the ratio is that of the
medians.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.figures import line
from qviz.tflite.runner import Runner
from qviz.tflite.stepper import Stepper

MODELS = Path(__file__).resolve().parents[1] / "sample_data" / "models"
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


def main() -> None:
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    measure("int8", goal=2.0)
    measure("float32", goal=None)


if __name__ == "__main__":
    main()
