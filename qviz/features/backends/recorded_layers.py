"""The error of each operator on a device: its recorded tensors against FP32 and against this machine's kernels.

against FP32      `recorded_sqnr_db` compares the recorded tensor with the reference's tensor. `here_sqnr_db` compares
                  the same file's tensor on the default kernels of this machine with it, on the same images
against kernels   `kernel_sqnr_db` and `steps` compare the recorded tensor with the same tensor of the same file here.
                  The local figures compare it with what the operator returns here for the device's inputs

The figures against kernels are those of `qviz.features.backends.noise`, with the device as one of the two sets of
kernels. SQNR is in dB, higher is better. It is None if nothing differs or nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from qviz.context import Context
from qviz.detector import decoded
from qviz.engine import Blob
from qviz.errors import RecordingError
from qviz.features.backends.noise import KernelNoise, LayerNoise, NoiseSums, compared, layers_of, sums_of
from qviz.features.backends.recording import Device, input_digest
from qviz.features.backends.tensor_file import TensorRecording, described, image_tensors
from qviz.features.detection.inference import results_in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.layer_error import pair_of
from qviz.features.layer_error.tensor_error import ErrorSums
from qviz.formatting import listed, plural
from qviz.result import Result
from qviz.structures import EncodedImage, Graph, digest_of
from qviz.tflite.paired_networks import Pair, PairedNetworks, activations, as_real, as_variant, paired_networks

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class RecordedLayer(LayerNoise):
    """One operator whose output a device recorded.

    Attributes:
        recorded_sqnr_db: SQNR of the device's output against FP32, in dB.
        here_sqnr_db: SQNR of this machine's output against FP32 on the same images, in dB.
        matched_by: How the array was recognised: `name` or `shape`.
    """

    recorded_sqnr_db: float | None
    here_sqnr_db: float | None
    matched_by: str


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RecordedLayers(Result):
    """The operators of one variant on a device.

    Attributes:
        operators: Number of the variant's operators whose outputs can be compared.
        layers: The operators whose outputs were recorded, in the order of the file.
        images: Number of measured images, i.e. of the given images that were recorded.
        ignored: Names of recorded arrays that belong to no tensor of the variant.
    """

    reference: str
    variant: str
    device: Device
    images: int
    operators: int
    layers: tuple[RecordedLayer, ...]
    ignored: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    ROWS: ClassVar = "layers"
    JSON_ALSO: ClassVar = ("covered",)

    @property
    def covered(self) -> int:
        """Number of operators whose output was recorded."""
        return len(self.layers)

    @property
    def kernels(self) -> KernelNoise:
        """The device as a set of kernels, compared with this machine's."""
        return KernelNoise(self.device.name, None, None, self.layers)

    def to_frame(self) -> pd.DataFrame:
        """One row per operator."""
        import pandas as pd

        names = [column.name for column in fields(RecordedLayer)]
        return pd.DataFrame([asdict(layer) for layer in self.layers], columns=names)


@dataclass(slots=True)
class RecordedSums:
    """Sums over images for each operator.

    Attributes:
        kernels: Operator -> the device's output compared with this machine's kernels.
        recorded: Operator -> the device's output compared with FP32.
        here: Operator -> this machine's output compared with FP32.
        operators: Number of operators whose outputs can be compared.
    """

    kernels: dict[int, NoiseSums] = field(default_factory=dict)
    recorded: dict[int, ErrorSums] = field(default_factory=dict)
    here: dict[int, ErrorSums] = field(default_factory=dict)
    operators: int = 0

    def merge(self, other: RecordedSums) -> None:
        """Add the sums of other images."""
        for order, noise in other.kernels.items():
            self.kernels.setdefault(order, NoiseSums(noise.tensor)).merge(noise)
        for sums, more in ((self.recorded, other.recorded), (self.here, other.here)):
            for order, errors in more.items():
                sums.setdefault(order, ErrorSums()).merge(errors)
        self.operators = max(self.operators, other.operators)


