"""Results as flat dictionaries of numbers, as MLflow and Weights & Biases log them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qviz.features.accuracy.ap import AveragePrecision, ClassAP
from qviz.features.comparison import ComparedImage, ComparedVariant, Comparison
from qviz.features.cost import ModelProfile, Profile
from qviz.metrics import flat_metrics

CASES = [
    ({"a": 1, "b": {"c": 0.5}}, {"a": 1.0, "b/c": 0.5}),
    ({"a": None, "b": "text", "c": True}, {"c": 1.0}),
    ({"rows": [{"name": "x", "ap": 0.1}, {"name": "y", "ap": 0.2}]}, {"rows/x/ap": 0.1, "rows/y/ap": 0.2}),
    ({"rows": [1, 2, 3]}, {}),
    (
        {"rows": [{"name": "x", "threads": 1, "ms": 9}, {"name": "x", "threads": 2, "ms": 5}]},
        {"rows/x/1/ms": 9.0, "rows/x/2/ms": 5.0},
    ),
    ({"rows": [{"name": "x", "n": 1}, {"name": "x", "n": 2}]}, {"rows/x/n": 1.0, "rows/x/2/n": 2.0}),
    ({"images": [{"image": "a.jpg", "name": "a", "n": 1}]}, {}),
    ({"losses": [{"variant": "a#b/c", "value": 1}]}, {"losses/a_b_c/value": 1.0}),
    ({"points": [{"model": "m", "corruption": "fog", "severity": 3, "ap": 0.1}]}, {"points/m/fog/3/ap": 0.1}),
]


@pytest.mark.parametrize(("document", "expected"), CASES)
def test_examples(document: dict[str, object], expected: dict[str, float]) -> None:
    assert flat_metrics(document) == expected
    assert flat_metrics(document, "qviz/") == {f"qviz/{key}": value for key, value in expected.items()}


def comparison() -> Comparison:
    image = ComparedImage("dusk.jpg", "0" * 64, ())
    return Comparison("a.tflite", (ComparedVariant("b (1).tflite", "int8", "1" * 64, (image,)),))


def profile() -> Profile:
    row = ModelProfile("b.tflite", "1" * 64, "int8", 10, 1, 50, 2.0, 1.9, 2.5, 1.8, 2.0, 6.0, 30.0, ())
    return Profile((row,), cores=2, pinned=False)


@pytest.mark.parametrize(
    ("result", "key", "value"),
    [
        (comparison(), "variants/b _1_.tflite/summary/lost", 0.0),
        (profile(), "models/b.tflite/1/p50_ms", 1.9),
    ],
)
def test_results_have_metrics(result: Comparison | Profile, key: str, value: float) -> None:
    metrics = result.metrics("qviz/")
    assert metrics[f"qviz/{key}"] == value
    assert all(re.fullmatch(r"[\w./ -]+", name) for name in metrics), "MLflow refuses other characters"


def test_mlflow_reads_them_back(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'runs.db'}")
    metrics = profile().metrics("qviz/")
    with mlflow.start_run() as run:
        mlflow.log_metrics(metrics)
    assert mlflow.get_run(run.info.run_id).data.metrics == metrics


def test_unknown_figures_are_left_out() -> None:
    model = AveragePrecision("a", 0.5, None, 0.4, None, None, None, 0.6, (ClassAP("cat", None, 0.1, 1, 1),))
    from qviz.result import to_json

    metrics = flat_metrics({"models": to_json((model,))})
    assert "models/a/ap50" not in metrics and metrics["models/a/per_class/cat/ap50"] == 0.1
