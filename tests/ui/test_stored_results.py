"""Results of long computations open again after a restart, for whoever has the same files, and are not computed."""

from __future__ import annotations

import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

import qviz
from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation
from qviz.result import encode
from qviz.store import FILE, Store
from qviz.structures import Settings
from qviz.ui import stored_results
from tests.conftest import ROOT, Sample

KEY = ("a" * 64, True, (("b" * 64, "int8.tflite", Settings(channels="bgr", labels=("a", "b"))),))


@pytest.fixture(scope="module")
def evaluation(sample: Sample, engine: LocalEngine) -> Evaluation:
    images = [sample.images / name for name in ("hens.jpg", "kitten.jpg")]
    paths = sample.models["float32"], sample.models["int8"]
    with qviz.open(*paths, images=images, dataset=sample.annotations, engine=engine, cache=False) as session:
        return session.evaluate()


def test_a_result_is_read_by_another_process(evaluation: Evaluation, tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        assert stored_results.load(store, "evaluate", KEY) is None
        stored_results.save(store, "evaluate", KEY, evaluation)
        assert encode(stored_results.load(store, "evaluate", KEY)) == encode(evaluation)
        other = (*KEY[:2], (("b" * 64, "int8.tflite", replace(KEY[2][0][2], channels="rgb")),))
        assert stored_results.load(store, "evaluate", other) is None
        assert stored_results.load(store, "layers", KEY) is None
    code = f"""
from pathlib import Path
from qviz.store import Store
from qviz.ui import stored_results
from tests.ui.test_stored_results import KEY
print(stored_results.load(Store(Path({str(tmp_path / FILE)!r})), "evaluate", KEY).losses[0].ap.value)
"""
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert finished.returncode == 0, finished.stderr
    assert float(finished.stdout) == evaluation.losses[0].ap.value


def test_a_result_that_is_to_be_measured_again_is_dropped(evaluation: Evaluation, tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        stored_results.save(store, "evaluate", KEY, evaluation)
        stored_results.forget(store, "evaluate", KEY)
        assert stored_results.load(store, "evaluate", KEY) is None


def test_damage_and_other_types_are_as_if_nothing_were_stored(evaluation: Evaluation, tmp_path: Path) -> None:
    with Store(tmp_path / FILE) as store:
        stored_results.save(store, "layers", KEY, evaluation)
        assert stored_results.load(store, "layers", KEY) is None
        name = stored_results._name("evaluate", KEY)
        for value in (b"x", b"x\x9c\x03\x00\x00\x00\x00\x01", zlib.compress(b"[" * 100_000)):
            store.put(name, value)
            assert stored_results.load(store, "evaluate", KEY) is None
        with pytest.raises(TypeError, match="no part of the key"):
            stored_results.load(store, "evaluate", (SimpleNamespace(),))


def test_every_stored_kind_has_a_type_that_can_be_read_back() -> None:
    for kind in stored_results.TYPES:
        assert stored_results._read(kind, b"") is None
        assert isinstance(stored_results._type(kind), type)
