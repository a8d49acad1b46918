"""Runs a part on one side and writes down what came out."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.golden.checkout import SHARED, Side, cache_folder, check_origin, environment
from tests.golden.reading import read_output, read_page
from tests.golden.table import SUBSET, Step, digest, steps_of

LONGEST = 900.0
"""Seconds after which a call is stopped."""
KINDS = {".json": "json", ".html": "html", ".csv": "csv"}

Recording = dict[str, Any]


def recorded(side: Side, part: str, quick: bool, fresh: bool) -> Recording:
    """What a part gives on a side; that of a commit is read from the cache where it is there."""
    steps = steps_of(part, SHARED, quick)
    path = cache_folder() / "recordings" / f"{side.commit}-{part}-{digest(part, steps, quick)}.json.gz"
    if side.commit is not None and path.is_file() and not fresh:
        print(f"{side.name}, {part}: recorded earlier")
        return json.loads(gzip.decompress(path.read_bytes()))
    start = time.monotonic()
    print(f"{side.name}, {part}: {len(steps) or 'all'} {'steps' if steps else 'pages'} ...", flush=True)
    recording = _run(side, part, steps, quick)
    print(f"{side.name}, {part}: {time.monotonic() - start:.0f} s")
    if side.commit is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps(recording).encode()))
    return recording


def _run(side: Side, part: str, steps: list[Step], quick: bool) -> Recording:
    """In a folder of its own, with nothing kept from another run."""
    with tempfile.TemporaryDirectory(prefix="qviz-golden-") as name:
        out = Path(name)
        env = environment(side, out / "cache")
        check_origin(side, env)
        if part == "pages":
            return _pages(side, out, env, quick)
        _write_subset(out / "subset.json")
        return {step.name: _step(side, step, out, env) for step in steps}


def _write_subset(path: Path) -> None:
    """The first annotated images of the shared folder, where it is there."""
    source = SHARED / "coco" / "instances_val2017.json"
    if not source.is_file():
        return
    truth = json.loads(source.read_text())
    images = truth["images"][:SUBSET]
    ids = {image["id"] for image in images}
    rows = [row for row in truth["annotations"] if row["image_id"] in ids]
    path.write_text(json.dumps({**truth, "images": images, "annotations": rows}))


def _step(side: Side, step: Step, out: Path, env: dict[str, str]) -> Recording:
    """Exit status, standard output and the files that were written."""
    filled = {"out": str(out), "shared": str(SHARED), "subset": str(out / "subset.json")}
    words = [word.format(**filled) for word in step.words]
    done = _call([side.python, "-m", "qviz", *words], side.root, env)
    files = {name: _read(out / name, side, out) for name in step.files}
    text = _anywhere(done.stdout, side, out)
    return {"status": done.returncode, "out": read_output(text, step.out), "files": files}


def _call(words: list[str], root: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A command in a checkout; one that hangs has the status -1."""
    try:
        return subprocess.run(words, cwd=root, env=env, capture_output=True, text=True, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(words, -1, "", "")


def _read(path: Path, side: Side, out: Path) -> Any:
    """A file that a step has written; None where it has not."""
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8", errors="replace")
    return read_output(_anywhere(text, side, out), KINDS.get(path.suffix, "text"))


def _anywhere(text: str, side: Side, out: Path) -> str:
    """The text with names for the folders that differ from run to run."""
    for path, name in ((out, "OUT"), (side.root, "CHECKOUT"), (SHARED, "SHARED")):
        text = text.replace(str(path), name)
    return text


def _pages(side: Side, out: Path, env: dict[str, str], quick: bool) -> Recording:
    """Every page as the driver saw it."""
    driver, path = Path(__file__).parent / "driver.py", out / "pages.json"
    words = [side.python, "-P", str(driver), str(side.root), str(path), *(["quick"] if quick else [])]
    done = _call(words, side.root, env)
    print("\n".join(line for line in done.stderr.splitlines() if line.startswith("    ")))
    if not path.is_file():
        print(f"{side.name}: the pages cannot be opened:\n{done.stderr.strip()[-2000:]}", file=sys.stderr)
        return {"opened": False}
    shown = json.loads(_anywhere(path.read_text(), side, out))
    return {page: {how: read_page(shown_page) for how, shown_page in ways.items()} for page, ways in shown.items()}
