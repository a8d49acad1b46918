"""A float32 .tflite file as a functional tf_keras model: one layer per operator, any number of images per batch.

The model maps the input image to chosen tensors. `FakeQuantized` supplies trained constants in place of those of the
file, and functions that quantize activations. tf_keras is imported only inside functions, which run in workers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from qviz.errors import QuantizeError
from qviz.features.training.fake_quant import FakeQuantized
from qviz.features.training.keras_operators import OPERATORS, Refused, Step
from qviz.structures import Graph, Op
from qviz.tflite.constants import operator_options, stored_constant


def needed(graph: Graph, ends: Iterable[int]) -> list[Op]:
    """The operators that the tensors `ends` depend on, in the file's order."""
    tensors, ops = set(ends), []
    for op in reversed(graph.ops):
        if tensors & set(op.outputs):
            ops.append(op)
            tensors |= {index for index in op.inputs if index is not None}
    return ops[::-1]


def check_trainable(graph: Graph, ends: Iterable[int]) -> None:
    """Raise QuantizeError naming all operators that training does not support, if there are any."""
    unknown = sorted({op.kind for op in needed(graph, ends)} - OPERATORS.keys())
    if unknown:
        raise QuantizeError(
            f"Training does not support the operators {', '.join(unknown)}, so this network cannot be trained."
            f" Supported: {', '.join(sorted(OPERATORS))}."
        )
    if len(graph.inputs) != 1 or graph.input_tensors()[0].dtype != "float32":
        raise QuantizeError("Training needs a network that reads one float32 image; quantized files are not trained.")


def functional(tf: Any, data: bytes, graph: Graph, ends: Sequence[int], parts: FakeQuantized | None = None) -> Any:
    """A tf_keras.Model from the image to the tensors `ends`.

    parts: the trained parts; None for the float network. Raises QuantizeError if an operator cannot be trained.
    """
    import tf_keras

    check_trainable(graph, ends)
    (image,) = graph.input_tensors()
    options = operator_options(data)
    start = tf_keras.Input(image.shape[1:], name="image")
    applied = None if parts is None else parts.activation(image.index)
    read = start if applied is None else _layer_class()("input", applied, getattr(applied, "variables", ()))(start)
    tensors: dict[int, Any] = {image.index: read}
    for op in needed(graph, ends):
        shapes = tuple(graph.tensors[index].shape for index in op.outputs)
        step = Step(op.kind, options[op.order], shapes, tuple(index in tensors for index in op.inputs))
        try:
            tensors |= _applied(tf, data, graph, op, step, parts, tensors)
        except Refused as error:
            raise QuantizeError(f"Operator {op.order}, {op.kind}, cannot be trained: {error}.") from error
    return tf_keras.Model(start, [tensors[index] for index in ends])


def outputs(model: Any, images: Any) -> list[Any]:
    """The outputs of a `functional` model, always as a list."""
    values = model(images)
    return list(values) if isinstance(values, (list, tuple)) else [values]


def _applied(
    tf: Any, data: bytes, graph: Graph, op: Op, step: Step, parts: FakeQuantized | None, tensors: dict[int, Any]
) -> dict[int, Any]:
    """Outputs of the operator: tensor index -> Keras tensor."""
    read = [index for index in op.inputs if index in tensors]
    constants = _constants(data, graph, op, parts, tensors)
    after = [None if parts is None else parts.activation(index) for index in op.outputs]

    def compute(*given: Any) -> Any:
        activations = iter(given)
        fixed = [constant() if callable(constant) else constant for constant in constants]
        inputs = [next(activations) if index in tensors else fixed[i] for i, index in enumerate(op.inputs)]
        values = _computed(tf, step, inputs)
        several = list(values) if isinstance(values, (list, tuple)) else [values]
        several = [value if apply is None else apply(value) for value, apply in zip(several, after, strict=True)]
        return several if len(several) > 1 else several[0]

    variables = [variable for part in (*constants, *after) for variable in getattr(part, "variables", ())]
    name = f"{op.order}_{re.sub(r'[^A-Za-z0-9]', '_', op.kind)}"
    written = _layer_class()(name, compute, variables)(*(tensors[index] for index in read))
    return dict(zip(op.outputs, written if isinstance(written, list) else [written], strict=True))


def _computed(tf: Any, step: Step, inputs: Sequence[Any]) -> Any:
    """The outputs of the operator's function for these inputs. Raises Refused if the operator cannot be rebuilt."""
    try:
        return OPERATORS[step.kind](tf, step, inputs)
    except (ValueError, TypeError, KeyError, IndexError, tf.errors.InvalidArgumentError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise Refused(f"it cannot be rebuilt ({reason})") from error


def _constants(data: bytes, graph: Graph, op: Op, parts: FakeQuantized | None, computed: dict[int, Any]) -> list[Any]:
    """What the operator reads at each input: None for an activation or an absent input, an array, or a trained part."""
    constants: list[Any] = []
    for position, index in enumerate(op.inputs):
        values: Any = None
        if index is not None and index not in computed:
            tensor = graph.tensors[index]
            if not tensor.constant:
                raise Refused(f"its input {tensor.name!r} is neither computed from the image nor a constant")
            values = stored_constant(data, tensor)
            if parts is not None and tensor.dtype == "float32":
                values = parts.constant(op, position, values)
        constants.append(values)
    return constants


@lru_cache(maxsize=1)
def _layer_class() -> Any:
    """The layer class of an operator. It is defined inside a function because it needs tf_keras."""
    import tensorflow as tf
    import tf_keras

    class Operator(tf_keras.layers.Layer):  # type: ignore[misc]
        """Calls `compute` and owns the variables that it uses."""

        def __init__(self, name: str, compute: Callable[..., Any], owned: Sequence[Any]) -> None:
            super().__init__(name=name)
            self.owned = list(owned)
            self.compute = compute

        @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]
        def call(self, *inputs: Any, **_: Any) -> Any:
            return self.compute(*inputs)

    return Operator
