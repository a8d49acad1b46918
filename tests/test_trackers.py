"""The examples of docs/ci.md: MLflow against a local file store, Weights & Biases offline, where they are installed."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.features.accuracy import Evaluation
from qviz.session import Session
from qviz.ui.demo import FOLDER, MODELS


@pytest.fixture(scope="module")
def result(engine: LocalEngine) -> Evaluation:
    models = [FOLDER / name for name in MODELS]
    dataset = {"dataset": FOLDER / "annotations.json", "dataset_images": FOLDER / "images"}
    with Session(*models, **dataset, engine=engine, cache=False) as session:
        return session.evaluate()


def test_mlflow_takes_the_metrics_and_the_artifact(
    result: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        mlflow.log_metrics(result.metrics(prefix="qviz/"))
        mlflow.log_artifact(str(result.save("evaluation.json")))
    stored = mlflow.get_run(run.info.run_id)
    assert stored.data.metrics == pytest.approx(result.metrics(prefix="qviz/"))
    assert stored.data.metrics["qviz/losses/squares_int8.tflite/ap/value"] == pytest.approx(result.losses[0].ap.value)
    path = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="evaluation.json"))
    assert json.loads(path.read_text())["models"][1]["name"] == "squares_int8.tflite"


def test_weights_and_biases_takes_the_metrics_and_the_artifact(
    result: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.chdir(tmp_path)
    with wandb.init(project="quantization") as run:
        run.log(result.metrics(prefix="qviz/"))
        run.log_artifact(str(result.save("evaluation.json")), name="evaluation", type="evaluation")
    (log,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    history, artifacts = stored_by_wandb(log)
    assert {name: history[name] for name in result.metrics(prefix="qviz/")} == pytest.approx(
        result.metrics(prefix="qviz/")
    )
    assert artifacts == ["evaluation"]


def stored_by_wandb(log: Path) -> tuple[dict[str, float], list[str]]:
    """(the logged figures, the names of the artifacts) in the file of an offline run."""
    from wandb.proto.wandb_internal_pb2 import Record

    records = [Record.FromString(data) for data in leveldb_records(log.read_bytes())]
    items = [item for record in records for item in record.history.item]
    history = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
    return history, [record.artifact.name for record in records if record.HasField("artifact")]


def leveldb_records(data: bytes, block: int = 1 << 15) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: checksum (4 bytes), length (2), part (1 byte: 1 and 4 end a record)."""
    position, record = 7, b""  # the file begins with 7 bytes of its own
    while position + 7 <= len(data):
        if block - position % block < 7:  # too short for a header: padding
            position += block - position % block
            continue
        _, length, part = struct.unpack_from("<IHB", data, position)
        record += data[position + 7 : position + 7 + length]
        position += 7 + length
        if part in (1, 4):
            yield record
            record = b""
