"""Decide whether a variant was made from the reference, from input size, classes, layers and weights.

Rounding to the nearest step changes a weight by at most half of its scale. The module `weights` compares the layers of
two files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from qviz.cache import LRUCache
from qviz.context import Context
from qviz.decoders import DECODERS
from qviz.errors import Cancelled, QvizError
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.warning import Warning
from qviz.features.inspection.weights import LayerWeights, WeightComparison, compare_weights_job
from qviz.formatting import plural
from qviz.tflite.inputs import input_size

OTHER_SHARE = 0.05
"""Up to this share of the compared layers may have other weights: a few layers may be paired wrongly although the
networks are the same."""


NOT_SAME = "not_same_network"
OWN_REFERENCE = "Give the float model that it was exported from."


@dataclass(frozen=True, slots=True)
class MadeFrom:
    """Whether a file was made from the reference.

    Attributes:
        value: `yes`, `no` or `unknown`.
        reason: One sentence.
        cure: What to change, or which file to give instead; empty if nothing is wrong.
        code: `not_same_network` or `other_input_size` if the value is `no`, else empty.
        largest_weight_error_steps: Largest error of a weight, in steps of the variant's weight scales, over the layers
            that are not rescaled, reversed or permuted; None if there are none.
    """

    value: str
    reason: str
    cure: str = ""
    code: str = ""
    largest_weight_error_steps: float | None = None

    JSON_NAMES: ClassVar = {"cure": "fix", "code": None}


def made_from(context: Context, reference: LoadedModel, variant: LoadedModel) -> MadeFrom:
    """Compare two loaded models; a worker compares the weights, once for each pair of files."""
    if not (reference.layers_available and variant.layers_available):
        return MadeFrom("unknown", "One of the models is not a .tflite file, so their weights are not compared.")
    if reference.digest == variant.digest:
        return MadeFrom("yes", "Both are the same file.", largest_weight_error_steps=0.0)
    key = reference.digest, variant.digest
    comparison = _COMPARISONS.find(key)
    if comparison is None:
        try:
            comparison = context.wait(context.engine.submit_urgent(compare_weights_job, reference.blob, variant.blob))
        except Cancelled:
            raise
        except QvizError as error:
            return MadeFrom("unknown", f"Their weights cannot be compared: {error}")
        _COMPARISONS.put(key, comparison)
    return judged(reference, variant, comparison)


_COMPARISONS = LRUCache[WeightComparison](256)


def origin_warnings(reference: LoadedModel, variant: LoadedModel, origin: MadeFrom) -> Iterator[Warning]:
    """A warning if the variant was not made from the reference."""
    if origin.value == "no":
        opening = f"{variant.name} was not made from {reference.name}. "
        message = f"{opening if origin.code == NOT_SAME else ''}{origin.reason}"
        yield Warning(origin.code, message, origin.cure, variant.name)


# ---- the answer ----------------------------------------------------------------------------------------------------


def judged(reference: LoadedModel, variant: LoadedModel, comparison: WeightComparison) -> MadeFrom:
    """The answer from input size, class count and weights."""
    steps = max(
        (layer.steps for layer in comparison.compared if layer.kind in ("rounded", "trained", "other")), default=None
    )
    weights = _weights_answer(comparison)
    answer = _architecture_answer(reference, variant, comparison) or weights
    if answer is not None and answer.value == "no":
        return replace(answer, largest_weight_error_steps=steps)
    first, second = (_input_size(model) for model in (reference, variant))
    if first != second:
        same = " Its weights are the reference's." if weights is not None else ""
        return MadeFrom(
            "no",
            f"{variant.name} reads images of {second[0]} x {second[1]} pixels, {reference.name} of {first[0]} x"
            f" {first[1]}, so quantization is not the only cause of differences.{same}",
            "Export both with the same input size.",
            "other_input_size",
            steps,
        )
    unknown = MadeFrom("unknown", "Too few layers hold weights that can be compared.")
    return replace(answer or unknown, largest_weight_error_steps=steps)


def _architecture_answer(reference: LoadedModel, variant: LoadedModel, comparison: WeightComparison) -> MadeFrom | None:
    """The answer `no` if the networks differ in their classes or layers, else None."""
    first, second = (_class_count(model) for model in (reference, variant))
    if first and second and first != second:
        reason = f"It has {plural(second, 'class')}, the reference {first}."
    elif comparison.layers >= 2 and not comparison.compared:
        layers = plural(comparison.layers, "layer")
        reason = f"None of the reference's {layers} with weights has a counterpart of the same shape in it."
    else:
        return None
    return MadeFrom("no", reason, OWN_REFERENCE, NOT_SAME)


def _weights_answer(comparison: WeightComparison) -> MadeFrom | None:
    """The answer from the weights alone; None if too few layers can be compared."""
    layers = comparison.compared
    if not comparison.enough:
        return None
    counts = Counter(layer.kind for layer in layers)
    return _other_weights(layers, counts) or MadeFrom("yes", _likeness(len(layers), counts))


def _other_weights(layers: Sequence[LayerWeights], counts: Counter[str]) -> MadeFrom | None:
    """The answer `no` if more than `OTHER_SHARE` of the layers have other weights, or any are reordered; else None."""
    of_all = f"of {plural(len(layers), 'compared layer')}"
    if counts["other"] > OTHER_SHARE * len(layers):
        worst = max(layer.steps for layer in layers if layer.kind == "other")
        reason = (
            f"The weights of {counts['other']} {of_all} are up to {worst:.3g} quantization steps away, where rounding"
            " moves a weight by half a step."
        )
        return MadeFrom("no", reason, OWN_REFERENCE, NOT_SAME)
    if counts["reversed"]:
        return MadeFrom(
            "no",
            "Its weights fit the reference's once the input channels are reversed: one takes RGB, the other BGR.",
            "Set channels to bgr for one of the two (channels in NAME.qviz.json), or give the float model that it was"
            " exported from.",
            NOT_SAME,
        )
    if counts["permuted"]:
        return MadeFrom(
            "no",
            f"The output channels of {counts['permuted']} {of_all} are in another order: its classes (or the sides of"
            " its boxes) are permuted.",
            "Give it a label file of its own (labels in NAME.qviz.json), or the float model that it was exported from.",
            NOT_SAME,
        )
    return None


def _likeness(layers: int, counts: Counter[str]) -> str:
    """A sentence about how the weights of a file that was made from the reference differ from the reference's."""
    of_all = f"of {plural(layers, 'compared layer')}"
    if counts["trained"] > layers / 2:
        return (
            f"{counts['trained']} {of_all} differ by a few steps of quantization, as after quantization-aware training."
        )
    if counts["rescaled"]:
        how = "rescaled by channel, as by folding or equalization"
        return f"The weights are the reference's, rounded, and in {counts['rescaled']} {of_all} also {how}."
    return f"The weights of all {plural(layers, 'compared layer')} are the reference's, rounded."


def _input_size(model: LoadedModel) -> tuple[int, int]:
    return input_size(model.inspection.graph.input_tensors()[0])


def _class_count(model: LoadedModel) -> int | None:
    decoder = DECODERS.get(model.inspection.decoder)
    return decoder.class_count(model.inspection.graph) if decoder else None
