"""`qviz video` on a clip of 60 s at 10 frames per second: CPU seconds against bare inference and decoding, and memory.

ours    `session.video` with one worker, no store, in a process of its own: its CPU seconds and those of its worker
bare    one process that decodes the same clip with OpenCV, resizes each frame and invokes both models with one thread
memory  highest resident memory of the process and its worker, on this clip and on its first quarter
A round runs each of them once; they are not run at the same time. `SECONDS=15 python -m benchmarks video` uses a clip
of 15 s.
"""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = [str(SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite") for name in ("float32", "int8")]
RATE, SIZE = 10, (640, 480)
SECONDS = int(os.environ.get("SECONDS", "60"))
ROUNDS = 3


def make_clip(path: Path, seconds: int) -> None:
    """Write a clip of slow pans over the sample's photographs, five seconds each, which darken in their last second."""
    photographs = [cv2.imread(str(file)) for file in sorted((SAMPLE / "images").glob("*.jpg"))]
    large = [cv2.resize(image, (800, 600)) for image in photographs if image is not None]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), RATE, SIZE)
    for number in range(seconds * RATE):
        scene, step = divmod(number, 5 * RATE)
        frame = large[scene % len(large)][2 * step : 2 * step + SIZE[1], 3 * step : 3 * step + SIZE[0]]
        light = 1 - 0.8 * max(0, step - 4 * RATE) / RATE
        writer.write((frame * light).astype(np.uint8))
    writer.release()


def ours(clip: str) -> None:
    """Run both models on the clip as `qviz video` does."""
    import qviz

    with qviz.open(*MODELS, workers=1, cache=False) as session:
        session.video(clip)


def bare(clip: str) -> None:
    """Decode the clip, resize each frame and invoke both models."""
    from ai_edge_litert.interpreter import Interpreter

    cv2.setNumThreads(1)
    interpreters = [Interpreter(model, num_threads=1) for model in MODELS]
    for interpreter in interpreters:
        interpreter.allocate_tensors()
    reader = cv2.VideoCapture(clip)
    while (frame := reader.read())[0]:
        square = cv2.resize(cv2.cvtColor(frame[1], cv2.COLOR_BGR2RGB), (300, 300)).astype(np.float32) / 127.5 - 1
        for interpreter in interpreters:
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], square[None])
            interpreter.invoke()


def measured(run: Callable[[str], None], clip: Path) -> tuple[float, float]:
    """(CPU seconds, highest resident memory in MB) of a process that calls `run` on a clip, with its worker."""
    call = [sys.executable, "-m", "benchmarks.video", run.__name__, str(clip)]
    ended = subprocess.run(call, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    cpu, memory = ended.stdout.split()[-2:]
    return float(cpu), float(memory)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        clip, quarter = Path(folder) / "clip.mp4", Path(folder) / "quarter.mp4"
        make_clip(clip, SECONDS)
        make_clip(quarter, SECONDS // 4)
        rounds = [[measured(run, clip)[0] for run in (ours, bare)] for _ in range(ROUNDS)]
        first, second = (median(column) for column in zip(*rounds, strict=True))
        ratio = median(row[0] / row[1] for row in rounds)
        print(f"{SECONDS} s at {RATE} frames per second, {SIZE[0]} × {SIZE[1]}, float32 and int8, {ROUNDS} rounds")
        print(f"ours {first:.1f} CPU s, bare {second:.1f} CPU s, ratio {ratio:.2f}")
        print(f"memory: {measured(ours, clip)[1]:.0f} MB, on a quarter of the clip {measured(ours, quarter)[1]:.0f} MB")


if __name__ == "__main__":
    {"ours": ours, "bare": bare}[sys.argv[1]](sys.argv[2])
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(sum(row.ru_utime + row.ru_stime for row in usage), max(row.ru_maxrss for row in usage) / 1024)
