"""Convert a source to a .tflite file with TensorFlow's converter, in a worker: to float32, or as `prepare` sets it up.

Dimensions must be fixed, except that the batch may be open; it becomes 1. Custom operators are accepted only if
TensorFlow Lite has them: TFLite_Detection_PostProcess, as the Object Detection API's exporter for TFLite writes it.

Keras files are checked before they are loaded: their layers must be Keras' own and their weights inside the file.
.keras is a zip archive of config.json and model.weights.h5; an .h5 file has the same description as an attribute.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from qviz.engine import Blob
from qviz.errors import ModelError, NeedsTensorFlow, reason
from qviz.limits import limits
from qviz.tensorflow_models.runtime import first_line, tensorflow
from qviz.tensorflow_models.saved_model import Port, Signature, read_signature
from qviz.tensorflow_models.sources import SourceKind, extract, unpack

SUPPORTED_CUSTOM = {"TFLite_Detection_PostProcess"}
DETECTION = {"detection_boxes", "detection_scores", "detection_classes"}
"""Outputs of the Object Detection API's exports."""
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
CODE_LAYERS = {"Lambda", "__lambda__"}
OUTSIDE_LAYERS = {
    *("TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"),
    *("StringLookup", "IntegerLookup", "TextVectorization"),
}
"""Layers that read other files or call other frameworks."""
KERAS_MODULES = ("keras.", "tf_keras.", "tensorflow.keras.", "tensorflow.python.keras.")
REFUSED_PARTS = (".utils", ".saving", ".export")

Prepare = Callable[[Any], None]
"""A function that sets up TensorFlow's converter before it converts."""


def as_float(converter: Any) -> None:
    """A `Prepare` that changes nothing, so the network stays in float32."""


def convert_job(blob: Blob, kind: SourceKind) -> bytes:
    """The source converted to a float32 .tflite file.

    Raises:
        ModelError: The source cannot be converted; the message begins with a verb.
        NeedsTensorFlow: The source cannot be converted, but TensorFlow itself can run the detector.
    """
    return converted(blob, kind, as_float)


def converted(blob: Blob, kind: SourceKind, prepare: Prepare) -> bytes:
    """The .tflite file, with the converter set up by `prepare`. Raises the same errors as `convert_job`."""
    with tempfile.TemporaryDirectory(prefix="qviz-") as folder:
        path = _unpacked(blob.read(), kind, Path(folder))  # a refusal comes before TensorFlow is loaded
        with tensorflow() as tf:
            data = _saved_model(tf, path, prepare) if kind is SourceKind.SAVED_MODEL else _keras(tf, path, prepare)
            _check_operators(data)
            return data


def _unpacked(data: bytes, kind: SourceKind, folder: Path) -> Path:
    """The SavedModel's folder or the Keras file, checked as far as possible without TensorFlow."""
    if kind is SourceKind.SAVED_MODEL:
        return unpack(data, folder)
    path = folder / ("model.keras" if kind is SourceKind.KERAS else "model.h5")  # Keras decides by the suffix
    path.write_bytes(data)
    if kind is SourceKind.KERAS:
        check_keras(data, folder / "unpacked")
    else:
        check_h5(path)
    return path


def _saved_model(tf: Any, root: Path, prepare: Prepare) -> bytes:
    signature = read_signature(tf, root)
    try:
        return _from_signature(tf, root, signature, prepare)
    except ModelError as error:
        if not gives_detections(signature):
            raise
        reason = re.split(r"; |\. ", str(error))[0].rstrip(".")  # without advice meant for other exports
        raise NeedsTensorFlow(
            "is the Object Detection API's training export (exporter_main_v2.py), which TensorFlow Lite cannot express:"
            f" it {reason}. TensorFlow runs it as the reference for boxes and mAP; for layers, times and quantization"
            " export the checkpoint with export_tflite_graph_tf2.py."
        ) from error


