"""Errors of layers in sentences. They give figures, not causes, which only experiments (`what_if`, `trace`) confirm."""

from __future__ import annotations

from collections.abc import Mapping

from qviz.features.inspection.text import headline
from qviz.features.layer_error import LayerErrors
from qviz.features.layer_error.metrics import LayerError
from qviz.features.layer_error.outliers import end_sqnr_db, from_exact, inherits, worst_layer, worst_variant
from qviz.features.what_if import WhatIf
from qviz.features.what_if.text import culprit_sentence
from qviz.formatting import plural


def verdict(result: LayerErrors) -> str:
    """Where the variant loses most."""
    return layers_verdict({result.variant: result})


def layers_verdict(results: Mapping[str, LayerErrors], experiments: Mapping[str, WhatIf] | None = None) -> str:
    """Sentences on the worst variant: the SQNR at its last layer, and the layer with the most notable figure.

    Args:
        experiments: Variant -> its experiment. For a variant with one, a sentence says what the experiment confirmed.
    """
    without = [errors for errors in results.values() if errors.paired_share == 0]
    if without:
        finding = _nothing_paired(without[0])
        return headline(without[0].warnings, finding)
    name = worst_variant(results)
    if name is None:
        warnings = [warning for errors in results.values() for warning in errors.warnings]
        return headline(warnings, "No layer differs from the reference.")
    errors = results[name]
    start = f"{name} keeps {end_sqnr_db(errors) or 0:.0f} dB at its last layer"
    worst = worst_layer(errors.layers)
    experiment = (experiments or {}).get(name)
    figures_alone = worst is None or errors.warnings or clears(experiment, worst)
    finding = f"{start}."
    if worst is not None and not figures_alone:
        more = _amplifies(worst) if experiment is None and not worst.clips else ""
        finding = f"{start}; {largest(errors, worst)}{more}."
    confirmed = f" {culprit_sentence(experiment)}".rstrip() if experiment is not None else ""
    return headline(errors.warnings, finding + confirmed)


def clears(experiment: WhatIf | None, layer: LayerError) -> bool:
    """Whether an experiment names other operators than this layer, so that the layer is not named."""
    named = None if experiment is None else experiment.named
    return named is not None and layer.order not in named.orders


def largest(errors: LayerErrors, layer: LayerError) -> str:
    """The most notable figure of a layer: its clipped share, its fall or its local error, as part of a sentence."""
    if layer.clips:
        return f"{layer_name(errors, layer)} clips {layer.clipped_share:.0%} of its values{over_images(errors)}"
    if from_exact(layer):
        name = layer_name(errors, layer)
        return f"the largest drop in SQNR, from a nearly exact input to {layer.cumulative_sqnr_db:.0f} dB, is at {name}"
    if (layer.fall_db or 0.0) > 0:
        return f"the largest drop in SQNR, {layer.fall_db:.0f} dB, is at {layer_name(errors, layer)}"
    return f"the largest local error is at {layer_name(errors, layer)}"


def _amplifies(layer: LayerError) -> str:
    """`, which alone keeps 22 dB and amplifies earlier error`; empty if the layer's own error is large."""
    if not inherits(layer) or layer.local_sqnr_db is None:
        return ""
    return f", which alone keeps {layer.local_sqnr_db:.0f} dB and amplifies earlier error"


def _nothing_paired(errors: LayerErrors) -> str:
    return (
        f"No operator of {errors.variant} has a partner of its shape in {errors.reference}, so their layers cannot be"
        " compared."
    )


def layer_name(errors: LayerErrors, layer: LayerError) -> str:
    """`the input quantizer`, or `operator 12 (CONV_2D)`."""
    if layer.order == errors.layers[0].order and layer.op_kind == "QUANTIZE":
        return "the input quantizer (QUANTIZE)"
    return layer.name


def over_images(errors: LayerErrors) -> str:
    """` on 8 images`: the number of images on which a share was measured, because shares differ between images."""
    return f" on {plural(errors.images, 'image')}"
