"""One file on every backend of this machine; what is not there says what to install, and what dies harms nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qviz import optional
from qviz.datasets.files import load_images
from qviz.engine import LocalEngine, sandbox_sentence
from qviz.errors import SettingsError, WorkerCrashed, WorkerError, WorkerTimeout
from qviz.features.backends import Refusal, _losses, _model, gpu
from qviz.features.backends.gpu import GpuNetwork, RefusedOperator, drivers, refused_operators
from qviz.features.backends.measure import Runs
from qviz.features.backends.text import losses_sentence, refusal_sentence, worst_losses
from qviz.session import Session
from qviz.structures import Detections, Graph, Inference
from qviz.tflite.runner import Runner
from qviz.tflite.schema import read_graph
from qviz.tflite.tiny import tiny_input, tiny_model, tiny_output
from tests.cli.conftest import Run, run
from tests.conftest import Sample
from tests.graphs import graph, image_tensor, op, tensor

__all__ = ["run"]
ROW = {"backend", "agreement", "kept", "shifted", "relabelled", "lost", "spurious", "max_score_delta", "ap", "ms"}


@pytest.fixture
def session(sample: Sample, engine: LocalEngine) -> Iterator[Session]:
    models = [sample.models["float32"], sample.models["int8"]]
    with Session(*models, images=sample.images / "hens.jpg", engine=engine, cache=False) as running:
        yield running


# ---- comparison ----------------------------------------------------------------------------------------------------


def test_kernels_of_the_cpu(session: Session, sample: Sample) -> None:
    result = session.backends(on=["xnnpack", "builtin", "reference"])
    document = result.to_json()
    assert [(row["name"], row["available"]) for row in document["backends"]] == [
        ("xnnpack", True),
        ("builtin", True),
        ("reference", True),
    ]
    for model in document["models"]:
        assert [row["backend"] for row in model["results"]] == ["xnnpack", "builtin", "reference"]
        pairs = {(row["first"], row["second"]): row["agreement"] for row in model["pairs"]}
        assert list(pairs) == [("xnnpack", "builtin"), ("xnnpack", "reference"), ("builtin", "reference")]
        assert [pairs["xnnpack", row["backend"]] for row in model["results"][1:]] == [
            row["agreement"] for row in model["results"][1:]
        ]
        assert all(set(row) >= ROW and row["precision"] for row in model["results"])
        assert model["results"][0]["agreement"] == 1
        assert model["results"][0]["max_score_delta"] == 0
    detected = session.detect()[sample.models["int8"].name]["hens.jpg"]
    first = document["models"][1]["results"][0]
    assert first["kept"] == len(detected) > 0  # the first backend is what `detect` runs
    float_rows, int8_rows = (model.results for model in result.models)
    assert max(row.max_score_delta or 0 for row in float_rows) < 1e-3  # rounding of float32 alone
    assert max(row.max_score_delta or 0 for row in int8_rows) > 1e-3  # int8 kernels round differently
    assert len(repr(result)) <= 500
    assert len(result.plot().data) > 0
    assert "ssdlite_mobilenet_v2_int8.tflite" in str(result)


def test_ap_where_there_is_truth(sample: Sample, engine: LocalEngine) -> None:
    with Session(
        sample.models["int8"], dataset=sample.annotations, dataset_images=sample.images, engine=engine, cache=False
    ) as session:
        (model,) = session.backends(on=["xnnpack"]).models
        assert model.results[0].ap == session.evaluate().models[0].ap


def detections(*lefts: float) -> Inference:
    boxes = [[left, 0, left + 50, 50] for left in lefts]
    return Inference(Detections.of(boxes, [0.9] * len(boxes), [0] * len(boxes)), None, 500, 100, 1.0)


def test_lost_objects_are_the_files_or_the_kernels() -> None:
    """Of four objects the file loses one; the other kernels lose that one and two more."""
    models: Any = [SimpleNamespace(name="float", digest="f"), SimpleNamespace(name="int8", digest="q")]
    runs = {
        "f": {"xnnpack": Runs({"image": detections(0, 100, 200, 300)}), "gpu": Runs({"image": detections()})},
        "q": {"xnnpack": Runs({"image": detections(0, 100, 200)}), "gpu": Runs({"image": detections(0)})},
    }
    rows = _losses(models, runs, 0.25, 0.5)
    assert [(row.backend, row.lost, row.by_file, row.by_kernels) for row in rows] == [
        ("xnnpack", 1, 1, 0),
        ("gpu", 3, 1, 2),
    ]
    runs["f"]["xnnpack"].inferences["second"] = detections(0)
    runs["q"]["xnnpack"].inferences["second"] = detections(0)
    assert [row.backend for row in _losses(models, runs, 0.25, 0.5)] == ["xnnpack"], "the GPU ran one image of two"
    result: Any = SimpleNamespace(losses=rows)
    assert [losses_sentence(row) for row in worst_losses(result)] == [
        "int8 loses 3 objects of the reference on gpu: 1 because of the file, 2 because of the kernels."
    ]


def test_what_is_missing_says_what_to_install(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "is_installed", lambda name: False)
    monkeypatch.setattr(gpu, "drivers", lambda folder: iter(()))
    result = session.backends(on=["micro", "gpu", "builtin"])
    micro, graphics, builtin = result.backends
    assert builtin.available
    assert not micro.available
    assert optional.install_command("micro") in micro.reason
    assert not graphics.available
    assert "install a graphics driver, or Chromium" in graphics.reason
    assert [row.backend for row in result.models[0].results] == ["builtin"]
    with pytest.raises(SettingsError, match=r"No backend is available: .*pip install"):
        session.backends(on=["micro"])
    with pytest.raises(SettingsError, match="'tpu' is not a backend; choose from xnnpack, builtin"):
        session.backends(on=["tpu"])


def test_on_the_command_line(run: Run, sample: Sample) -> None:
    call = ("backends", sample.models["int8"], "--images", sample.images / "hens.jpg", "--workers", "1")
    result = run(*call, "--on", "xnnpack,builtin", "--first-difference", "--json")
    assert result.status == 0
    rows = result.json["models"][0]["first_differences"]
    assert [(row["backend"], row["beyond_rounding"]) for row in rows] == [("builtin", False), ("builtin", True)]
    assert (rows[0]["op_type"], rows[0]["steps"]) == ("CONV_2D", 1)
    text = run(*call, "--on", "xnnpack,builtin", "--first-difference").out
    assert "xnnpack and builtin first differ in operator 1 (CONV_2D), by up to 1 step." in text
    assert set(result.json) >= {"backends", "models"}
    assert set(result.json["models"][0]) >= {"name", "results", "refused"}
    assert run(*call, "--on", "tpu").status == 2
    assert run("backends", sample.models["int8"]).status == 2


# ---- TensorFlow Lite Micro -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not optional.is_installed("micro"), reason="tflite_micro is not installed")
def test_micro_equals_the_reference_kernels_bit_for_bit(sample: Sample) -> None:
    from qviz.features.backends.micro import MicroNetwork

    data = sample.models["int8"].read_bytes()
    (image,) = load_images([sample.images / "hens.jpg"])
    from qviz.detector import Detector, decoded, inspect
    from qviz.structures import Settings

    detector = Detector(data, inspect(data, Settings(), Settings()).settings, candidates=False)
    values, _ = detector.prepare(decoded(image))
    expected = Runner(data, kernels="reference").run([values])
    for output, reference in zip(MicroNetwork(data).run(values), expected, strict=True):
        assert np.array_equal(output, reference)


# ---- the GPU delegate ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one operator; skips where there is no Vulkan driver."""
    folder = tmp_path_factory.mktemp("gpu")
    if not list(drivers(folder)):
        pytest.skip("there is neither a graphics driver nor Chromium's SwiftShader")
    path = folder / "tiny.tflite"
    path.write_bytes(tiny_model())
    return path


