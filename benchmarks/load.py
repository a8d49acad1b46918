"""Twenty simultaneous visitors and a hundred more: whether each sees only own files, waiting times, and files left.

Alone: one visitor of Compare drops a new photo, waits for a second, and drops the next. The measured time is from the
drop to the overlay with both models' boxes (upload, decoding, two inferences, the page). At once: twenty visitors do
this at the same time, with pauses of 4 to 10 seconds. Each overlay is compared with detections that are computed here
without the server, and each message is searched for the files of other visitors.

Each visitor's drops become a project, which is saved while the visitor waits. Afterwards each project on disk is
checked for files of other visitors, and the size of all projects is printed.

The memory of the server is printed too; `visitors` measures whether it stays constant.
"""

import io
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from PIL import Image

import qviz
from benchmarks.dropped_image import ROOT, server
from benchmarks.session import Session
from qviz import LocalEngine
from qviz.context import Context
from qviz.features.comparison.panel_viewer import viewer_boxes
from qviz.features.detection.inference import detect_images
from qviz.store.projects import Projects
from qviz.structures import EncodedImage, digest_of
from qviz.structures.detections import CANDIDATE_FLOOR

AT_ONCE, DROPS, MORE, ALONE = 20, 6, 100, 30
THINKING = (4.0, 10.0)
NAMED = re.compile(rb"load-(\d+)-")
OWN_MODEL = 5
"""One of this many visitors drops an own int8 model, which no other visitor has."""


@dataclass
class Visit:
    """What one visitor saw.

    Attributes:
        seconds: Duration of each drop.
        boxes: File -> pane -> boxes that were shown.
        strangers: Files of other visitors that appeared in a message.
    """

    seconds: list[float] = field(default_factory=list)
    boxes: dict[str, dict[str, list[list[float]]]] = field(default_factory=dict)
    strangers: set[str] = field(default_factory=set)


