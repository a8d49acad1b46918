"""Backends and device recordings in sentences."""

from __future__ import annotations

from qviz.features.backends import BackendComparison, LostObjects, Refusal
from qviz.features.backends.device import DevicePack, DeviceResults, DeviceRun
from qviz.features.backends.first_difference import FirstDifference
from qviz.features.backends.kinds import AS_IN_THE_FILE
from qviz.features.backends.noise import NoiseBudget
from qviz.features.backends.recorded_layers import RecordedLayer, RecordedLayers
from qviz.features.backends.recording import RUNNER, Device
from qviz.features.backends.tensor_file import SHAPE
from qviz.formatting import listed, milliseconds, plural, score
from qviz.result import Result
from qviz.structures.operators import operator_name, orders_text


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
    if isinstance(result, BackendComparison):
        return " ".join([agreement_sentence(result), *map(losses_sentence, worst_losses(result)[:1])])
    if isinstance(result, NoiseBudget):
        return " ".join(noise.sentence for noise in result.sets)
    if isinstance(result, RecordedLayers):
        return recorded_sentence(result)
    assert isinstance(result, DeviceResults)
    return (
        f"{plural(len(result.results), 'object')} in {plural(len(result.images), 'image')}, recorded on"
        f" {device_name(result.device)} with {result.model.name}."
    )


def device_name(device: Device) -> str:
    """`pi4 (tflite_runtime 2.14.0, edgetpu)`."""
    runtime = f"{device.runtime} {device.version}".strip()
    return f"{device.name} ({', '.join(filter(None, (runtime, device.delegate)))})"


def recorded_sentence(result: RecordedLayers) -> str:
    """How many operators a recording covers, where the device first differs, and where its error is largest."""
    coverage = (
        f"The recording of {device_name(result.device)} covers {result.covered} of"
        f" {plural(result.operators, 'operator')} of {result.variant} on {plural(result.images, 'image')}."
    )
    rows = [row for row in result.layers if row.recorded_sqnr_db is not None]
    worst = min(rows, key=lambda row: row.recorded_sqnr_db or 0.0, default=None)
    lowest = (
        ""
        if worst is None
        else f" Its lowest SQNR against {result.reference} is {worst.recorded_sqnr_db:.1f} dB at"
        f" {operator_name(worst.order, worst.op_kind)}"
        f"{_here(worst)}."
    )
    shapes = sum(row.matched_by == SHAPE for row in result.layers)
    guess = f" {plural(shapes, 'tensor')} recognised by shape alone." if shapes else ""
    return f"{coverage} {_device_difference(result)}{lowest}{guess}"


def _here(row: RecordedLayer) -> str:
    return "" if row.here_sqnr_db is None else f", where the kernels here have {row.here_sqnr_db:.1f} dB"


def _device_difference(result: RecordedLayers) -> str:
    """Where the device first differs from the kernels of this machine."""
    kernels = result.kernels
    if not result.layers:
        return "No tensor can be compared."
    if kernels.equal:
        return "Every recorded tensor is bit for bit equal to that of the kernels here."
    first = kernels.first_beyond_rounding
    if first is None:
        worst = kernels.worst
        size = "" if worst is None else f"; the lowest SQNR between them is {worst.kernel_sqnr_db:.1f} dB"
        return f"Given the same inputs, no operator differs from the kernels here beyond rounding{size}."
    return (
        "Given the same inputs, the first operator that differs from the kernels here beyond rounding is"
        f" {operator_name(first.order, first.op_kind)}, by up to {_size(first.local_steps, first.local_max_abs)}."
    )


def _size(steps: int | None, max_abs: float | None) -> str:
    if steps is not None:
        return plural(steps, "step")
    return "an unknown amount" if max_abs is None else f"{max_abs:.3g}"


