"""Run one model on one backend over images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.detector import Detector, decoded
from qviz.engine import Blob
from qviz.errors import ImageError, ModelError, WorkerError
from qviz.features.backends.gpu import GpuNetwork, RefusedOperator
from qviz.features.backends.micro import micro_job
from qviz.features.backends.prepared import decode_job, prepare_job
from qviz.features.detection.inference import in_order
from qviz.features.detection.models import LoadedModel
from qviz.structures import EncodedImage, Inference, Settings

_DETECTORS = LRUCache[Any](4)


@dataclass(slots=True, eq=False)
class Runs:
    """One model on one backend.

    Attributes:
        inferences: Image digest -> detections, for each image that was run.
        refusal: Why the backend does not run the model; empty if it does.
        unavailable: Whether the refusal is due to the backend itself, so that no other model would run either.
        operators: Operators that the backend leaves to the CPU.
        device: The device on which the model ran; empty for the CPU's kernels.
    """

    inferences: dict[str, Inference] = field(default_factory=dict)
    refusal: str = ""
    unavailable: bool = False
    operators: tuple[RefusedOperator, ...] = ()
    device: str = ""


def kernels_job(
    model: Blob, settings: Settings, image: EncodedImage, score: float, kernels: str, threads: int
) -> Inference:
    """The detections of a model on one image with these kernels of `qviz.tflite.runner`; runs in a worker.

    Raises ImageError, ModelError.
    """
    key = model.digest, settings, kernels, threads
    detector: Detector = _DETECTORS.get(key, lambda: Detector(model.read(), settings, threads, False, kernels))
    return replace(detector.detect(decoded(image), score), candidates=None)


def run_on(
    context: Context, backend: str, model: LoadedModel, images: Iterable[EncodedImage], score: float, skipped: list[str]
) -> Runs:
    """Run one model on one backend. An image that fails is left out, and a sentence about it is added to `skipped`."""
    if backend == "gpu":
        return _on_gpu(context, model, images, score, skipped)
    submit = _submitter(context, backend, model, score)
    runs = Runs()
    for image, (job,) in in_order(context, images, lambda image: [submit(image)]):
        try:
            runs.inferences[image.digest] = job.result()
        except ImageError as error:
            _add_once(skipped, str(error))
        except (ModelError, WorkerError) as error:
            if not runs.inferences:
                runs.refusal = str(error)
                break
            _add_once(skipped, f"{model.name} on {backend}, {image.name}: {error}")
    return runs


def _submitter(
    context: Context, backend: str, model: LoadedModel, score: float
) -> Callable[[EncodedImage], Future[Inference]]:
    engine, blob, settings = context.engine, model.blob, model.settings
    if backend == "micro":
        return lambda image: engine.submit(micro_job, blob, settings, image, score)
    return lambda image: engine.submit(kernels_job, blob, settings, image, score, backend, context.threads)


def _on_gpu(
    context: Context, model: LoadedModel, images: Iterable[EncodedImage], score: float, skipped: list[str]
) -> Runs:
    """`run_on` for the GPU: workers prepare inputs and decode outputs, and a separate process runs the network."""
    runs = Runs()
    try:
        network = GpuNetwork(model.blob.path, model.inspection.graph)
    except WorkerError as error:
        return Runs(refusal=str(error), unavailable=not model_is_at_fault(str(error)))
    runs.operators, runs.device = network.refused, network.adapter
    engine = context.engine
    with network:
        for image, (job,) in in_order(
            context, images, lambda image: [engine.submit(prepare_job, model.blob, model.settings, image)], ahead=1
        ):
            try:
                prepared = job.result()
                outputs, milliseconds = network.run(prepared.values)
                decoding = engine.submit_urgent(
                    decode_job, model.blob, model.settings, outputs, prepared.placement, prepared.size, score
                )
                runs.inferences[image.digest] = replace(context.wait(decoding), milliseconds=milliseconds)
            except ImageError as error:
                _add_once(skipped, str(error))
            except (ModelError, WorkerError) as error:  # the process died or hangs and can run no further image
                runs.refusal = str(error)
                break
    return runs


def model_is_at_fault(reason: str) -> bool:
    """Whether the GPU delegate refuses because of the model, not because of the driver."""
    return not any(word in reason for word in ("Vulkan", "adapter", "driver"))


def _add_once(sentences: list[str], sentence: str) -> None:
    if sentence not in sentences:
        sentences.append(sentence)
