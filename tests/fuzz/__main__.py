"""`python -m tests.fuzz`: many damaged models and hostile images; status 1 after a crash or an invalid result."""

from __future__ import annotations

import argparse
import sys
import time

from tests.fuzz.run import Tally, fuzz_engine, fuzz_images, fuzz_models


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--models", type=int, default=2_000, metavar="N")
    parser.add_argument("--images", type=int, default=500, metavar="N")
    parser.add_argument("--first", type=int, default=0, metavar="K", help="the number of the first file")
    args = parser.parse_args()
    failures = 0
    with fuzz_engine() as engine:
        for what, run, count in (("images", fuzz_images, args.images), ("models", fuzz_models, args.models)):
            start = time.monotonic()
            tally: Tally = run(engine, range(args.first, args.first + count))
            seconds = time.monotonic() - start
            ends = ", ".join(f"{count} {end}" for end, count in tally.ends.most_common())
            print(f"{count} {what} in {seconds:.0f} s: {ends or 'none'}", flush=True)
            failures += len(tally.failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
