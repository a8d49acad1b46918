"""Convert arrays of other tools to the types and shapes of the model's tensors.

An output is converted to its type in the model. The values of a tensor inside the network become integers of the file
if they are multiples of the tensor's scale; otherwise they stay float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from qviz.errors import RecordingError
from qviz.features.backends.inner import InnerTensor, by_name, by_shape
from qviz.features.backends.recording import TensorFacts
from qviz.formatting import listed, plural
from qviz.limits import limits

ON_A_STEP = 0.01
"""A real value that is at most this far from an integer's value, in steps, becomes that integer."""


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """Return the values unchanged. Raises RecordingError if one is NaN or infinite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise RecordingError(f"holds NaN or infinite values in {name[:80]!r}; no usable output was computed.")
    return values


def typed(name: str, values: np.ndarray, facts: TensorFacts) -> tuple[np.ndarray, str]:
    """(values in the type of the output, a remark if the conversion changes them). Raises RecordingError."""
    finite(name, values)
    dtype = np.dtype(facts.dtype)
    if values.dtype == dtype:
        return values, ""
    if values.dtype.kind == "f" and dtype.kind == "f":
        return values.astype(dtype), f"{facts.name[:80]} was {values.dtype.name} and is read as {dtype.name}."
    if values.dtype.kind == "f" and facts.scale is not None and facts.zero_point is not None:
        remark = f"{facts.name[:80]} was {values.dtype.name} and is rounded to the steps of {dtype.name}."
        return _in_steps(values, facts)[1], remark
    raise _other_type(name, values, facts, "output")


def real_or_typed(name: str, values: np.ndarray, facts: TensorFacts) -> np.ndarray:
    """The values of an inner tensor in its type in the file or, if they are not on its steps, as float32.

    Raises RecordingError.
    """
    finite(name, values)
    if values.dtype == np.dtype(facts.dtype):
        return values
    if values.dtype.kind != "f":
        raise _other_type(name, values, facts, "tensor")
    if facts.scale is not None:
        steps, integers = _in_steps(values, facts)
        if np.abs(steps - integers).max(initial=0) <= ON_A_STEP:
            return integers
    return values.astype(np.float32)


def _in_steps(values: np.ndarray, facts: TensorFacts) -> tuple[np.ndarray, np.ndarray]:
    """(the values in steps of the tensor's scale, the nearest integers of its type)."""
    bounds = np.iinfo(facts.dtype)
    steps = values / np.float64(facts.scale or 1.0) + (facts.zero_point or 0)
    return steps, np.clip(np.round(steps), bounds.min, bounds.max).astype(facts.dtype)


def _other_type(name: str, values: np.ndarray, facts: TensorFacts, what: str) -> RecordingError:
    return RecordingError(f"holds {values.dtype.name} in {name[:80]!r}; {what} {facts.name[:80]!r} is {facts.dtype}.")


def shaped(name: str, values: np.ndarray, facts: TensorFacts, images: int) -> np.ndarray:
    """The values of all images, reshaped to (images, *shape). Dimensions of 1 may be added or missing (ST's tools)."""
    if values.ndim == 0 or values.shape[0] != images:
        count = values.shape[0] if values.ndim else 1
        raise RecordingError(
            f"has {plural(count, 'image')} in {name[:80]!r}, but {images} {'was' if images == 1 else 'were'} packed."
        )
    sides = [side for side in values.shape[1:] if side != 1]
    expected = [side for side in facts.shape if side != 1]
    if -1 in expected and len(sides) == len(expected):
        expected = [side if side != -1 else sides[axis] for axis, side in enumerate(expected)]
    if sides != expected:
        raise RecordingError(
            f"has the shape {list(values.shape[1:])} for each image in {name[:80]!r}; the model gives"
            f" {list(facts.shape)}."
        )
    shape = facts.shape if -1 not in facts.shape else _opened(facts.shape, sides)
    return values.reshape(images, *shape)


def _opened(shape: Sequence[int], sides: Sequence[int]) -> tuple[int, ...]:
    """The shape with its open dimensions filled in. sides: the dimensions of the array that are not 1."""
    rest = iter(sides)
    return tuple(1 if side == 1 else next(rest) for side in shape)


@dataclass(frozen=True, slots=True, eq=False)
class InnerArrays:
    """The tensors inside a network that a tool recorded.

    Attributes:
        arrays: Index of the tensor in the model -> (images, *shape) values.
        matched_by_shape: Indices of the tensors that were recognised by their shape.
        ignored: Names of arrays that belong to no tensor.
    """

    arrays: dict[int, np.ndarray] = field(default_factory=dict)
    matched_by_shape: tuple[int, ...] = ()
    ignored: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """A sentence on what is ignored, if anything is."""
        if not self.ignored:
            return ()
        names = listed([name[:60] for name in self.ignored[:4]]) + (", …" if len(self.ignored) > 4 else "")
        verb = "belongs" if len(self.ignored) == 1 else "belong"
        return (f"{plural(len(self.ignored), 'array')} {verb} to no tensor of the model, ignored: {names}.",)


def inner_arrays(
    shapes: Mapping[str, Sequence[int] | None],
    read: Callable[[str, TensorFacts], np.ndarray],
    tensors: Sequence[InnerTensor],
    images: int,
) -> InnerArrays:
    """The arrays that belong to tensors inside the network. Raises RecordingError if one does not fit its tensor.

    Args:
        shapes: Name of each array that is not an output -> its shape for one image; None if the file does not say.
        read: Takes the name of an array and the tensor that it belongs to; returns its values for all images.
    """
    matched = by_name(shapes, tensors)
    used = {row.index for row in matched.values()}
    rest = {name: shape for name, shape in shapes.items() if name not in matched and shape is not None}
    shape_matched = by_shape(rest, [row for row in tensors if row.index not in used])
    arrays, size, max_bytes = {}, 0, limits().archive_mb << 20
    for name, row in (matched | shape_matched).items():
        values = shaped(name, real_or_typed(name, read(name, row.facts), row.facts), row.facts, images)
        size += values.nbytes
        if size > max_bytes:
            raise RecordingError(f"holds more than {max_bytes >> 20:,} MB of inner tensors; record fewer (archive_mb).")
        arrays[row.index] = values
    ignored = tuple(name for name in shapes if name not in matched and name not in shape_matched)
    return InnerArrays(arrays, tuple(row.index for row in shape_matched.values()), ignored)