def gives_detections(signature: Signature) -> bool:
    """Whether the outputs have the names of the Object Detection API for boxes, scores and classes."""
    return DETECTION.issubset(port.name for port in signature.outputs)


def _from_signature(tf: Any, root: Path, signature: Signature, prepare: Prepare) -> bytes:
    for port in signature.inputs:
        _check_fixed(port)
    if not any(port.shape and port.shape[0] < 0 for port in signature.inputs):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(root), signature_keys=[signature.key])
        return _converted(converter, prepare)
    loaded = tf.saved_model.load(str(root))
    function = loaded.signatures[signature.key]
    return _from_function(tf, lambda **images: function(**images), signature.inputs, [loaded], prepare)


def _keras(tf: Any, path: Path, prepare: Prepare) -> bytes:
    try:
        model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
        inputs = tuple(_port(tensor) for tensor in model.inputs)
    except Exception as error:  # layers may raise any exception
        raise ModelError(
            f"cannot be loaded by Keras {tf.keras.__version__}: {first_line(error)} Export the network as a SavedModel"
            " with model.export('folder')."
        ) from error
    for port in inputs:
        _check_fixed(port)

    def call(**images: Any) -> dict[str, Any]:
        values = [images[port.name] for port in inputs]
        return _named(tf, model, model(values[0] if len(values) == 1 else values, training=False))

    return _from_function(tf, call, inputs, [variable.value for variable in model.variables], prepare)


def _named(tf: Any, model: Any, outputs: Any) -> dict[str, Any]:
    """Name of an output's layer -> the output. Decoders read these names."""
    if isinstance(outputs, dict):
        return outputs
    values = tf.nest.flatten(outputs)
    names = list(getattr(model, "output_names", []))
    if len(set(names)) != len(values):
        names = [f"output_{i}" for i in range(len(values))]
    return dict(zip(names, values, strict=True))


def _port(tensor: Any) -> Port:
    shape = tuple(-1 if side is None else int(side) for side in tensor.shape)
    return Port(re.sub(r"\W", "_", tensor.name), shape, str(tensor.dtype))


def _check_fixed(port: Port) -> None:
    """Raise ModelError if a dimension other than the batch is open."""
    if port.shape is None or any(side < 0 for side in port.shape[1:]):
        shape = "any shape" if port.shape is None else str(["?" if side < 0 else side for side in port.shape])
        raise ModelError(
            f"reads {port.name!r} of {shape.replace(chr(39), '')}; TensorFlow Lite needs a fixed height and width:"
            " export it with e.g. [1, 320, 320, 3]."
        )


def _from_function(tf: Any, call: Any, inputs: tuple[Port, ...], owned: list[Any], prepare: Prepare) -> bytes:
    """Trace `call` with a batch of 1 and convert it. Only the variables in `owned` are frozen."""
    specs = {port.name: tf.TensorSpec(_batch_of_one(port), port.dtype, name=port.name) for port in inputs}
    try:
        concrete = tf.function(call).get_concrete_function(**specs)
    except Exception as error:  # layers may raise any exception
        raise ModelError(f"cannot be traced with a batch of 1: {first_line(error)}") from error
    module = tf.Module()
    module.owned = owned
    return _converted(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module), prepare)


def _batch_of_one(port: Port) -> tuple[int, ...]:
    shape = port.shape or ()
    return (1, *shape[1:]) if shape and shape[0] < 0 else shape


def _converted(converter: Any, prepare: Prepare) -> bytes:
    converter.allow_custom_ops = True  # unknown operators become custom ones, which _check_operators refuses
    prepare(converter)
    try:
        return bytes(converter.convert())
    except Exception as error:  # ConverterError, or anything that the loader raises
        unknown = sorted(set(re.findall(r"'(tf\.\w+)' op", str(error))))
        reason = f"operators without a counterpart: {', '.join(unknown[:5])}" if unknown else first_line(error)
        raise ModelError(f"cannot be converted by TensorFlow Lite's converter ({reason}).") from error


