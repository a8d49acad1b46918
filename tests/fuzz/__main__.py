"""`python -m tests.fuzz`: try many damaged and hostile files; exit status 1 after a crash or an invalid result."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial

from qviz.engine import Engine
from tests.fuzz.containers import fuzz_onnx, fuzz_videos
from tests.fuzz.documents import fuzz_documents
from tests.fuzz.meanings import meaning
from tests.fuzz.recordings import fuzz_recordings
from tests.fuzz.run import JOB_SECONDS, Tally, fuzz_engine, fuzz_images, fuzz_models


def _documents(engine: Engine, numbers: range) -> Tally:
    return fuzz_documents(numbers)


RUNS: dict[str, tuple[int, Callable[[Engine, range], Tally]]] = {
    "images": (500, fuzz_images),
    "documents": (2_000, _documents),
    "videos": (100, fuzz_videos),
    "onnx": (100, fuzz_onnx),
    "recordings": (200, fuzz_recordings),
    "meanings": (1_000, partial(fuzz_models, make=meaning)),
    "models": (2_000, fuzz_models),
}
"""Name of an option -> (default number of files, function that tries them)."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    for name, (count, _) in RUNS.items():
        parser.add_argument(f"--{name}", type=int, default=count, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the number of the first file")
    parser.add_argument("--seconds", type=float, default=JOB_SECONDS, metavar="S", help="limit of a worker's job")
    args = parser.parse_args()
    failures = 0
    with fuzz_engine(seconds=args.seconds) as engine:
        for name, (_, run) in RUNS.items():
            count = getattr(args, name)
            if not count:
                continue
            start = time.monotonic()
            tally = run(engine, range(args.first, args.first + count))
            seconds = time.monotonic() - start
            ends = ", ".join(f"{count} {end}" for end, count in tally.ends.most_common())
            print(f"{count} {name} in {seconds:.0f} s: {ends or 'none'}", flush=True)
            failures += len(tally.failures)
    process, workers = (resource.getrusage(whose) for whose in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    spent = sum(row.ru_utime + row.ru_stime for row in (process, workers))
    print(f"{spent:.0f} s of processor time, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
