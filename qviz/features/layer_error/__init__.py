"""The error that each layer of a variant adds, and the error accumulated at its output.

cumulative   both networks run on the same image; a tensor of the variant is compared with its partner in the reference
local        one operator of the variant runs on the reference's activations, quantized with the variant's scales; its
             output is compared with the reference's. With `local_inputs="variant"`, both operators receive the
             variant's own tensors; TensorFlow's QuantizationDebugger calls this the error of a layer
clipping, rounding   the error that the range and the step of the variant's tensor alone add to the reference's
             activation

QUANTIZE operators count as layers. Sums of squares are added up over images, so memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, ClassVar

from qviz.context import Context
from qviz.errors import ModelError
from qviz.features.detection.inference import results_in_order
from qviz.features.detection.models import LoadedModel
from qviz.features.inspection.made_from import made_from, origin_warnings
from qviz.features.inspection.warning import Warning
from qviz.features.layer_error.metrics import LayerError
from qviz.features.layer_error.stream import LayerFact, LayerSums, facts_job, layer_sums_job
from qviz.features.layer_error.tensor_error import finite, unused_share
from qviz.result import Result
from qviz.structures import EncodedImage
from qviz.tflite.paired_networks import Pair

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LayerErrors(Result):
    """The errors of every layer of one variant, in the order of its file.

    Attributes:
        reference, variant: Names of the two models.
        images: Number of images measured.
        layers: One row per operator of the variant that has a partner.
        paired_share: Share of the reference's operators that have a partner in the variant.
        pairs: (operator of the variant, operator of the reference).
        unpaired: Operators of the variant without a partner.
        skipped: One sentence per image that cannot be read.
        warnings: Reasons why the two models cannot be compared: other weights, or another input size.
    """

    reference: str
    variant: str
    local_inputs: str
    images: int
    paired_share: float
    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]
    layers: tuple[LayerError, ...]
    skipped: tuple[str, ...] = ()
    warnings: tuple[Warning, ...] = ()

    ROWS: ClassVar = "layers"
    JSON_NAMES: ClassVar = {"pairs": None, "pairs_json": "pairs"}
    JSON_ALSO: ClassVar = ("pairs_json",)

    @property
    def pairs_json(self) -> list[dict[str, int]]:
        """The pairs as dictionaries for the JSON document."""
        return [{"order": order, "reference_order": partner} for order, partner in self.pairs]

    def to_frame(self) -> pd.DataFrame:
        """One row per layer; SQNR in dB, shares in [0, 1]."""
        import pandas as pd

        return pd.DataFrame(
            [asdict(layer) for layer in self.layers], columns=[field.name for field in fields(LayerError)]
        )


def layers(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Iterable[EncodedImage],
    *,
    local_inputs: str = "reference",
) -> LayerErrors:
    """Measure the error of every layer of a variant.

    Args:
        images: Images to measure on; only a few are in memory at a time. Those that cannot be read are skipped.
        local_inputs: `reference` or `variant`: the model whose activations each layer receives for its local error.

    Returns:
        One row per operator that has a partner in the reference.

    Raises:
        ImageError: No image can be read.
        ModelError: One of the models has no layers, because TensorFlow runs it.
        Cancelled: The context was cancelled.

    Example:
        >>> with qviz.open(FLOAT32, INT8, images=IMAGES) as session:
        ...     session.layers().to_frame()[["order", "op_kind", "cumulative_sqnr_db"]]
    """
    pair = pair_of(reference, variant)
    facts = context.engine.submit(facts_job, pair)

    def submit(image: EncodedImage) -> list[Future[dict[int, LayerSums]]]:
        return [context.engine.submit(layer_sums_job, pair, image, local_inputs)]

    sums: dict[int, LayerSums] = {}
    skipped: list[str] = []
    measured = 0
    no_image = "No image was given; layers are compared on images."
    for _, (parts,) in results_in_order(context, images, submit, skipped, no_image):
        measured += 1
        for order, part in parts.items():
            sums.setdefault(order, LayerSums()).merge(part)
    pairing = facts.result()
    return LayerErrors(
        reference=reference.name,
        variant=variant.name,
        local_inputs=local_inputs,
        images=measured,
        paired_share=pairing.paired_share,
        pairs=pairing.pairs,
        unpaired=pairing.unpaired,
        layers=tuple(_layer(fact, sums) for fact in pairing.layers),
        skipped=tuple(skipped),
        warnings=origin_of(context, reference, variant),
    )


def pair_of(reference: LoadedModel, variant: LoadedModel) -> Pair:
    """The two models as they are sent to a worker. Raises ModelError if one has no layers, see `require_layers`."""
    require_layers(reference, variant)
    return Pair(reference.blob, variant.blob, (reference.settings, variant.settings))


def origin_of(context: Context, reference: LoadedModel, variant: LoadedModel) -> tuple[Warning, ...]:
    """Warnings that say why the two cannot be compared layer by layer: other weights, or another input size.

    Empty if they can be compared.
    """
    return tuple(origin_warnings(reference, variant, made_from(context, reference, variant)))


def require_layers(*models: LoadedModel) -> None:
    """Raise ModelError if a model has no layers, because TensorFlow runs it or it is a file of recorded results."""
    for model in models:
        if model.no_layers:
            raise ModelError(model.no_layers)


def _layer(fact: LayerFact, sums: Mapping[int, LayerSums]) -> LayerError:
    sums_of_layer = sums.get(fact.order, LayerSums())
    after = sums_of_layer.cumulative.sqnr_db
    inputs = [sums[source].cumulative.sqnr_db for source in fact.sources if source in sums]
    before = min((value for value in inputs if value is not None), default=None)
    column = None if sums_of_layer.columns is None else sums_of_layer.columns.worst
    return LayerError(
        order=fact.order,
        tensor=fact.tensor,
        op_kind=fact.op_kind,
        elements=sums_of_layer.cumulative.count // max(1, sums_of_layer.cumulative.images),
        local_mse=sums_of_layer.local.mse,
        local_sqnr_db=sums_of_layer.local.sqnr_db,
        local_rmse_over_scale=sums_of_layer.local.rmse_over_scale(fact.scale),
        cumulative_mse=sums_of_layer.cumulative.mse,
        cumulative_sqnr_db=after,
        fall_db=before - after if before is not None and after is not None else None,
        cumulative_cosine=sums_of_layer.cumulative.cosine,
        max_abs=finite(sums_of_layer.cumulative.max_abs) if sums_of_layer.cumulative.count else None,
        clipped_share=sums_of_layer.ranges.share(),
        unused_share=_unused(sums_of_layer, fact.value_range),
        clipping_mse=sums_of_layer.ranges.mean(sums_of_layer.ranges.clipping),
        rounding_mse=sums_of_layer.ranges.mean(sums_of_layer.ranges.rounding),
        weight_sqnr_db=fact.weight_sqnr_db,
        seconds=sums_of_layer.seconds,
        worst_image=sums_of_layer.cumulative.worst_image,
        reference_order=fact.reference_order,
        weight_channel=None if fact.weight_channel is None else fact.weight_channel[0],
        weight_channel_sqnr_db=None if fact.weight_channel is None else fact.weight_channel[1],
        column=None if column is None else column[0],
        column_sqnr_db=None if column is None else column[1],
        fixed_range=fact.fixed_range,
    )


def _unused(sums: LayerSums, value_range: tuple[float, float] | None) -> float | None:
    if value_range is None or not sums.ranges.count or value_range[1] <= value_range[0]:
        return None
    return unused_share((sums.ranges.low, sums.ranges.high), value_range)
