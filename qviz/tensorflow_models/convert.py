"""A source to a .tflite, by TensorFlow's own converter: float32, or as `prepare` sets it up. Runs in a worker process.

Sizes have to be fixed, but for an open batch, which becomes 1. Custom operators pass only where TensorFlow Lite has
them: TFLite_Detection_PostProcess, as the Object Detection API's exporter for TFLite writes it.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qviz.engine import Blob
from qviz.errors import ModelError, NeedsTensorFlow
from qviz.tensorflow_models.keras_file import check_h5, check_keras
from qviz.tensorflow_models.runtime import first_line, tensorflow
from qviz.tensorflow_models.saved_model import Port, Signature, read_signature
from qviz.tensorflow_models.sources import SourceKind, unpack

KNOWN_CUSTOM = {"TFLite_Detection_PostProcess"}
DETECTION = {"detection_boxes", "detection_scores", "detection_classes"}
"""Outputs of the Object Detection API's exports."""
Prepare = Callable[[Any], None]
"""Called with TensorFlow's converter before it converts."""


def as_float(converter: Any) -> None:
    """The Prepare that leaves the network in float32."""


def convert_job(blob: Blob, kind: SourceKind) -> bytes:
    """The float32 .tflite. Raises ModelError; NeedsTensorFlow where TensorFlow itself can still run the detector."""
    return converted(blob, kind, as_float)


def converted(blob: Blob, kind: SourceKind, prepare: Prepare) -> bytes:
    """The .tflite as `prepare` wants it. Raises as `convert_job` does."""
    with tempfile.TemporaryDirectory(prefix="qviz-") as folder:
        path = _unpacked(blob.read(), kind, Path(folder))  # what is refused is refused before TensorFlow is loaded
        with tensorflow() as tf:
            data = _saved_model(tf, path, prepare) if kind is SourceKind.SAVED_MODEL else _keras(tf, path, prepare)
            _check_operators(data)
            return data


def _unpacked(data: bytes, kind: SourceKind, folder: Path) -> Path:
    """The SavedModel's folder or the Keras file, found harmless as far as can be told without TensorFlow."""
    if kind is SourceKind.SAVED_MODEL:
        return unpack(data, folder)
    path = folder / ("model.keras" if kind is SourceKind.KERAS else "model.h5")  # Keras goes by the ending
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
        reason = re.split(r"; |\. ", str(error))[0].rstrip(".")  # its advice is not for this export
        raise NeedsTensorFlow(
            "is the Object Detection API's training export (exporter_main_v2.py), which TensorFlow Lite cannot express:"
            f" it {reason}. TensorFlow runs it as the reference for boxes and mAP; for layers, times and quantization"
            " export the checkpoint with export_tflite_graph_tf2.py."
        ) from error


def gives_detections(signature: Signature) -> bool:
    """Boxes, scores and classes under the Object Detection API's names."""
    return DETECTION.issubset(port.name for port in signature.outputs)


def _from_signature(tf: Any, root: Path, signature: Signature, prepare: Prepare) -> bytes:
    for port in signature.inputs:
        _check_fixed(port)
    if not any(port.shape and port.shape[0] < 0 for port in signature.inputs):
        made = tf.lite.TFLiteConverter.from_saved_model(str(root), signature_keys=[signature.key])
        return _converted(made, prepare)
    loaded = tf.saved_model.load(str(root))
    function = loaded.signatures[signature.key]
    return _from_function(tf, lambda **images: function(**images), signature.inputs, [loaded], prepare)


def _keras(tf: Any, path: Path, prepare: Prepare) -> bytes:
    try:
        model = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
        inputs = tuple(_port(tensor) for tensor in model.inputs)
    except Exception as error:  # Keras raises whatever its layers stumble over
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
    """Outputs by the names of the layers that give them: decoders read these."""
    if isinstance(outputs, dict):
        return outputs
    found = tf.nest.flatten(outputs)
    names = list(getattr(model, "output_names", []))
    if len(set(names)) != len(found):
        names = [f"output_{i}" for i in range(len(found))]
    return dict(zip(names, found, strict=True))


def _port(tensor: Any) -> Port:
    shape = tuple(-1 if side is None else int(side) for side in tensor.shape)
    return Port(re.sub(r"\W", "_", tensor.name), shape, str(tensor.dtype))


def _check_fixed(port: Port) -> None:
    """Every side but the batch's is a number. Raises ModelError."""
    if port.shape is None or any(side < 0 for side in port.shape[1:]):
        shape = "any shape" if port.shape is None else str(["?" if side < 0 else side for side in port.shape])
        raise ModelError(
            f"reads {port.name!r} of {shape.replace(chr(39), '')}; TensorFlow Lite needs a fixed height and width:"
            " export it with e.g. [1, 320, 320, 3]."
        )


def _from_function(tf: Any, call: Any, inputs: tuple[Port, ...], owned: list[Any], prepare: Prepare) -> bytes:
    """Convert `call` with a batch of 1. `owned` holds its variables: what is not found there is not frozen."""
    specs = {port.name: tf.TensorSpec(_batch_of_one(port), port.dtype, name=port.name) for port in inputs}
    try:
        concrete = tf.function(call).get_concrete_function(**specs)
    except Exception as error:  # tracing raises whatever the layers stumble over
        raise ModelError(f"cannot be traced with a batch of 1: {first_line(error)}") from error
    module = tf.Module()
    module.owned = owned
    return _converted(tf.lite.TFLiteConverter.from_concrete_functions([concrete], module), prepare)


def _batch_of_one(port: Port) -> tuple[int, ...]:
    shape = port.shape or ()
    return (1, *shape[1:]) if shape and shape[0] < 0 else shape


def _converted(made: Any, prepare: Prepare) -> bytes:
    made.allow_custom_ops = (
        True  # what the converter does not know it leaves as a custom operator; see _check_operators
    )
    prepare(made)
    try:
        return bytes(made.convert())
    except Exception as error:  # ConverterError, and whatever the loader stumbles over
        unknown = sorted(set(re.findall(r"'(tf\.\w+)' op", str(error))))
        said = f"operators without a counterpart: {', '.join(unknown[:5])}" if unknown else first_line(error)
        raise ModelError(f"cannot be converted by TensorFlow Lite's converter ({said}).") from error


def _check_operators(data: bytes) -> None:
    """No custom operators but those that TensorFlow Lite has, no variables without a value. Raises ModelError."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs(data)
    codes = [model.OperatorCodes(i) for i in range(model.OperatorCodesLength())]
    if any(code.BuiltinCode() == schema.BuiltinOperator.VAR_HANDLE for code in codes):
        raise ModelError("changes its own variables while it runs; export it for inference, its weights constant.")
    custom = {code.CustomCode().decode() for code in codes if code.CustomCode()} - KNOWN_CUSTOM
    if custom:
        raise ModelError(
            f"needs operators that TensorFlow Lite does not have: {', '.join(sorted(custom)[:8])}. Export the network"
            " without them, its NMS and loops outside."
        )