def recorded_layers(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    recording: bytes,
    name: str,
) -> RecordedLayers:
    """Compare the tensors that a device recorded with FP32's tensors and with the same file's tensors on this machine.

    Args:
        images: The images that were recorded; other images are left out.
        recording: Bytes of a file that `device_read` wrote (argument `tensors`).
        name: Name of the file, for messages.

    Raises:
        RecordingError: The file is damaged, was recorded with another model or other inputs, or has none of the images.
        ImageError: No image can be read.
        ModelError: One of the models has no layers.

    Example:
        >>> qviz.recorded_layers(FLOAT32, INT8, recording="phone.zip", images=IMAGES).covered
        156
    """
    pair = pair_of(reference, variant)
    blob = context.engine.share(recording, digest_of(recording))
    header = described(context, blob, name)
    if header.model_sha256 != variant.digest:
        raise RecordingError(
            f"{name} was recorded with {header.model[:80]} ({header.model_sha256[:12]}), not with {variant.name}"
            f" ({variant.digest[:12]}); give the file that was packed as the variant."
        )
    numbers = {row.name: number for number, row in enumerate(header.images)}
    chosen = [image for image in images if image.name in numbers]
    if not chosen:
        names = listed([row.name[:60] for row in header.images[:3]])
        raise RecordingError(f"{name} has no recording of these images; give those that were packed, such as {names}.")

    def submit(image: EncodedImage) -> list[Future[RecordedSums]]:
        return [context.engine.submit(recorded_job, pair, image, blob, header, numbers[image.name])]

    total, skipped, measured = RecordedSums(), list[str](), 0
    try:
        for _, (sums,) in results_in_order(context, chosen, submit, skipped, "There are no images."):
            total.merge(sums)
            measured += 1
    except RecordingError as error:
        raise RecordingError(f"{name} cannot be used: {error}") from error
    if len(chosen) < len(header.images):
        missing = len(header.images) - len(chosen)
        skipped.append(f"{plural(missing, 'recorded image')} of {name} {'is' if missing == 1 else 'are'} not given.")
    rows = _rows(total, header, variant.inspection.graph)
    named = reference.name, variant.name
    return RecordedLayers(*named, header.device, measured, total.operators, rows, header.ignored, tuple(skipped))


def _rows(sums: RecordedSums, header: TensorRecording, graph: Graph) -> tuple[RecordedLayer, ...]:
    matched_by = {row.index: row.matched_by for row in header.tensors}
    return tuple(
        RecordedLayer(
            **asdict(row),
            recorded_sqnr_db=_sqnr(sums.recorded, row.order),
            here_sqnr_db=_sqnr(sums.here, row.order),
            matched_by=matched_by[sums.kernels[row.order].tensor],
        )
        for row in layers_of(sums.kernels, graph)
    )


def _sqnr(sums: Mapping[int, ErrorSums], order: int) -> float | None:
    return sums[order].sqnr_db if order in sums else None


# ---- in a worker ----------------------------------------------------------------------------------------------------


def recorded_job(
    pair: Pair, image: EncodedImage, recording: Blob, header: TensorRecording, number: int
) -> RecordedSums:
    """The sums of one image; runs in a worker. number: index of the image in the recording.

    Raises RecordingError, ImageError.
    """
    networks = paired_networks(pair)
    reference_input, variant_input = networks.inputs(decoded(image))
    if input_digest(variant_input) != header.images[number].input_sha256:
        raise RecordingError(
            f"{image.name} was another image when it was packed, or was prepared with other settings; give the same"
            " image and the same settings."
        )
    arrays = image_tensors(recording, header, number, networks.variant.graph)
    return recorded_sums(networks, reference_input, variant_input, arrays, image.name)


def recorded_sums(
    networks: PairedNetworks,
    reference_input: np.ndarray,
    variant_input: np.ndarray,
    arrays: Mapping[int, np.ndarray],
    image: str,
) -> RecordedSums:
    """The sums of one image. arrays: index of the tensor -> recorded values, in the file's type or as float32."""
    stepper, tensors = networks.variant, networks.variant.graph.tensors
    here = stepper.run([variant_input], keep=activations(stepper))
    typed = {
        index: values if values.dtype.name == tensors[index].dtype else as_variant(values, tensors[index])
        for index, values in arrays.items()
    }
    typed[stepper.graph.inputs[0]] = variant_input
    sums = RecordedSums(sums_of(stepper, typed, here, image))
    partners = {op.order: networks.partners[op.outputs[0]] for op in networks.layers}
    truth = networks.reference.run([reference_input], keep=set(partners.values()))
    for step in stepper.steps:
        tensor = compared(stepper, step)
        if tensor is None:
            continue
        sums.operators += 1
        partner = partners.get(step.orders[-1])
        if partner not in truth or tensor.index not in arrays or truth[partner].size != arrays[tensor.index].size:
            continue
        x = truth[partner].astype(np.float32, copy=False)
        recorded = arrays[tensor.index]
        real = recorded if recorded.dtype == np.float32 else as_real(recorded, tensor)
        sums.recorded.setdefault(step.orders[-1], ErrorSums()).add(x, real, image)
        sums.here.setdefault(step.orders[-1], ErrorSums()).add(x, as_real(here[tensor.index], tensor), image)
    return sums
