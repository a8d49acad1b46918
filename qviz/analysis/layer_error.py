"""What each layer of a variant adds to the error, and what has gathered by there.

cumulative   both networks run on the same image; a tensor of the variant against its partner in the reference
local        one operator of the variant alone, fed the reference's activations (quantized with its own input scales),
             against the reference's output. With `local_inputs="variant"` both operators are fed the variant's own
             tensors, which is what TensorFlow's QuantizationDebugger calls the layer's error.
fall_db      cumulative SQNR before the operator (its worst input) minus after it: what it lost or amplified
clipping, rounding   of the reference's activation against the variant's range and step of that tensor

QUANTIZE operators count as layers. Energies are pooled over images; nothing is kept but sums, so memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from qviz.analysis.layer_sums import LayerFact, LayerSums, facts_job, layer_sums_job
from qviz.analysis.models import LoadedModel
from qviz.engine import Engine
from qviz.errors import ImageError, ModelError
from qviz.progress import OnProgress, silent
from qviz.structures import EncodedImage

if TYPE_CHECKING:
    import pandas as pd

LOCAL_INPUTS = ("reference", "variant")


@dataclass(frozen=True, slots=True)
class LayerError:
    """One operator of the variant; units as in `tensor_error`. None: nothing to compare, or no error at all."""

    order: int
    tensor: str
    op_kind: str
    elements: int
    local_mse: float | None
    local_sqnr_db: float | None
    local_rmse_over_scale: float | None
    cumulative_mse: float | None
    cumulative_sqnr_db: float | None
    fall_db: float | None
    cumulative_cosine: float | None
    max_abs: float | None
    clipped_share: float | None
    clipping_mse: float | None
    rounding_mse: float | None
    weight_sqnr_db: float | None
    seconds: float
    worst_image: str


@dataclass(frozen=True, slots=True, eq=False)
class LayerErrors:
    """Every layer of one variant, in the file's order."""

    reference: str
    variant: str
    local_inputs: str
    images: int
    paired_share: float
    pairs: tuple[tuple[int, int], ...]
    unpaired: tuple[int, ...]
    layers: tuple[LayerError, ...]
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As `qviz layers --json` prints it."""
        return {
            "reference": self.reference,
            "variant": self.variant,
            "local_inputs": self.local_inputs,
            "paired_share": self.paired_share,
            "pairs": [{"order": order, "reference_order": other} for order, other in self.pairs],
            "unpaired": list(self.unpaired),
            "images": self.images,
            "layers": [asdict(layer) for layer in self.layers],
            "skipped": list(self.skipped),
        }

    def to_frame(self) -> pd.DataFrame:
        """A row a layer."""
        import pandas as pd

        return pd.DataFrame([asdict(layer) for layer in self.layers], columns=list(LayerError.__slots__))


def layer_errors(
    engine: Engine,
    reference: LoadedModel,
    variant: LoadedModel,
    images: Sequence[EncodedImage],
    local_inputs: str = "reference",
    on_progress: OnProgress = silent,
) -> LayerErrors:
    """Every layer over these images. Raises ModelError where one of the two has no layers, ImageError, WorkerError."""
    for model in (reference, variant):
        if not model.layers_available:
            raise ModelError(f"{model.name} is run by TensorFlow and has no layers to read; a .tflite file is needed.")
    models = (reference.blob, variant.blob, (reference.settings, variant.settings))
    facts = engine.submit(facts_job, *models)
    jobs = [engine.submit(layer_sums_job, *models, image, local_inputs) for image in images]
    sums: dict[int, LayerSums] = {}
    skipped: list[str] = []
    for done, job in enumerate(jobs, start=1):
        try:
            _merge(sums, job.result())
        except ImageError as error:
            skipped.append(str(error))
        on_progress(done, len(jobs))
    if len(skipped) == len(jobs):
        raise ImageError(" ".join(skipped[:3]) or "No image was given; layers are compared on images.")
    known = facts.result()
    layers = tuple(_layer(row, sums) for row in known.layers)
    counted = len(jobs) - len(skipped)
    return LayerErrors(
        reference.name, variant.name, local_inputs, counted, known.paired_share, known.pairs, known.unpaired, layers,
        tuple(skipped),
    )  # fmt: skip


def _merge(total: dict[int, LayerSums], part: Mapping[int, LayerSums]) -> None:
    for order, sums in part.items():
        total.setdefault(order, LayerSums()).merge(sums)


def _layer(fact: LayerFact, sums: Mapping[int, LayerSums]) -> LayerError:
    own = sums.get(fact.order, LayerSums())
    after = own.cumulative.sqnr_db
    before = _worst(sums[source].cumulative.sqnr_db for source in fact.sources if source in sums)
    return LayerError(
        order=fact.order,
        tensor=fact.tensor,
        op_kind=fact.op_kind,
        elements=own.cumulative.count // max(1, own.cumulative.images),
        local_mse=own.local.mse,
        local_sqnr_db=own.local.sqnr_db,
        local_rmse_over_scale=own.local.rmse_over_scale(fact.scale),
        cumulative_mse=own.cumulative.mse,
        cumulative_sqnr_db=after,
        fall_db=before - after if before is not None and after is not None else None,
        cumulative_cosine=own.cumulative.cosine,
        max_abs=own.cumulative.max_abs if own.cumulative.count else None,
        clipped_share=own.ranges.share(),
        clipping_mse=own.ranges.mean(own.ranges.clipping),
        rounding_mse=own.ranges.mean(own.ranges.rounding),
        weight_sqnr_db=fact.weight_sqnr_db,
        seconds=own.seconds,
        worst_image=own.cumulative.worst_image,
    )


def _worst(values: Iterable[float | None]) -> float | None:
    """The lowest SQNR of those that are known (None: no error came in)."""
    return min((value for value in values if value is not None), default=None)
