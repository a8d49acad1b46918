"""Backends and device recordings in sentences."""

from __future__ import annotations

from qviz.features.backends.device import DevicePack, DeviceResults, DeviceRun
from qviz.features.backends.recording import RUNNER, Device
from qviz.formatting import milliseconds, plural
from qviz.result import Result


def verdict(result: Result) -> str:
    """The result in a sentence or two."""
    if isinstance(result, DevicePack):
        return (
            f"{result.model.name} and {plural(result.images, 'prepared image')} are in {result.folder}. Copy the folder"
            f" to the device, run python3 {RUNNER} there, copy it back, then: qviz device read {result.folder}."
        )
    if isinstance(result, DeviceRun):
        images, device = plural(result.images, "image"), device_name(result.device)
        return f"{images} recorded on {device}, {milliseconds(result.ms)} each."
    assert isinstance(result, DeviceResults)
    return (
        f"{plural(len(result.results), 'object')} in {plural(len(result.images), 'image')}, recorded on"
        f" {device_name(result.device)} with {result.model.name}."
    )


def device_name(device: Device) -> str:
    """`pi4 (tflite_runtime 2.14.0, edgetpu)`."""
    runtime = f"{device.runtime} {device.version}".strip()
    return f"{device.name} ({', '.join(filter(None, (runtime, device.delegate)))})"