def agreement_sentence(result: BackendComparison) -> str:
    """The pair of backends that differ most, with the model and what changes; or that all agree."""
    pairs = [
        (row.agreement, model.name, model.results[0].backend, row)
        for model in result.models
        for row in model.results[1:]
        if row.agreement is not None
    ]
    images = plural(result.images, "image")
    if not pairs:
        ran = list(dict.fromkeys(row.backend for model in result.models for row in model.results))
        second = any(len(model.results) > 1 for model in result.models)
        why = "no object was found" if second else "no model ran on a second backend"
        return f"Nothing to compare on {images}: {listed(ran)} ran, but {why}."
    agreement, model, first, row = min(pairs, key=lambda pair: (pair[0], -(pair[3].max_score_delta or 0.0)))
    changed = [
        f"{count} {word}"
        for count, word in (
            (row.lost, "lost"),
            (row.spurious, "spurious"),
            (row.relabelled, "relabelled"),
            (row.shifted, "shifted"),
        )
        if count
    ]
    delta = "" if row.max_score_delta is None else f", scores differ by up to {row.max_score_delta:.3f}"
    precision = "" if row.precision == AS_IN_THE_FILE else f" It computes in {row.precision}."
    if not changed:
        return f"On {images} every backend keeps all objects of {first}{delta} ({row.backend}, {model})."
    return (
        f"{row.backend} differs most from {first} on {images}: {model} has an agreement of {score(agreement)}"
        f" ({', '.join(changed)}){delta}.{precision}"
    )


def worst_losses(result: BackendComparison) -> list[LostObjects]:
    """For each variant, the backend whose kernels lose the most objects; the variant that loses most comes first."""
    worst: dict[str, LostObjects] = {}
    for row in result.losses:
        if row.name not in worst or row.by_kernels > worst[row.name].by_kernels:
            worst[row.name] = row
    return sorted(worst.values(), key=lambda row: (-row.by_kernels, -row.lost))


def losses_sentence(row: LostObjects) -> str:
    """How many objects are lost by the file, and how many by the kernels."""
    if not row.lost:
        return f"{row.name} loses no object of the reference on any backend."
    return (
        f"{row.name} loses {plural(row.lost, 'object')} of the reference on {row.backend}: {row.by_file} because of"
        f" the file, {row.by_kernels} because of the kernels."
    )


def refusal_sentence(model: str, row: Refusal) -> str:
    """What a backend does not run of a model, and why."""
    if row.op_type is None:
        return f"{row.backend} does not run {model}: {row.reason}"
    order = "" if row.order is None else f" (operator {row.order})"
    return f"{row.backend} leaves {row.op_type}{order} of {model} to the CPU: {row.reason}."


def refused_by_order(result: BackendComparison, model: str) -> dict[int, str]:
    """Operator index -> which backends do not run it, and why. Operators that a report does not identify are left out.

    model: name of a model in the result.
    """
    texts: dict[int, str] = {}
    for row in (row for one in result.models if one.name == model for row in one.refused):
        if row.order is not None:
            sentence = f"{row.backend} leaves it to the CPU: {row.reason.rstrip('.')}."
            texts[row.order] = f"{texts[row.order]} {sentence}" if row.order in texts else sentence
    return texts


def refused_sentence(result: BackendComparison, model: str) -> str:
    """How many operators of a model each backend leaves to the CPU, with their numbers; empty if none."""
    orders: dict[str, list[int | None]] = {}
    for row in (row for one in result.models if one.name == model for row in one.refused):
        if row.op_type is not None:
            orders.setdefault(row.backend, []).append(row.order)
    sentences = []
    for backend, rows in orders.items():
        orders_known = sorted(order for order in rows if order is not None)
        numbers = f" ({orders_text(orders_known)})" if orders_known else ""
        sentences.append(f"{backend} leaves {plural(len(rows), 'operator')} to the CPU{numbers}.")
    return " ".join(sentences)


def first_difference_sentence(model: str, row: FirstDifference) -> str:
    """The first operator that differs, and by how much."""
    kind = "differ beyond rounding" if row.beyond_rounding else "differ"
    if row.order is None or row.op_type is None:
        beyond = " beyond rounding" if row.beyond_rounding else ""
        return f"{model}: given the same inputs, no operator of {row.backend} differs from xnnpack{beyond}."
    size = _size(row.steps, row.max_abs)
    where = operator_name(row.order, row.op_type)
    return f"{model}: xnnpack and {row.backend} first {kind} in {where}, by up to {size}."
