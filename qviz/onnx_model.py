"""An ONNX file as a reference: ONNX Runtime runs it in a worker process, and its outputs are decoded as usual.

AP can be computed from its boxes. The loss from conversion to TensorFlow Lite is thus separated from the loss from
quantization. The operators of the file are not read, so layers cannot be compared. ONNX Runtime is optional, see
`qviz.optional`.

The file is not trusted. It is loaded from its bytes, so weights in separate files are not read.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qviz.errors import ModelError
from qviz.optional import install_command, is_installed
from qviz.structures import Graph, Tensor
from qviz.structures.graph import HeadNotes

RUNTIME = "ONNX Runtime"
SUFFIX = ".onnx"
_TYPES = {
    **{"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8", "tensor(int8)": "int8"},
    **{"tensor(int32)": "int32", "tensor(int64)": "int64"},
}
"""ONNX type -> numpy type, for the types that inputs may have."""


def is_available() -> bool:
    """Whether ONNX Runtime is installed."""
    return is_installed("onnx")


def is_onnx(data: bytes) -> bool:
    """Whether the bytes may be an ONNX file: a protobuf message that begins with the version of its format."""
    return data[:1] == b"\x08" and data[4:8] != b"TFL3" and 0 < data[1] < 64 if len(data) > 8 else False


class OnnxRunner:
    """Runs one ONNX file; it has the same `run` method as `qviz.tflite.runner.Runner`.

    Args:
        threads: Number of threads of the runtime.

    Attributes:
        graph: Inputs and outputs, without operators.
        notes: The exporter's notes in the file's metadata; may be empty.
        milliseconds: Duration of the last run; 0 before the first.

    Raises:
        ModelError: ONNX Runtime is not installed, or cannot load the file.
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        self._session = _session(data, threads)
        try:
            self.notes = _notes(self._session)
            self.graph = _graph(self._session, self.notes)
            self._names = [port.name for port in self._session.get_inputs()]
        except UnicodeDecodeError as error:
            raise ModelError("is a damaged ONNX model: a name in it is not text.") from error
        self._constants: dict[str, np.ndarray] = {}
        self.milliseconds = 0.0

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The outputs, in the file's order; sets `milliseconds`. Raises ModelError."""
        start = time.perf_counter()
        try:
            outputs = self._session.run(None, dict(zip(self._names, inputs, strict=True)) | self._constants)
        except Exception as error:  # the runtime's own types derive from Exception alone
            raise ModelError(f"failed while it ran: {_explanation(error)}") from error
        self.milliseconds = (time.perf_counter() - start) * 1e3
        return [np.asarray(values) for values in outputs]

    def set_constants(self, constants: Mapping[int, np.ndarray]) -> None:
        """Set these inputs (tensor index -> values) to the same values in each run, and remove them from the graph."""
        self._constants = {self.graph.tensors[index].name: values for index, values in constants.items()}
        self.graph = replace(self.graph, inputs=tuple(i for i in self.graph.inputs if i not in constants))
        self._names = [name for name in self._names if name not in self._constants]

    def tensor(self, index: int) -> np.ndarray:
        """Always raises ModelError, because ONNX Runtime does not provide inner tensors."""
        raise ModelError(f"does not let tensor {index} be read.")


def _graph(session: Any, notes: dict[str, Any]) -> Graph:
    """The inputs and outputs, without operators. A batch size that the file leaves open becomes 1."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    tensors = [_tensor(number, port, number < len(inputs)) for number, port in enumerate([*inputs, *outputs])]
    numbers = tuple(range(len(tensors)))
    count, size = _keypoint_shape(session.get_modelmeta().custom_metadata_map.get("kpt_shape", ""))
    return Graph(
        tuple(tensors),
        (),
        inputs=numbers[: len(inputs)],
        outputs=numbers[len(inputs) :],
        description=RUNTIME,
        notes=HeadNotes(notes.get("task", ""), len(notes.get("names", ())), count * size, keypoint_size=size),
    )


def _notes(session: Any) -> dict[str, Any]:
    """The exporter's notes in the metadata, in the form of `qviz.tflite.metadata.exporter_notes`; may be empty."""
    metadata = session.get_modelmeta().custom_metadata_map
    names = _names(metadata.get("names", ""))
    return (
        {"names": names, **{key: metadata[key][:40] for key in ("stride", "task") if key in metadata}} if names else {}
    )


def _names(text: str) -> dict[int, str]:
    """Class id -> name, from a text such as `{0: 'person', 1: "driver's seat"}`."""
    rows = re.findall(r"(\d{1,6}): (?:'([^']{1,100})'|\"([^\"]{1,100})\")", text[: 256 << 10])
    return {int(number): single or double for number, single, double in rows}


def _keypoint_shape(text: str) -> tuple[int, int]:
    """(number of keypoints, 2 or 3 values each) from a text such as `[17, 3]`; (0, 0) from any other."""
    sides = [int(side) for side in re.findall(r"\d{1,4}", text[:40])]
    return (sides[0], sides[1]) if len(sides) == 2 and 0 < sides[0] <= 1000 and sides[1] in (2, 3) else (0, 0)


def _tensor(number: int, port: Any, is_input: bool) -> Tensor:
    shape = [side if isinstance(side, int) and side > 0 else -1 for side in port.shape]
    if is_input and shape and shape[0] == -1:
        shape[0] = 1
    return Tensor(number, port.name[:200], tuple(shape), _TYPES.get(port.type, port.type), None, False)


def _session(data: bytes, threads: int) -> Any:
    """The ONNX Runtime session of a file. Raises ModelError."""
    if not is_available():
        command = install_command("onnx")
        raise ModelError(f"is an ONNX model; install ONNX Runtime to run it as the reference: {command}")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 4
    with tempfile.TemporaryDirectory(prefix="qviz-") as empty:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
        try:
            return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own types derive from Exception alone
            raise ModelError(f"cannot be loaded by ONNX Runtime: {_explanation(error)}") from error


def _explanation(error: Exception) -> str:
    """The first line of a message, without the runtime's codes."""
    if "INVALID_PROTOBUF" in str(error):
        return "it is damaged or incomplete; export it again, or copy the whole file."
    text = (str(error).strip().splitlines() or ["no reason given"])[0]
    return re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", text)[:300]
