"""`qviz layers --noise-budget`: the same file on other kernels, in addition to the layers."""

from __future__ import annotations

from tests.cli import keys
from tests.cli.conftest import Run
from tests.squares import Squares

LAYER = {
    "order": int,
    "tensor": str,
    "op_kind": str,
    "kernel_sqnr_db": (float, None),
    "steps": (int, None),
    "differing_share": float,
    "max_abs": (float, None),
    "local_kernel_sqnr_db": (float, None),
    "local_steps": (int, None),
    "local_differing_share": (float, None),
    "local_max_abs": (float, None),
}
PROMISED = {
    "layers": [{"order": int}],
    "noise_budget": {
        "model": str,
        "images": int,
        "default_refused": bool,
        "sets": [{"kernels": str, "equal": bool, "agreement": float, "sentence": str, "layers": [LAYER]}],
        "skipped": list,
    },
}


def test_noise_budget_is_added_to_the_layer_table(run: Run, squares: Squares) -> None:
    models = [squares.model("reference", precision) for precision in ("float32", "int8")]
    call = ("layers", *models, "--images", sorted(squares.images.iterdir())[0], "--workers", "1")
    result = run(*call, "--noise-budget", "--json")
    assert (result.status, keys.missing(PROMISED, result.json)) == (0, [])
    assert (result.json["noise_budget"]["model"], result.json["noise_budget"]["images"]) == (models[1].name, 1)
    sentences = [noise["sentence"] for noise in result.json["noise_budget"]["sets"]]
    assert [noise["kernels"] for noise in result.json["noise_budget"]["sets"]] == ["builtin", "reference"]
    assert run(*call, "--noise-budget").out.splitlines()[-2:] == sentences
    assert "noise_budget" not in run(*call, "--json").json
