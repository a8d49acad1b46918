"""Where layers stand along a network: places on one axis for variants whose files hold different operators."""

from __future__ import annotations

from qviz.analysis.layer_error import LayerErrors


def reference_places(errors: LayerErrors) -> dict[int, float]:
    """order -> the order of its partner in the reference.

    A layer without one (an inserted QUANTIZE) stands half a place behind the layer before it in the variant's file.
    """
    partners = dict(errors.pairs)
    found: dict[int, float] = {}
    last = -1
    for layer in errors.layers:
        last = partners.get(layer.order, last)
        found[layer.order] = last if layer.order in partners else last + 0.5
    return found
