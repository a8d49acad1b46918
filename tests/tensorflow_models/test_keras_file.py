"""Unsafe content of a Keras file is refused before TensorFlow is loaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from qviz.errors import ModelError
from qviz.tensorflow_models.convert import check_h5

DENSE = {"class_name": "Dense", "module": "keras.layers", "config": {"units": 1}}


def network(*layers: dict[str, Any], module: str = "keras", **root: Any) -> str:
    return json.dumps({"class_name": "Functional", "module": module, "config": {"layers": list(layers)}, **root})


def saved(path: Path, config: str | None, weights: Callable[[h5py.File], Any] = lambda file: None) -> Path:
    with h5py.File(path, "w") as file:
        file["weights/kernel"] = np.zeros(4, np.float32)
        weights(file)
        if config is not None:
            file.attrs["model_config"] = config
    return path


HARMLESS = [
    network(DENSE),
    network({"class_name": "Dense", "config": {}}),  # Keras 2 wrote no module
    network({"class_name": "Transpose", "module": "keras.src.ops.numpy", "config": {}}),
    network(DENSE, compile_config={"optimizer": {"class_name": "Mine", "module": "mine"}}),  # never loaded
]


@pytest.mark.parametrize("config", HARMLESS)
def test_built_in_keras_layers_are_accepted(config: str, tmp_path: Path) -> None:
    check_h5(saved(tmp_path / "m.h5", config))


REFUSED = [
    (network({"class_name": "Lambda", "config": {}}), "has a Lambda layer"),
    (network({**DENSE, "config": {"activation": {"class_name": "__lambda__", "config": {}}}}), "has a Lambda layer"),
    (network({"class_name": "Mine", "module": "mine", "config": {}}), "has 'mine.Mine'"),
    (network(DENSE, module="mine"), "has 'mine.Functional'"),
    (network({"class_name": "function", "module": "builtins.os", "config": "system"}), "has 'builtins.os.function'"),
    (network({"class_name": "function", "module": "keras.src.utils.file_utils", "config": "get_file"}), "has 'keras"),
    (network({"class_name": "function", "module": "kerasevil", "config": "x"}), "has 'kerasevil.function'"),
    (network({"class_name": "TFSMLayer", "module": "keras.layers", "config": {}}), "has 'keras.layers.TFSMLayer'"),
    (network({"class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}}), "has 'StringLookup'"),
    ("no JSON", "description of its layers cannot be read"),
    ("[]", "description of its layers cannot be read"),
    ('{"class_name":' * 5000, "description of its layers cannot be read"),
    (None, "has weights without the network"),
]


@pytest.mark.parametrize(("config", "sentence"), REFUSED)
def test_layers_that_run_code_or_read_files_are_refused(config: str | None, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=sentence):
        check_h5(saved(tmp_path / "m.h5", config))


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "kernel", (4,))
    file.create_virtual_dataset("weights/virtual", layout)


WEIGHTS: list[tuple[Callable[[h5py.File], Any], str]] = [
    (lambda file: file.__setitem__("weights/x", h5py.ExternalLink("other.h5", "/x")), "in other files"),
    (lambda file: file.create_dataset("x", (4,), "u1", external=[("/etc/passwd", 0, 4)]), "in other files"),
    (virtual, "in other files"),
    (lambda file: file.create_dataset("x", (3 << 30,), "u1", chunks=(1 << 20,)), "claims more than 2048 MB"),
]


@pytest.mark.parametrize(("weights", "sentence"), WEIGHTS)
def test_external_weights_are_refused(weights: Callable[[h5py.File], Any], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=sentence):
        check_h5(saved(tmp_path / "m.h5", network(DENSE), weights))
