"""A sentence that describes a built variant."""

from __future__ import annotations

from qviz import formatting
from qviz.features.building.result import Built


def verdict(built: Built) -> str:
    """`int8, 5.46 MB, built by litert-quantizer in 0.8 s with ranges from 60 images. 10 tensors stayed in float.`"""
    images = f" with ranges from {formatting.plural(built.ranges.images, 'image')}" if built.ranges else ""
    size = formatting.megabytes(built.size)
    sentences = [f"{built.scheme}, {size}, built by {built.builder} in {built.seconds:.1f} s{images}."]
    if built.stayed_float:
        sentences.append(f"{formatting.plural(len(built.stayed_float), 'tensor')} stayed in float.")
    if built.wide:
        sentences.append(f"{formatting.plural(len(built.wide), 'operator')} with 16-bit activations.")
    return " ".join([*sentences, *built.changes, *filter(None, [built.remark])])