def network(path: Path, seconds: float | None = None) -> GpuNetwork:
    return GpuNetwork(path, read_graph(path.read_bytes()), seconds)


def test_the_gpu_computes_the_known_output(tiny: Path) -> None:
    with network(tiny) as running:
        assert running.adapter != "unknown"
        for _ in range(2):
            (output,), milliseconds = running.run(tiny_input())
            np.testing.assert_allclose(output, tiny_output(), atol=1e-4)
            assert milliseconds > 0
        folder = Path(running._folder.name)
        confined = confinement(running)
    assert not folder.exists()
    if "no network" in sandbox_sentence():
        assert confined == {"NoNewPrivs:\t1", "Seccomp:\t2"}


def confinement(running: GpuNetwork) -> set[str]:
    """How the threads of the GPU process are confined, the driver's threads included."""
    assert running._process is not None
    threads = Path(f"/proc/{running._process.pid}/task").glob("*/status")
    lines = [line for path in threads for line in path.read_text().splitlines()]
    return {line for line in lines if line.startswith(("NoNewPrivs:", "Seccomp:"))}


def test_a_gpu_process_that_dies_or_hangs_is_an_error_of_its_own(tiny: Path) -> None:
    with network(tiny) as running:
        assert running._process is not None
        os.kill(running._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed, match="the GPU process died"):
            running.run(tiny_input())
    with network(tiny) as running:
        assert running._process is not None
        os.kill(running._process.pid, signal.SIGSTOP)
        running._seconds = 0.2
        with pytest.raises(WorkerTimeout, match=r"did not answer within 0\.2 s"):
            running.run(tiny_input())


