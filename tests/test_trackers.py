"""The MLflow example of docs/ci.md against a local file store, where MLflow is installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qviz.engine import LocalEngine
from qviz.session import Session
from qviz.ui.demo import FOLDER, MODELS


def test_mlflow_takes_the_metrics_and_the_artifact(
    tmp_path: Path, engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    models = [FOLDER / name for name in MODELS]
    dataset = {"dataset": FOLDER / "annotations.json", "dataset_images": FOLDER / "images"}
    with Session(*models, **dataset, engine=engine, cache=False) as session:
        result = session.evaluate()
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    with mlflow.start_run() as run:
        mlflow.log_metrics(result.metrics(prefix="qviz/"))
        mlflow.log_artifact(str(result.save("evaluation.json")))
    stored = mlflow.get_run(run.info.run_id)
    assert stored.data.metrics == pytest.approx(result.metrics(prefix="qviz/"))
    assert stored.data.metrics["qviz/losses/squares_int8.tflite/ap/value"] == pytest.approx(result.losses[0].ap.value)
    path = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="evaluation.json"))
    assert json.loads(path.read_text())["models"][1]["name"] == "squares_int8.tflite"
