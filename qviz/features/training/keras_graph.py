"""A float32 .tflite file as a functional tf_keras model: one layer an operator, any number of images a batch.

The model reads the network's image and gives the tensors asked for. What an operator reads beside activations comes
from `parts`: the file's own constants (the float network), or trained ones; so does what is done to each activation.
tf_keras is imported inside functions, in worker processes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from qviz.errors import QuantizeError
from qviz.features.training.keras_operators import OPERATORS, Refused, Step
from qviz.structures import Graph, Op
from qviz.tflite.constants import stored_constant
from qviz.tflite.constants import operator_options


class Parts(Protocol):
    """What a network is made of beside its operators."""

    def constant(self, op: Op, position: int, values: np.ndarray) -> Callable[[], Any]:
        """Gives the constant that an operator reads at that place; `values` is the file's."""
        ...

    def activation(self, index: int) -> Callable[[Any], Any] | None:
        """What is done to a tensor once it is computed, or nothing."""
        ...


class AsTheFile:
    """The float network itself."""

    def constant(self, op: Op, position: int, values: np.ndarray) -> Callable[[], Any]:
        return lambda: values

    def activation(self, index: int) -> Callable[[Any], Any] | None:
        return None


def needed(graph: Graph, ends: Iterable[int]) -> list[Op]:
    """The operators that the tensors `ends` depend on, in the file's order."""
    wanted, found = set(ends), []
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            found.append(op)
            wanted |= {index for index in op.inputs if index is not None}
    return found[::-1]


def check_trainable(graph: Graph, ends: Iterable[int]) -> None:
    """Raises QuantizeError that names every operator which training does not know."""
    unknown = sorted({op.kind for op in needed(graph, ends)} - OPERATORS.keys())
    if unknown:
        raise QuantizeError(
            f"Training does not know the operators {', '.join(unknown)}, so this network cannot be trained. Known are"
            f" {', '.join(sorted(OPERATORS))}."
        )
    if len(graph.inputs) != 1 or graph.input_tensors()[0].dtype != "float32":
        raise QuantizeError("Training needs a network that reads one float32 image; quantized files are not trained.")


def functional(tf: Any, data: bytes, graph: Graph, ends: Sequence[int], parts: Parts) -> Any:
    """A tf_keras.Model from the image to the tensors `ends`. Raises QuantizeError."""
    import tf_keras

    check_trainable(graph, ends)
    (image,) = graph.input_tensors()
    options = operator_options(data)
    start = tf_keras.Input(image.shape[1:], name="image")
    tensors: dict[int, Any] = {image.index: _done(parts.activation(image.index), start)}
    for op in needed(graph, ends):
        shapes = tuple(graph.tensors[index].shape for index in op.outputs)
        step = Step(op.kind, options[op.order], shapes, tuple(index in tensors for index in op.inputs))
        try:
            tensors |= _applied(tf, data, graph, op, step, parts, tensors)
        except Refused as error:
            raise QuantizeError(f"Operator {op.order}, {op.kind}, cannot be trained: {error}.") from error
    return tf_keras.Model(start, [tensors[index] for index in ends])


def outputs(model: Any, images: Any) -> list[Any]:
    """What a `functional` model gives, a list also where it is one tensor alone."""
    found = model(images)
    return list(found) if isinstance(found, (list, tuple)) else [found]


def _done(function: Callable[[Any], Any] | None, tensor: Any) -> Any:
    return tensor if function is None else _layer_class()("input", function, getattr(function, "variables", []))(tensor)


def _applied(
    tf: Any, data: bytes, graph: Graph, op: Op, step: Step, parts: Parts, tensors: dict[int, Any]
) -> dict[int, Any]:
    """What the operator writes: tensor index -> Keras tensor."""
    read = [index for index in op.inputs if index in tensors]
    constants = _constants(data, graph, op, parts, tensors)
    after = [parts.activation(index) for index in op.outputs]

    def compute(*given: Any) -> Any:
        activations = iter(given)
        inputs = [next(activations) if index in tensors else constants[i]() for i, index in enumerate(op.inputs)]
        found = _computed(tf, step, inputs)
        several = list(found) if isinstance(found, (list, tuple)) else [found]
        several = [value if do is None else do(value) for value, do in zip(several, after, strict=True)]
        return several if len(several) > 1 else several[0]

    variables = [variable for part in (*constants.values(), *after) for variable in getattr(part, "variables", ())]
    name = f"{op.order}_{re.sub(r'[^A-Za-z0-9]', '_', op.kind)}"
    written = _layer_class()(name, compute, variables)(*(tensors[index] for index in read))
    return dict(zip(op.outputs, written if isinstance(written, list) else [written], strict=True))


def _computed(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    """Raises Refused."""
    try:
        return OPERATORS[step.kind](tf, step, inputs)
    except (ValueError, TypeError, KeyError, IndexError, tf.errors.InvalidArgumentError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Refused(f"it cannot be rebuilt ({said})") from error


def _constants(
    data: bytes, graph: Graph, op: Op, parts: Parts, computed: dict[int, Any]
) -> dict[int, Callable[[], Any]]:
    """place among the inputs -> the constant read there."""
    found: dict[int, Callable[[], Any]] = {}
    for position, index in enumerate(op.inputs):
        if index is None:
            found[position] = _absent
        elif index not in computed:
            tensor = graph.tensors[index]
            if not tensor.constant:
                raise Refused(f"its input {tensor.name!r} is neither computed from the image nor a constant")
            values = stored_constant(data, tensor)
            is_float = tensor.dtype == "float32"
            found[position] = parts.constant(op, position, values) if is_float else _fixed(values)
    return found


def _absent() -> None:
    return None


def _fixed(values: np.ndarray) -> Callable[[], Any]:
    return lambda: values


@lru_cache(maxsize=1)
def _layer_class() -> Any:
    """The layer of an operator; a class needs tf_keras, which is imported late."""
    import tensorflow as tf
    import tf_keras

    class Operator(tf_keras.layers.Layer):  # type: ignore[misc]
        """Computes what it was made with and owns the variables behind it."""

        def __init__(self, name: str, compute: Callable[..., Any], owned: Sequence[Any]) -> None:
            super().__init__(name=name)
            self.owned = list(owned)
            self.compute = compute

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def call(self, *inputs: Any, **_: Any) -> Any:
            return self.compute(*inputs)

    return Operator
