"""Resident memory of an evaluation and of a session, of this process and its workers, by number of images.

ours    an evaluation of float32 and int8 on the sample's scenes, in several copies with other names and pixels; and a
        session of four models with images in memory, as the dashboard has them, with candidates
goal    at most 10 % more for 2,000 images than for 200; and for four models on 1,000 images, at most 300 MB more than
        for the first model on the first image
`python -m benchmarks memory [IMAGES ...]` (default: 200 and 2,000)
"""

import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.quantization_debugger import resident
from benchmarks.throughput import MODELS, SAMPLE
from qviz.context import Context
from qviz.datasets.coco import read_coco
from qviz.detector import PAGE_SCORE
from qviz.engine import LocalEngine, importing
from qviz.features.accuracy import evaluate
from qviz.features.detection.inference import detect_images
from qviz.progress import Advance
from qviz.session import Session
from qviz.structures import EncodedImage

COUNTS, SESSION_IMAGES = (200, 2000), 1000


def dataset(folder: Path, images: int) -> Path:
    """Write a COCO file and its images; returns the file's path. Images repeat the scenes with one corner changed."""
    scenes = json.loads((SAMPLE / "scenes" / "annotations.json").read_text())
    by_image: dict[int, list[dict[str, object]]] = {}
    for row in scenes["annotations"]:
        by_image.setdefault(row["image_id"], []).append(row)
    rows, truths = [], []
    for number in range(images):
        scene = scenes["images"][number % len(scenes["images"])]
        name = f"{number:05}.jpg"
        (folder / name).write_bytes(_copy(SAMPLE / "scenes" / scene["file_name"], number))
        rows.append({**scene, "id": number + 1, "file_name": name})
        for row in by_image.get(scene["id"], []):
            truths.append({**row, "id": len(truths) + 1, "image_id": number + 1})
    path = folder / "annotations.json"
    path.write_text(json.dumps({**scenes, "images": rows, "annotations": truths}))
    return path


def _copy(path: Path, number: int) -> bytes:
    with Image.open(path) as opened:
        pixels = np.array(opened.convert("RGB"))
    pixels[:8, :8] = (number % 256, number // 256, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def peak(images: int) -> tuple[float, float]:
    """(highest memory in MB, images per second) of one evaluation, in this process."""
    high = 0.0

    def look(done: int, total: int) -> None:
        nonlocal high
        if done % 20 == 0 or done == total:
            high = max(high, resident())

    with tempfile.TemporaryDirectory() as name, LocalEngine(warm_up=importing("qviz.detector")) as engine:
        path = dataset(Path(name), images)
        models = Session(*MODELS, engine=engine, cache=False).models
        result = evaluate(Context(engine, progress=Advance(look)), models, read_coco(path, Path(name)))
        high = max(high, resident())
    return high, result.images_per_second


def session(images: int) -> tuple[float, float, float]:
    """Memory in MB: with one model on one image; with four models on `images` images; and of these images' files."""
    names = ("float32", "int8", "float16", "dynamic_range")
    paths = [SAMPLE / "models" / f"ssdlite_mobilenet_v2_{name}.tflite" for name in names]
    with tempfile.TemporaryDirectory() as name, LocalEngine(warm_up=importing("qviz.detector")) as engine:
        dataset(Path(name), images)
        context, photographs = Context(engine), sorted(Path(name).glob("*.jpg"))
        first = Session(paths[0], engine=engine, cache=False).models
        few = [EncodedImage(path.name, path.read_bytes()) for path in photographs[: 4 * engine.workers]]
        detect_images(context, first, few, len(few), PAGE_SCORE)  # every worker has run the first model
        del few
        low = resident()
        models = Session(*paths, engine=engine, cache=False).models
        files = [EncodedImage(path.name, path.read_bytes()) for path in photographs]
        detected = detect_images(context, models, files, len(files), PAGE_SCORE)
        assert len(detected.inferences) == len(models) * len(files)
        return low, resident(), sum(len(file.data) for file in files) / 2**20


def main() -> None:
    counts = [int(text) for text in sys.argv[2:]] or list(COUNTS)
    peaks = []
    for count in counts:  # each in a process of its own: what one run leaves behind is not the next one's
        code = f"from benchmarks.memory import peak; print(*peak({count}))"
        shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        high, rate = (float(text) for text in shown.split())
        peaks.append(high)
        print(f"{count:>6} images: {high:7.0f} MB at the most, {rate:.1f} images/s")
    if len(peaks) > 1:
        print(f"growth {peaks[-1] / peaks[0] - 1:+.1%}   goal +10 % or less")
    low, high, files = session(SESSION_IMAGES)
    print(
        f"session: {low:.0f} MB with one model and one image, {high - low:+.0f} MB with four models and"
        f" {SESSION_IMAGES} images, {files:.0f} MB of them the images' files   goal +300 MB or less"
    )


if __name__ == "__main__":
    main()
