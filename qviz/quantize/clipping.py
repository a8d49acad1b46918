"""What a range would clip: the share of each activation's values that lie outside of it, image by image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qviz.engine import Blob
from qviz.quantize.calibration import activations, network_input, watched
from qviz.structures import EncodedImage, Settings


def clipped_job(
    model: Blob, settings: Settings, images: Sequence[EncodedImage], lows: np.ndarray, highs: np.ndarray
) -> np.ndarray:
    """In a worker: (images, tensors) shares in [0, 1]. lows, highs: (images, tensors), as `ImageRanges` has them.

    A range whose end is NaN clips nothing. Raises ImageError where an image cannot be read.
    """
    graph, runner = watched(model)
    shares = np.zeros(lows.shape)
    for row, image in enumerate(images):
        runner.run([network_input(image, settings, graph.input_tensors()[0])])
        for column, tensor in enumerate(activations(graph)):
            values = runner.tensor(tensor.index)
            outside = (values < lows[row, column]) | (values > highs[row, column])
            shares[row, column] = outside.mean() if values.size else 0.0
    return shares