def test_a_gpu_process_that_takes_too_much_memory_is_stopped(tiny: Path) -> None:
    with pytest.raises(WorkerError, match=r"took more than 0\.0195 GB of memory and was stopped"):
        GpuNetwork(tiny, read_graph(tiny.read_bytes()), memory=20 << 20)
    with network(tiny) as running:
        folder = Path(running._folder.name)
        for content, sentence in ((b"no array", "is no array"), (b"", "is no array")):
            (folder / "output-0.npy").write_bytes(content)
            with pytest.raises(WorkerError, match=sentence):
                running._output(folder / "output-0.npy")
        with (folder / "output-0.npy").open("wb") as file:
            file.truncate(1 << 30)
        with pytest.raises(WorkerError, match="more than 256 MB"):
            running._output(folder / "output-0.npy")


def test_a_damaged_model_or_driver_is_a_sentence(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph_of_tiny = read_graph(tiny.read_bytes())
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(tiny.read_bytes()[:200])
    with pytest.raises(WorkerError, match="the GPU"):
        GpuNetwork(damaged, graph_of_tiny)
    monkeypatch.setenv("VK_ICD_FILENAMES", str(tmp_path / "none.json"))
    with pytest.raises(WorkerError, match=r"the GPU delegate refuses the model .*(Vulkan|adapter)"):
        network(tiny)


REPORT = """INFO: anything
ERROR: Following operations are not supported by GPU delegate:
CUSTOM TFLite_Detection_PostProcess: TFLite_Detection_PostProcess
RESHAPE: Tensor dimensions must be less than 5. second/reshape
CONV_2D: Expected 1 runtime input tensor(s). elsewhere
3 operations will run on the GPU, and the remaining 3 operations will run on the CPU.
RESHAPE: not part of the report
"""


def reported() -> Graph:
    names = ("first/reshape", "second/reshape", "conv", "conv_2", "boxes")
    tensors = [image_tensor(), *(tensor(number, name) for number, name in enumerate(names, start=1))]
    kinds = ("RESHAPE", "RESHAPE", "CONV_2D", "CONV_2D", "TFLite_Detection_PostProcess")
    return graph(tensors, [5], [op(kind, [0], [number]) for number, kind in enumerate(kinds, start=1)])


def test_refused_operators_are_joined_with_the_file() -> None:
    assert refused_operators(REPORT, reported()) == (
        RefusedOperator("TFLite_Detection_PostProcess", 4, "no GPU kernel"),
        RefusedOperator("RESHAPE", 1, "Tensor dimensions must be less than 5."),
        RefusedOperator("CONV_2D", None, "Expected 1 runtime input tensor(s). elsewhere"),
    )
    assert refused_operators("INFO: all is well", reported()) == ()


def test_a_model_that_a_backend_does_not_run_at_all_is_named() -> None:
    model: Any = SimpleNamespace(name="pose.tflite")
    refusing = Runs(refusal="TFLite Micro has no kernel for RFFT2D.")
    row = _model(model, {"micro": refusing, "gpu": Runs()}, {}, None, 0.25, 0.5)
    assert (row.results, row.pairs) == ((), ())
    sentences = [refusal_sentence(row.name, refusal) for refusal in row.refused]
    assert sentences == ["micro does not run pose.tflite: TFLite Micro has no kernel for RFFT2D."]


@pytest.mark.slow
def test_the_sample_on_the_gpu(session: Session, tiny: Path) -> None:
    result = session.backends(on=["xnnpack", "gpu"])
    backend = result.backends[1]
    assert backend.available
    assert backend.reason  # the adapter
    assert "float16" in backend.precision
    xnnpack, graphics = result.models[0].results
    assert graphics.agreement == 1
    assert graphics.max_score_delta is not None
    assert graphics.max_score_delta < 1e-4
    on_cpu = [row for row in result.models[0].refused if isinstance(row, Refusal)]
    assert [(row.op_type, row.order) for row in on_cpu] == [("TFLite_Detection_PostProcess", 124)]
    assert xnnpack.kept > 0
