"""The tensors of one run in which some operators of a variant are in float."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from qviz.structures import Tensor
from qviz.tflite.paired_networks import as_real, as_variant


class MixedValues:
    """The tensors of a run that differ from the variant's own run. They are quantized when a quantized operator reads
    them.

    Attributes:
        exact: FP32's run. Tensors with exactly FP32's values are looked up in it when they are read.
    """

    def __init__(self, tensors: tuple[Tensor, ...], variant_tensors: Mapping[int, np.ndarray]) -> None:
        self._tensors, self.variant_tensors = tensors, variant_tensors
        self.exact: Mapping[int, np.ndarray] | None = None
        self._typed: dict[int, np.ndarray] = {}
        self._real: dict[int, np.ndarray] = {}
        self._partner: dict[int, int] = {}
        self._changed: set[int] = set()

    def changed(self, tensor: int) -> bool:
        return tensor in self._typed or tensor in self._real or tensor in self._changed

    def has(self, tensor: int) -> bool:
        return self.changed(tensor) or tensor in self.variant_tensors

    def all_exact(self, pairs: Iterable[tuple[int, int]]) -> bool:
        """Whether each tensor has exactly the values of its partner in FP32. pairs: (partner, tensor)."""
        return all(self._partner.get(tensor) == partner for partner, tensor in pairs)

    def put(self, written: Mapping[int, np.ndarray]) -> None:
        self._typed |= written

    def put_real(self, tensor: int, value: np.ndarray) -> None:
        self._real[tensor] = fitted(value, self._tensors[tensor], typed=False)

    def put_exact(self, tensor: int, partner: int, changed: bool = True) -> None:
        """Note that a tensor has FP32's values. changed: whether these may differ from the variant's own values."""
        self._partner[tensor] = partner
        if changed:
            self._changed.add(tensor)

    def move(self, source: int, target: int) -> None:
        """Give the values of one tensor, unrounded, to another one."""
        if source in self._partner and source not in self._real:
            self.put_exact(target, self._partner[source])
        else:
            self.put_real(target, self.real(source))

    def forget(self, tensor: int) -> None:
        for values in (self._typed, self._real, self._partner):
            values.pop(tensor, None)
        self._changed.discard(tensor)

    def typed(self, tensor: int) -> np.ndarray:
        if tensor not in self._typed and (tensor in self._real or tensor in self._changed):
            self._typed[tensor] = as_variant(self.real(tensor), self._tensors[tensor])
        return self._typed[tensor] if tensor in self._typed else self.variant_tensors[tensor]

    def real(self, tensor: int) -> np.ndarray:
        if tensor in self._changed and tensor not in self._real and self.exact is not None:
            self.put_real(tensor, self.exact[self._partner[tensor]])
        if tensor in self._real:
            return self._real[tensor]
        value = self.typed(tensor)
        return as_real(value, self._tensors[tensor]) if self._tensors[tensor].quantized else value


def fitted(value: np.ndarray, tensor: Tensor, typed: bool = True) -> np.ndarray:
    """The value in the shape of the tensor, if the file states one of the same size; if `typed`, also in its dtype."""
    fits = bool(tensor.shape) and min(tensor.shape) > 0 and int(np.prod(tensor.shape)) == value.size
    shaped = value.reshape(tensor.shape) if fits else value
    return shaped.astype(tensor.dtype, copy=False) if typed else shaped
