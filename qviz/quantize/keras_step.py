"""One operator of a .tflite file as TensorFlow computes it for any number of images.

    compute(tf, step, inputs) -> the outputs

inputs    tensors in the operator's order: activations [batch, ...], float constants as the file keeps them (CONV_2D
          [out, h, w, in], DEPTHWISE_CONV_2D [1, h, w, out], FULLY_CONNECTED [out, in]); integer constants are numpy
          arrays; an absent one is None
batch     files are written for one image, training takes several: what would move the batch or mix it with something
          else is refused (`Refused`, with the reason)
Source of each operator's meaning: tensorflow/lite/kernels and the converter's legalisation patterns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class Refused(Exception):
    """An operator in a form that cannot be trained; the message says what is in the way."""

    _keras_call_info_injected = True  # else Keras wraps the sentence in a page about layers


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One operator: its kind, its options by the schema's names, and its outputs' shapes for one image.

    batched: of each input, whether it was computed from the image, and so begins with the batch.
    """

    kind: str
    options: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]
    batched: tuple[bool, ...]

    def option(self, name: str, default: Any = None) -> Any:
        return self.options.get(name, default)


Compute = Callable[[Any, Step, Sequence[Any]], Any]


def activated(tf: Any, step: Step, values: Any) -> Any:
    """Through the activation that is fused into the operator."""
    name = step.option("fusedActivationFunction", "NONE")
    if name == "NONE":
        return values
    if name not in _ACTIVATIONS:
        raise Refused(f"its fused activation {name} is not known")
    return _ACTIVATIONS[name](tf, values)


_ACTIVATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "RELU": lambda tf, x: tf.nn.relu(x),
    "RELU6": lambda tf, x: tf.nn.relu6(x),
    "RELU_N1_TO_1": lambda tf, x: tf.clip_by_value(x, -1.0, 1.0),
    "TANH": lambda tf, x: tf.tanh(x),
}


def batch_first(shape: Sequence[int]) -> list[int]:
    """The output's shape for any number of images. Raises Refused where the batch is not its first side."""
    if not shape or shape[0] != 1:
        raise Refused(f"its output {list(shape)} does not begin with the batch")
    return [-1, *shape[1:]]


def axis_of(axis: int, rank: int) -> int:
    """Counted from the front. Raises Refused for the batch's."""
    found = axis + rank if axis < 0 else axis
    if found == 0:
        raise Refused("it works along the batch")
    return found
