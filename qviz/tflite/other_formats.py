"""Files that are not .tflite: bundles that contain one, and other runtimes' formats, with what the user can do."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import PurePosixPath

from qviz.errors import ModelError
from qviz.limits import limits
from qviz.optional import install_command
from qviz.structures.archive import open_zip

BUNDLE = ".task"
RECORD = "record its results there and give them (JSON)"
NEXT_STEPS = {
    ".onnx": ("an ONNX model", f"install ONNX Runtime to use it as the reference ({install_command('onnx')})"),
    ".pt": ("a PyTorch checkpoint", "export it to TensorFlow Lite (Ultralytics: format=tflite; else litert-torch)"),
    ".pb": ("a TensorFlow graph", "give the folder of the SavedModel, or convert a frozen graph with tflite_convert"),
    ".mlmodel": ("a Core ML model", f"give the network that it was made from as .tflite, or {RECORD}"),
    ".xml": ("an OpenVINO model", f"give the network that it was made from as .tflite, or {RECORD}"),
    ".engine": ("compiled for TensorRT", f"give the network that it was made from as .tflite, or {RECORD}"),
    ".param": ("an ncnn model", f"give the network that it was made from as .tflite, or {RECORD}"),
    ".dlc": ("compiled for Qualcomm's runtime", f"give the network that it was made from as .tflite, or {RECORD}"),
    ".weights": ("a file of Darknet weights", "convert it to TensorFlow Lite with its .cfg, and give the .tflite file"),
}
"""Suffix -> (what the file is, what the user can do)."""
SAME = {".pth": ".pt", ".ckpt": ".pt", ".mlpackage": ".mlmodel", ".plan": ".engine", ".trt": ".engine"}
"""Suffix -> the suffix in `NEXT_STEPS` that is treated alike."""
DAMAGED = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, NotImplementedError, EOFError, ValueError)


def refusal_of(name: str, onnx: bool = False) -> str:
    """Why a file with this name is not read, in a sentence with the next step; empty for suffixes not listed here.

    Args:
        onnx: Whether ONNX files can be run.
    """
    if onnx and name.lower().endswith(".onnx"):
        return ""
    suffix = PurePosixPath(name).suffix.lower()
    kind, step = NEXT_STEPS.get(SAME.get(suffix, suffix), ("", ""))
    return f"{name} is {kind}, which qviz does not run: {step}." if kind else ""


def unbundled(name: str, data: bytes) -> bytes:
    """The detector in a MediaPipe bundle (.task, a zip archive of .tflite files); other data is returned unchanged.

    If the bundle has several models, the detector is the one with `detect` in its file name.

    Raises:
        ModelError: The bundle is damaged, or does not contain one detector.
    """
    if PurePosixPath(name).suffix.lower() != BUNDLE or not data.startswith(b"PK"):
        return data
    try:
        with open_zip(data) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".tflite")]
            detectors = [entry for entry in entries if "detect" in PurePosixPath(entry.filename).name.lower()]
            chosen = detectors if len(entries) > 1 else entries
            if len(chosen) != 1:
                names = ", ".join(repr(entry.filename[:60]) for entry in entries[:5]) or "no .tflite file"
                raise ModelError(f"{name} contains {names}; a bundle with one detector is expected.")
            max_mb = limits().model_mb
            if chosen[0].file_size > max_mb << 20:
                raise ModelError(f"{name} contains a model of {chosen[0].file_size >> 20} MB; up to {max_mb} are read.")
            return archive.read(chosen[0])
    except DAMAGED as error:
        raise ModelError(f"{name} is damaged: its archive cannot be read. Copy or download it again.") from error
