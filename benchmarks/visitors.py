"""Does a server's memory stay flat as visitors come and go? Sixty at a time, 360 in all; a quarter of an hour.

Ten at once, each drops two photographs that nobody has dropped before, every second one a model of his own. Streamlit
keeps who has left for two minutes, so memory is looked at when these are over and one more visitor has come. The
server keeps 64 MB of answers, not a gigabyte, and 64 models: both bounds are reached in the second and third round, and
memory has to be flat from there on.
"""

from __future__ import annotations

import time

from benchmarks import load

ROUNDS, VISITORS, DROPS, TOGETHER = 6, 60, 2, 10
WAIT_SECONDS = 125.0
"""Seconds after which Streamlit has let go of who has left."""


def measure(port: int) -> None:
    load.visit(port, 10_000, 3, None, (0.5, 1.0))  # starts the workers and runs the sample
    for number in range(ROUNDS):
        first = 1_000 + number * VISITORS
        load.crowd(port, range(first, first + VISITORS), DROPS, (0.0, 0.3), TOGETHER)
        with_them, _ = load.megabytes(port)
        time.sleep(WAIT_SECONDS)
        load.visit(port, 20_000 + number, 1, None, (0.1, 0.1))  # at a first visit the past is let go
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
