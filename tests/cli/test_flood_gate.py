"""`qviz evaluate --max-ap-loss` does not pass a variant that floods the images."""

from __future__ import annotations

from tests.cli.conftest import Run
from tests.squares import Squares


def test_a_flooding_variant_fails_the_gate(run: Run, squares: Squares) -> None:
    models = squares.model("reference", "float32"), squares.model("flooding", "int8")
    data = "--dataset", squares.annotations, "--dataset-images", squares.images
    call = ("evaluate", *models, *data, "--labels", squares.labels, "--mean", 0, "--std", 255, "--max-ap-loss", 0.5)
    result = run(*call)
    assert result.status == 1
    assert "gate: at most 50.0 AP points lost: failed by" in result.out
    assert "floods the images: 96.0 false alarms per image" in result.out
    document = run(*call, "--json")
    assert document.status == 1
    (loss,) = document.json["losses"]
    assert loss["false_alarms_per_image"] == {"reference": 0, "variant": 96}
    assert loss["agreement"] < 0.1
    assert [text for text in document.json["gate"]["remarks"] if "96.0 false alarms per image" in text]
