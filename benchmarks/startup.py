"""Time of whole processes of the command line: `qviz --help`, and `qviz compare` of two models on one image.

The limit is the least that such a process must do: a plain Python script that runs both models once.
"""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.figures import line

SAMPLE = Path(__file__).resolve().parents[1] / "sample_data"
MODELS = [str(SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite") for name in ("float32", "int8")]
IMAGE = str(SAMPLE / "images" / "hens.jpg")

BARE = f"""
import warnings; warnings.simplefilter("ignore")
import cv2, numpy as np
from ai_edge_litert.interpreter import Interpreter
image = cv2.cvtColor(cv2.imread({IMAGE!r}), cv2.COLOR_BGR2RGB)
values = (cv2.resize(image, (300, 300)).astype(np.float32) / 127.5 - 1)[None]
for path in {MODELS!r}:
    model = Interpreter(path); model.allocate_tensors()
    model.set_tensor(model.get_input_details()[0]["index"], values); model.invoke()
"""


def timed(command: list[str], runs: int = 7) -> list[float]:
    durations = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        durations.append((time.perf_counter() - start) * 1e3)
    return durations[1:]  # the first one reads the files from disk


def main() -> None:
    qviz = [sys.executable, "-m", "qviz"]
    print(line("qviz --help", timed([*qviz, "--help"]), goal=250))
    print(
        line("qviz compare FLOAT32 INT8, one image", timed([*qviz, "compare", *MODELS, "--images", IMAGE]), goal=1500)
    )
    print(line("limit: bare Python, both models once", timed([sys.executable, "-c", BARE])))
    printed = subprocess.run(
        [sys.executable, "-c", f"""
import contextlib, io, sys
from qviz.cli import main
with contextlib.redirect_stdout(io.StringIO()):
    try: main(["compare", {MODELS[0]!r}, {MODELS[1]!r}, "--images", {IMAGE!r}])
    except SystemExit: pass
print("tensorflow" in sys.modules)"""],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    print("tensorflow imported by qviz compare:", printed.stdout.strip())


if __name__ == "__main__":
    main()
