"""Whether a server's memory stays constant as visitors come and go: six rounds of sixty visitors, 15 minutes.

Ten visitors at a time each drop two new photographs; each second visitor also drops an own model. Streamlit keeps the
sessions of visitors who have left for two minutes, so memory is measured after that time and one further visit. This
server keeps 64 MB of results, not a gigabyte, and 64 models. Both limits are reached in the second or third round; from
then on, memory must be constant.
"""

from __future__ import annotations

import time

from benchmarks import load

ROUNDS, VISITORS, DROPS, TOGETHER = 6, 60, 2, 10
WAIT_SECONDS = 125.0
"""Seconds after which Streamlit has discarded the sessions of visitors who left."""


def measure(port: int) -> None:
    load.visit(port, 10_000, 3, None, (0.5, 1.0))  # starts the workers and runs the sample
    for number in range(ROUNDS):
        first = 1_000 + number * VISITORS
        load.crowd(port, range(first, first + VISITORS), DROPS, (0.0, 0.3), TOGETHER)
        with_them, _ = load.megabytes(port)
        time.sleep(WAIT_SECONDS)
        load.visit(port, 20_000 + number, 1, None, (0.1, 0.1))  # the server discards old sessions at a new visit
        time.sleep(3.0)
        server, workers = load.megabytes(port)
        print(
            f"{(number + 1) * VISITORS:4} visitors: server {with_them:.0f} MB with the last of them,"
            f" {server:.0f} MB two minutes later; workers {workers:.0f} MB",
            flush=True,
        )


def main() -> None:
    before, load.OWN_MODEL = load.OWN_MODEL, 2
    try:
        with load.small_server() as port:
            measure(port)
    finally:
        load.OWN_MODEL = before


if __name__ == "__main__":
    main()
