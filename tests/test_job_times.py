"""How long earlier runs took, and what follows for the time left: measured, steady, from the machine's own file."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from qviz.job_times import JobTimes, RunTime, StepTime, Stopwatch, about, step_name

RUN = RunTime(60, (StepTime("Preparing", 20.0), StepTime("Training", 60.0, counted=True), StepTime("Building", 10.0)))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_only_counted_steps_grow_with_the_work() -> None:
    assert RUN.scaled(120).seconds == 150
    assert [step.seconds for step in RUN.scaled(120).steps] == [20, 120, 10]


def test_times_outlive_the_process_and_the_slowest_of_the_last_runs_counts(tmp_path: Path) -> None:
    times = JobTimes(tmp_path / "cache" / "times.json")
    times.add("train", "ssd", RUN)
    times.add("train", "ssd", RunTime(60, (StepTime("Preparing", 1.0),)))  # its detections came from the store
    again = JobTimes(tmp_path / "cache" / "times.json")
    run, is_same = again.expected("train", "ssd", 60)
    assert run == RUN and is_same
    other, is_same = again.expected("train", "yolo", 30)
    assert other is not None and other.seconds == 60 and not is_same
    assert again.expected("rescue", "ssd", 1) == (None, False)


@pytest.mark.parametrize(
    "content",
    [b"", b"[1]", b"{", b'{"a": 1}', b'{"a": [{"work": "x"}]}', b'{"a": [{"work": 1, "steps": [["s", 1e999, 0]]}]}'],
)
def test_a_damaged_file_of_times_is_ignored(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "times.json"
    path.write_bytes(content)
    times = JobTimes(path)
    assert times.expected("a", "", 1) == (None, False)
    times.add("a", "", RUN)
    assert set(json.loads(path.read_bytes())) == {"a"}


def test_the_time_left_covers_the_steps_to_come_and_does_not_jump() -> None:
    clock = Clock()
    watch = Stopwatch(RUN, clock)
    shown = []
    watch.step("Preparing")
    for _ in range(20):
        clock.now += 1
        shown.append(watch.left(None))
    watch.step("Training")
    for second in range(1, 61):
        clock.now += 1
        # the pace swings: results from the store, then a slow one
        shown.append(watch.left((60 - second) * (0.2 if second % 7 == 0 else 1.6 if second % 5 == 0 else 1.0)))
    watch.step("Building from 2 parts")
    for _ in range(10):
        clock.now += 1
        shown.append(watch.left(None))
    values = [value for value in shown if value is not None]
    assert len(values) == 90 and 85 < values[0] <= 90
    steps = [before - after for before, after in pairwise(values)]
    assert max(map(abs, steps)) < 12  # of 90 seconds, where the raw pace would jump by 50
    assert values[19] == pytest.approx(70, abs=2) and values[-1] < 8


def test_without_an_earlier_run_the_time_left_is_that_of_the_step() -> None:
    clock = Clock()
    watch = Stopwatch(None, clock)
    watch.step("Detecting")
    clock.now += 5
    assert watch.left(None) is None and not watch.has_expectation
    assert watch.left(40.0) == 40
    watch.step("Matching")
    assert watch.left(None) is None


def test_a_run_is_measured_by_step() -> None:
    clock = Clock()
    watch = Stopwatch(None, clock)
    for number in (1, 2):
        watch.step(f"Candidate {number}: measuring int8")
        clock.now += 3
        watch.counted()
    watch.step("Reporting")
    clock.now += 1
    steps = {step.name: step for step in watch.run(10).steps}
    assert steps["Candidate"] == StepTime("Candidate", 6.0, counted=True)
    assert steps["Reporting"].seconds == 1 and not steps["Reporting"].counted


def test_an_estimate_has_no_more_digits_than_it_knows() -> None:
    texts = [about(seconds) for seconds in (1, 12, 44, 60, 100, 140, 800, 9000)]
    assert texts[:4] == ["a few seconds", "about 20 s", "about 50 s", "about 1 min"]
    assert texts[4:] == ["about 2 min", "about 2 min", "about 15 min", "about 2.5 h"]
    assert step_name("Preparing (twice) 3 files") == "Preparing"