@lru_cache(maxsize=4096)
def photo(visitor: int, number: int) -> bytes:
    """One of the sample's photographs, marked with the numbers of the visitor and the drop."""
    paths = sorted((ROOT / "sample_data/images").glob("*.jpg"))
    with Image.open(paths[visitor % len(paths)]) as opened:
        pixels = np.array(opened.convert("RGB"))
    pixels[:16, :16] = (visitor % 256, number, visitor // 256)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG" if visitor % 10 == 9 else "JPEG", quality=90)
    return buffer.getvalue()


def sample_model(name: str) -> Path:
    return ROOT / f"sample_data/models/ssdlite_mobilenet_v2_{name}.tflite"


def name_of(visitor: int, number: int) -> str:
    return f"load-{visitor}-{number}.jpg"


def drop(session: Session, visitor: int, number: int, result: Visit) -> None:
    name = name_of(visitor, number)
    result.seconds.append(session.drop(name, photo(visitor, number)))
    data = next(data for data in session.shown if data["image"]["name"] == name)
    panes = [data["reference"], *data["variants"]]
    result.boxes[name] = {pane["name"]: pane["boxes"] for pane in panes}
    named = {int(results) for message in session.raw for results in NAMED.findall(message)}
    result.strangers |= {f"{visitor} was shown files of {other}" for other in named - {visitor}}


def visit(port: int, visitor: int, drops: int, gate: threading.Barrier | None, pause: tuple[float, float]) -> Visit:
    """Simulate one visitor. gate: the visitor waits there before the first drop; pause: (minimum, maximum) seconds."""
    result, draw = Visit(), np.random.default_rng(visitor)
    session = Session(port)
    try:
        session.open()
        if visitor % OWN_MODEL == OWN_MODEL - 1:
            session.load(f"load-{visitor}-own.tflite", sample_model("int8").read_bytes() + str(visitor).encode())
        if gate is not None:
            gate.wait(timeout=240)
        for number in range(drops):
            time.sleep(draw.uniform(*pause))
            drop(session, visitor, number, result)
    finally:
        session.close()
    return result


def crowd(port: int, visitors: range, drops: int, pause: tuple[float, float], together: int) -> dict[int, Visit]:
    """Simulate visitors, `together` at a time. If all come at once, they start to drop when the last is connected."""
    gate = threading.Barrier(together) if together == len(visitors) else None
    with ThreadPoolExecutor(together) as threads:
        jobs = {visitor: threads.submit(visit, port, visitor, drops, gate, pause) for visitor in visitors}
        return {visitor: job.result() for visitor, job in jobs.items()}


def wrong(results: dict[int, Visit]) -> list[str]:
    """Complaints about overlays whose boxes differ from those that are computed here for the same photo."""
    files = {pane: _file(pane) for result in results.values() for boxes in result.boxes.values() for pane in boxes}
    names = sorted(set(files.values()))
    shown = [(visitor, name) for visitor, result in results.items() for name in result.boxes]
    images = [EncodedImage(name, photo(visitor, int(name.split("-")[2].split(".")[0]))) for visitor, name in shown]
    with LocalEngine(2) as engine:
        loaded = qviz.open(*(sample_model(name) for name in names), engine=engine, cache=False).models
        expected = detect_images(Context(engine), loaded, images, len(images), CANDIDATE_FLOOR)
    complaints = []
    for (visitor, photo_name), image in zip(shown, images, strict=True):
        right = {
            name: viewer_boxes(expected.inferences[model.digest, image.digest].detections)
            for name, model in zip(names, loaded, strict=True)
        }
        result = results[visitor].boxes[photo_name]
        complaints += [f"{photo_name}: boxes of {pane} differ" for pane in result if result[pane] != right[files[pane]]]
    return complaints


def _file(pane: str) -> str:
    """The sample's file for the name of a pane. A visitor's own model is a copy of the int8 file."""
    return "int8" if pane.startswith("load-") else pane


def megabytes(port: int) -> tuple[float, float]:
    """Resident memory in MB: (of the server's process, of all its workers)."""
    children = psutil.Process().children(recursive=False)
    (process,) = [child for child in children if str(port) in child.cmdline()]
    workers = sum(child.memory_info().rss for child in process.children(recursive=True))
    return process.memory_info().rss / 2**20, workers / 2**20


def projects_on_disk(folder: Path) -> list[str]:
    """Complaints about projects that lack files or have files of several visitors; prints their number and size."""
    complaints, drops = [], 0
    store = Projects(folder / "projects")
    for path in sorted((folder / "projects").iterdir()):
        document = store.load(path.name)
        names = [row["name"] for row in (*document["images"], *document["models"])]
        visitors = {name.split("-")[1] for name in names if name.startswith("load-")}
        drops += len(document["images"])
        if len(visitors) != 1:
            complaints.append(f"project {path.name[:6]} has files of {sorted(visitors)}")
        complaints += [f"project {path.name[:6]} lacks a file" for digest in _digests(document) - _blobs(path)]
    megabytes = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20
    count = len(list((folder / "projects").iterdir()))
    print(f"{count} projects with {drops} images and {megabytes:.0f} MB on disk, {len(complaints)} mixed or incomplete")
    return complaints


def _digests(document: dict[str, Any]) -> set[str]:
    """sha256 of the files that a project names, without bundled files."""
    bundled = {digest_of(path.read_bytes()) for path in (ROOT / "sample_data/models").glob("*.tflite")}
    bundled |= {digest_of(path.read_bytes()) for path in (ROOT / "sample_data/images").iterdir()}
    return {row["data"] for row in (*document["images"], *document["models"])} - bundled


def _blobs(project: Path) -> set[str]:
    return {path.name for path in (project / "blobs").iterdir()}


def report(name: str, seconds: list[float]) -> float:
    p50, p95 = np.percentile(seconds, [50, 95])
    print(
        f"{name:<34} p50 {p50:5.2f} s   p95 {p95:5.2f} s   max {max(seconds):5.2f} s   (n={len(seconds)})", flush=True
    )
    return float(p95)


def measure(port: int) -> list[str]:
    visit(port, 10_000, 3, None, (0.5, 1.0))  # starts the workers and runs the sample
    time.sleep(10)
    alone = visit(port, 10_001, ALONE, None, (1.0, 1.0))
    first = report("alone", alone.seconds)
    many = crowd(port, range(AT_ONCE), DROPS, THINKING, AT_ONCE)
    last = report(f"{AT_ONCE} at once", [second for result in many.values() for second in result.seconds])
    print(f"p95 at once is {last / first:.1f} times that alone (goal: 3)")
    results = dict(many)
    for start in range(1_000, 1_000 + MORE, 25):
        print("memory: server {:.0f} MB, workers {:.0f} MB".format(*megabytes(port)), flush=True)
        results |= crowd(port, range(start, start + 25), 1, (0.0, 0.5), 10)
    print("memory: server {:.0f} MB, workers {:.0f} MB".format(*megabytes(port)), flush=True)
    strangers = sorted({complaint for result in results.values() for complaint in result.strangers})
    mixed = strangers + wrong(results)
    print(f"{sum(len(result.boxes) for result in results.values())} overlays checked, {len(mixed)} mixed or wrong")
    return mixed


@contextmanager
def small_server() -> Iterator[int]:
    """The port of a dashboard with the smallest cache of results."""
    with TemporaryDirectory() as folder:
        limits = Path(folder) / "limits.toml"
        limits.write_text("answers_mb = 64\n")
        os.environ |= {"QVIZ_LIMITS": str(limits), "QVIZ_DATA": folder}
        try:
            with server("app.py") as address:
                yield int(address.rsplit(":", 1)[1])
        finally:
            del os.environ["QVIZ_LIMITS"], os.environ["QVIZ_DATA"]


def main() -> None:
    with small_server() as port:
        mixed = measure(port) + projects_on_disk(Path(os.environ["QVIZ_DATA"]))
    for complaint in mixed[:20]:
        print(complaint)
    if mixed:
        sys.exit(1)


if __name__ == "__main__":
    main()