def _check_operators(data: bytes) -> None:
    """Raise ModelError for unsupported custom operators and for variables that change at run time."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    if any(code.BuiltinCode() == schema.BuiltinOperator.VAR_HANDLE for code in codes):
        raise ModelError("changes its variables while it runs; export it for inference, with constant weights.")
    custom = {code.CustomCode().decode() for code in codes if code.CustomCode()} - SUPPORTED_CUSTOM
    if custom:
        raise ModelError(
            f"needs operators that TensorFlow Lite does not have: {', '.join(sorted(custom)[:8])}. Export the network"
            " without them, without its NMS and loops."
        )


def check_keras(data: bytes, folder: Path) -> None:
    """Unpack a .keras archive into `folder`. Raises ModelError if it runs code or reads other files."""
    extract(data, folder)
    if not (folder / CONFIG).is_file() or not (folder / WEIGHTS).is_file():
        raise ModelError(
            f"is not a .keras file: {CONFIG} and {WEIGHTS} are missing. Save it with model.save('x.keras')."
        )
    _check_layers((folder / CONFIG).read_bytes())
    _check_hdf5(folder / WEIGHTS)


def check_h5(path: Path) -> None:
    """Check an .h5 file of a whole model. Raises ModelError if it runs code or reads other files."""
    config = _check_hdf5(path)
    if config is None:
        raise ModelError("has weights without the network; save the whole model with model.save('x.keras').")
    _check_layers(config)


def _check_layers(config: bytes | str) -> None:
    try:
        network = json.loads(config)
        network.pop("compile_config", None)  # optimizer and losses are never loaded
        _check_objects(_objects(network))
    except (ValueError, TypeError, RecursionError, AttributeError) as error:
        raise ModelError(f"is damaged: the description of its layers cannot be read{reason(error)}.") from error


def _check_objects(layers: Iterable[dict[str, Any]]) -> None:
    for layer in layers:
        name, module = str(layer.get("class_name")), layer.get("module")
        if name in CODE_LAYERS:
            raise ModelError(
                "has a Lambda layer: Python code that would run here, which is refused. Build it from Keras' own"
                " layers, or export the network as a SavedModel with model.export('folder')."
            )
        if name in OUTSIDE_LAYERS or (module is not None and not _is_safe(str(module))):
            full_name = f"{module}.{name}" if module else name
            raise ModelError(
                f"has {full_name[:100]!r}, which is not one of Keras' own layers that are safe to load. Export the"
                " network as a SavedModel with model.export('folder')."
            )


def _is_safe(module: str) -> bool:
    inside = module in ("keras", "builtins") or module.startswith(KERAS_MODULES)
    return inside and not any(part in module for part in REFUSED_PARTS)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object in the description of a network, at any depth."""
    if isinstance(value, dict):
        if "class_name" in value:
            yield value
        for inner in value.values():
            yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _check_hdf5(path: Path) -> bytes | str | None:
    """The description of the network in the file; None if it has none. Raises ModelError if weights are elsewhere."""
    import h5py  # comes with TensorFlow

    try:
        with h5py.File(path, "r") as file:
            links: dict[str, Any] = {}
            file.visititems_links(links.__setitem__)  # h5py would swallow an error raised in the callback
            outside = any(isinstance(link, h5py.ExternalLink) for link in links.values())
            weights = [] if outside else [item for item in map(file.get, links) if isinstance(item, h5py.Dataset)]
            outside = outside or any(weight.external or weight.is_virtual for weight in weights)
            size = sum(int(weight.nbytes) for weight in weights)
            config = file.attrs.get("model_config")
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise ModelError("is damaged: its weights are not a readable HDF5 file. Save it again.") from error
    if outside:
        raise ModelError("has weights in other files, which are not read; save the whole model in one file.")
    if size > (max_mb := limits().archive_mb) << 20:
        raise ModelError(f"claims more than {max_mb} MB of weights; such files are not read.")
    return config if isinstance(config, (bytes, str)) else None
