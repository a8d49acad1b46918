"""The operators that training knows, written out: name in TensorFlow Lite's schema -> what it computes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qviz.quantize.keras_layers import LAYERS
from qviz.quantize.keras_shapes import SHAPES
from qviz.quantize.keras_step import Compute, Step, activated


def _two(name: str) -> Compute:
    def compute(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
        return activated(tf, step, getattr(tf, name)(*_aligned(tf, step, inputs)))

    return compute


def _aligned(tf: Any, step: Step, inputs: Sequence[Any]) -> list[Any]:
    """Sides are paired from behind: [batch, c] beside [batch, h, w, c] gets its sides of 1 behind the batch."""
    rank = max(len(values.shape) for values in inputs)
    found = []
    for values, batched in zip(inputs, step.batched, strict=True):
        missing = rank - len(values.shape)
        if batched and missing:
            values = tf.reshape(values, [-1, *[1] * missing, *values.shape[1:]])
        found.append(values)
    return found


def _one(function: Callable[[Any, Any], Any]) -> Compute:
    return lambda tf, step, inputs: function(tf, inputs[0])


def _sum(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return activated(tf, step, tf.add_n(list(inputs)))


def _softmax(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.nn.softmax(inputs[0] * step.option("beta", 1.0))


def _leaky(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.nn.leaky_relu(inputs[0], step.option("alpha"))


def _prelu(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    return tf.nn.relu(inputs[0]) + inputs[1] * tf.minimum(inputs[0], 0.0)


OPERATORS: dict[str, Compute] = {
    **LAYERS,
    **SHAPES,
    "ADD": _two("add"),
    "SUB": _two("subtract"),
    "MUL": _two("multiply"),
    "DIV": _two("divide"),
    "MAXIMUM": _two("maximum"),
    "MINIMUM": _two("minimum"),
    "ADD_N": _sum,
    "SOFTMAX": _softmax,
    "LOGISTIC": _one(lambda tf, x: tf.sigmoid(x)),
    "RELU": _one(lambda tf, x: tf.nn.relu(x)),
    "RELU6": _one(lambda tf, x: tf.nn.relu6(x)),
    "RELU_N1_TO_1": _one(lambda tf, x: tf.clip_by_value(x, -1.0, 1.0)),
    "LEAKY_RELU": _leaky,
    "PRELU": _prelu,
    "HARD_SWISH": _one(lambda tf, x: x * tf.nn.relu6(x + 3.0) / 6.0),
    "TANH": _one(lambda tf, x: tf.tanh(x)),
    "EXP": _one(lambda tf, x: tf.exp(x)),
    "LOG": _one(lambda tf, x: tf.math.log(x)),
    "SQRT": _one(lambda tf, x: tf.sqrt(x)),
    "RSQRT": _one(lambda tf, x: tf.math.rsqrt(x)),
    "SQUARE": _one(lambda tf, x: tf.square(x)),
    "NEG": _one(lambda tf, x: -x),
    "ABS": _one(lambda tf, x: tf.abs(x)),
}
