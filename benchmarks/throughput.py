"""Images a second of an evaluation: float32 and int8 over the sample's photographs.

ours    `detect_images` on warm workers, no store
peer    the tutorial's loop: one interpreter after the other with a thread a core, OpenCV, the same images
limit   bare invokes of both models, a process a core with one thread each, plus decoding the JPEGs
The three take turns, so that drift hits all alike.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import cv2
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qviz import api
from qviz.analysis.detecting import detect_images
from qviz.analysis.models import LoadedModel
from qviz.datasets.files import find_images, load_images
from qviz.detector import AP_SCORE
from qviz.engine import LocalEngine, importing

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = [SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in ("float32", "int8")]
ROUNDS = 3
CORES = os.cpu_count() or 1


def photographs() -> list[Path]:
    return [path for folder in ("images", "calibration") for path in find_images([SAMPLE / folder])]


def ours(engine: LocalEngine, models: Sequence[LoadedModel], paths: Sequence[Path]) -> None:
    found = detect_images(engine, models, load_images(paths), len(paths), AP_SCORE, candidates=False)
    assert len(found.images) == len(paths)


def tutorial(paths: Sequence[Path]) -> None:
    for model in MODELS:
        interpreter = Interpreter(str(model), num_threads=CORES)
        interpreter.allocate_tensors()
        for path in paths:
            image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
            square = cv2.resize(image, (300, 300)).astype(np.float32) / 127.5 - 1
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], square[None])
            interpreter.invoke()
            [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


_BARE: list[Interpreter] = []


def _prepare() -> None:
    cv2.setNumThreads(1)
    for model in MODELS:
        _BARE.append(Interpreter(str(model), num_threads=1))
        _BARE[-1].allocate_tensors()


def _bare(path: str) -> None:
    cv2.imread(path)
    for interpreter in _BARE:
        interpreter.invoke()


def limit(pool: ProcessPoolExecutor, paths: Sequence[Path]) -> None:
    list(pool.map(_bare, [str(path) for path in paths], chunksize=4))


def rate(call: Callable[[], None], images: int) -> float:
    start = time.perf_counter()
    call()
    return images / (time.perf_counter() - start)


def main() -> None:
    paths = photographs()
    print(f"{len(paths)} images, 2 models, {CORES} cores, load {os.getloadavg()[0]:.1f}")
    with (
        LocalEngine(warm_up=importing("qviz.detector")) as engine,
        ProcessPoolExecutor(CORES, get_context("spawn"), _prepare) as pool,
    ):
        models = api.load(MODELS, engine)
        calls: dict[str, Callable[[], None]] = {
            "ours": lambda: ours(engine, models, paths),
            "peer, the tutorial's loop": lambda: tutorial(paths),
            "limit, bare invokes and decoding": lambda: limit(pool, paths),
        }
        rates: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name, call in calls.items():
                found = rate(call, len(paths))
                if turn:  # the first warms up
                    rates[name].append(found)
    for name, found in rates.items():
        print(f"{name:<36} median {median(found):6.1f} images/s  (min {min(found):.1f}, max {max(found):.1f})")
    mine, peer, bare = (median(found) for found in rates.values())
    print(f"ours / peer {mine / peer:.2f}   goal 1.7;   ours / limit {mine / bare:.2f}   goal 0.85")


if __name__ == "__main__":
    main()
