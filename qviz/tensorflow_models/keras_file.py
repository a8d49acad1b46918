"""A Keras file read without loading it: whether its layers are Keras' own, and its weights inside the file.

.keras is a zip archive of config.json and model.weights.h5; an .h5 file keeps the same description as an attribute.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from qviz.errors import ModelError
from qviz.limits import limits
from qviz.tensorflow_models.sources import extract

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_CODE = {"Lambda", "__lambda__"}
_TEXT = {"StringLookup", "IntegerLookup", "TextVectorization"}
_OUTSIDE = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", *_TEXT}
"""Layers that read other files or call other frameworks."""
_PLACES = ("keras.", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")
_NOT_THESE = (".utils", ".saving", ".export")


def check_keras(data: bytes, folder: Path) -> None:
    """Refuse a .keras archive that runs code or reads other files. Unpacks it into `folder`. Raises ModelError."""
    extract(data, folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelError(f"is no .keras file: {CONFIG} and {WEIGHTS} are missing. Save it with model.save('x.keras').")
    _check_layers((folder / CONFIG).read_bytes())
    _check_hdf5(folder / WEIGHTS)


def check_h5(path: Path) -> None:
    """As `check_keras`, for a whole model in an .h5 file."""
    config = _check_hdf5(path)
    if config is None:
        raise ModelError("holds weights without the network; save the whole model with model.save('x.keras').")
    _check_layers(config)


def _check_layers(config: bytes | str) -> None:
    try:
        network = json.loads(config)
        network.pop("compile_config", None)  # optimizer and losses are never loaded
        _check(_described(network))
    except (ValueError, TypeError, RecursionError, AttributeError) as error:
        raise ModelError(f"is damaged: the description of its layers cannot be read ({error}).") from error


def _check(layers: Iterable[dict[str, Any]]) -> None:
    for layer in layers:
        name, place = str(layer.get("class_name")), layer.get("module")
        if name in _CODE:
            raise ModelError(
                "holds a Lambda layer: Python code that would run here, which is refused. Build it from Keras' own"
                " layers, or export the network as a SavedModel with model.export('folder')."
            )
        if name in _OUTSIDE or (place is not None and not _own(str(place))):
            told = f"{place}.{name}" if place else name
            raise ModelError(
                f"holds {told[:100]!r}, which is no layer of Keras' own that is safe to load. Export the network as a"
                " SavedModel with model.export('folder')."
            )


def _own(place: str) -> bool:
    inside = place in ("keras", "builtins") or place.startswith(_PLACES)
    return inside and not any(part in place for part in _NOT_THESE)


def _described(value: Any) -> Iterator[dict[str, Any]]:
    """Every object that the description names, however deep."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _described(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _described(inner)


def _check_hdf5(path: Path) -> bytes | str | None:
    """The description of the network, if there is one; every weight has to lie in the file itself."""
    import h5py  # comes with TensorFlow

    try:
        with h5py.File(path, "r") as file:
            links: dict[str, Any] = {}
            file.visititems_links(links.__setitem__)  # an error raised inside is lost in h5py
            outside = any(isinstance(link, h5py.ExternalLink) for link in links.values())
            weights = [] if outside else [item for item in map(file.get, links) if isinstance(item, h5py.Dataset)]
            outside = outside or any(weight.external or weight.is_virtual for weight in weights)
            held = sum(int(weight.nbytes) for weight in weights)
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError("is damaged: its weights are no HDF5 file that can be read. Save it again.") from error
    if outside:
        raise ModelError("keeps weights in other files, which are not read; save the whole model in one file.")
    if held > (most := limits().archive_mb) << 20:
        raise ModelError(f"claims more than {most} MB of weights; such files are not read.")
    return config if isinstance(config, (bytes, str)) else None
