"""Profiles: whole rounds, ordered percentiles, every operator once, reasons for skipped models.

Times depend on the machine, so only signs, orders and counts are checked.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import ModelError, SettingsError
from qviz.features.cost import Profile, profile
from qviz.features.cost.measure import Subject, latency_job, operators_job, pinned
from qviz.features.detection.models import LoadedModel
from qviz.tensorflow_models import TENSORFLOW

NAMES = ("float32", "int8")
RUNS = 30  # two batches


def subject(model: LoadedModel) -> Subject:
    return Subject(model.blob, model.settings, model.inspection.graph.input_tensors()[0])


@pytest.fixture(scope="module")
def reports() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def measured(engine: LocalEngine, loaded: dict[str, LoadedModel], reports: list[tuple[int, int]]) -> Profile:
    models = [loaded[name] for name in NAMES]
    return profile(
        Context(engine).reporting(lambda done, total: reports.append((done, total))), models, threads=(1, 2), runs=RUNS
    )


def test_one_row_per_model_and_thread_count(measured: Profile, loaded: dict[str, LoadedModel]) -> None:
    assert [(row.name, row.threads) for row in measured.models] == [
        (loaded[name].name, count) for name in NAMES for count in (1, 2)
    ]
    assert [row.digest for row in measured.at(2)] == [loaded[name].digest for name in NAMES]
    assert measured.skipped == ()
    assert measured.pinned is hasattr(os, "sched_setaffinity")
    for row in measured.models:
        assert row.runs == RUNS
        assert 0 < row.min_ms <= row.p50_ms <= row.p95_ms
        assert row.min_ms <= row.mean_ms
        assert min(row.cpu_ms, row.load_ms) > 0


def test_memory_is_measured_per_model(measured: Profile) -> None:
    for row in measured.models:
        if row.peak_mb is not None:  # Windows
            assert row.bytes / 1e6 < row.peak_mb < 1000
    first, second = measured.at(1)
    assert first.peak_mb is None or second.peak_mb is None or first.peak_mb > second.peak_mb  # 18 MB of floats to 5


def test_every_operator_is_timed_once(measured: Profile, loaded: dict[str, LoadedModel]) -> None:
    for row, name in zip(measured.at(1), NAMES, strict=True):
        graph = loaded[name].inspection.graph
        assert sorted(order for operator in row.operators for order in operator.orders) == [
            op.order for op in graph.ops
        ]
        for operator in row.operators:
            assert operator.op_kind == graph.ops[operator.order].kind
            assert operator.tensor == graph.tensors[graph.ops[operator.order].outputs[0]].name
            assert operator.ms > 0
        kinds = row.by_kind
        assert sum(kind.steps for kind in kinds) == len(row.operators)
        assert sum(kind.ms for kind in kinds) == pytest.approx(sum(operator.ms for operator in row.operators))
        assert [kind.ms for kind in kinds] == sorted((kind.ms for kind in kinds), reverse=True)


def test_progress_only_rises_to_its_total(measured: Profile, reports: list[tuple[int, int]]) -> None:
    done = [first for first, _ in reports]
    assert done == sorted(done)
    assert reports[-1][0] == reports[-1][1]
    assert len({total for _, total in reports}) == 1


def test_frames_have_the_same_figures(measured: Profile) -> None:
    frame, operators = measured.to_frame(), measured.operators_frame()
    assert list(frame["p50_ms"]) == [row.p50_ms for row in measured.models]
    assert len(operators) == sum(len(row.operators) for row in measured.models)


def test_the_input_is_reproducible_and_has_the_models_type(loaded: dict[str, LoadedModel]) -> None:
    for name, dtype in (("float32", "float32"), ("int8", loaded["int8"].inspection.graph.input_tensors()[0].dtype)):
        values, again = subject(loaded[name]).values(), subject(loaded[name]).values()
        assert (values.shape, str(values.dtype)) == ((1, 300, 300, 3), dtype)
        assert np.array_equal(values, again)
        assert len(np.unique(values)) > 50  # an image, not a constant


def test_a_job_out_of_time_ends_after_one_whole_round(engine: LocalEngine, loaded: dict[str, LoadedModel]) -> None:
    subjects = [subject(loaded[name]) for name in NAMES]
    laps = engine.submit(latency_job, subjects, 1, 1000, 0.0, 0).result()
    assert laps.wall.shape == laps.cpu.shape == (1, 2)
    assert engine.submit(operators_job, subjects[1], 1, 1000, 0.0).result()[0].ms > 0


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
def test_pinning_ends_with_its_job() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(KeyError), pinned(1) as is_pinned:
        assert is_pinned
        assert len(os.sched_getaffinity(0)) == 1
        raise KeyError
    assert os.sched_getaffinity(0) == before


def test_tensorflow_models_are_skipped(engine: LocalEngine, loaded: dict[str, LoadedModel]) -> None:
    like = loaded["float32"]
    foreign = replace(like, inspection=replace(like.inspection, decoder=TENSORFLOW))
    result = profile(Context(engine), [foreign, loaded["int8"]], runs=1)
    assert [row.name for row in result.models] == [loaded["int8"].name]
    (sentence,) = result.skipped
    assert sentence.startswith(f"{like.name} is run by TensorFlow itself")
    with pytest.raises(ModelError, match="run by TensorFlow itself"):
        profile(Context(engine), [foreign])


def test_a_broken_file_is_skipped(engine: LocalEngine, loaded: dict[str, LoadedModel]) -> None:
    good, data = loaded["int8"], b"\x1c\x00\x00\x00TFL3" + bytes(64)
    broken = replace(good, model=replace(good.model, name="broken.tflite", digest="broken", data=data))
    result = profile(Context(engine), [broken, good], runs=1)
    assert [row.name for row in result.models] == [good.name]
    assert [sentence.startswith("broken.tflite: ") for sentence in result.skipped] == [True]


WRONG = [
    ((), 5, "Thread counts are []"),
    ((0,), 5, "give numbers between 1 and 256"),
    ((1, 500), 5, "give numbers between 1 and 256"),
    ((1,), 0, "The number of runs is 0"),
    ((1,), 10**9, "give a number between 1 and 10000"),
]


@pytest.mark.parametrize(("threads", "runs", "sentence"), WRONG)
def test_settings_out_of_range(threads: tuple[int, ...], runs: int, sentence: str, engine: LocalEngine) -> None:
    with pytest.raises(SettingsError) as refused:
        profile(Context(engine), [], threads=threads, runs=runs)
    assert sentence in str(refused.value)


def test_no_model_is_refused(engine: LocalEngine) -> None:
    with pytest.raises(ModelError, match="No model was given"):
        profile(Context(engine), [])
