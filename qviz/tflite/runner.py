"""Run a .tflite file as a whole, in one interpreter that is used by one thread of one worker process.

Tensors have the types that the file gives them. Inner tensors can be read if all are preserved
(`experimental_preserve_all_tensors`; the default delegate, XNNPACK, stays on).
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qviz.errors import ModelError

KERNELS = {
    "default": OpResolverType.AUTO,
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
"""Kernels by name.

default     XNNPACK where it has a kernel; builtin for a file that it refuses
xnnpack     the same, but a file that it refuses is an error
builtin     TensorFlow Lite's own, optimised
reference   its plain C++ ones
"""


class Runner:
    """Runs one .tflite file.

    Args:
        threads: Threads of the interpreter.
        keep_all: Whether inner tensors are preserved, so that `tensor` can read them.
        kernels: A name of `KERNELS`.

    Attributes:
        milliseconds: Duration of the last run.
        reference_kernels: Whether the default delegate refuses the file, so that it runs without it.

    Raises:
        ModelError: TensorFlow Lite cannot prepare the file.
    """

    def __init__(self, data: bytes, threads: int = 1, keep_all: bool = True, kernels: str = "default") -> None:
        try:
            self._interpreter, self.reference_kernels = _prepare(data, threads, keep_all, kernels)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(f"cannot be run by TensorFlow Lite: {_first_line(error)}") from error
        self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self.milliseconds = 0.0

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Copies of the outputs, in the file's order; sets `milliseconds`. Raises ModelError."""
        try:
            for index, values in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, values)
            self._interpreter.reset_all_variables()  # an LSTM's state: one image must not depend on the last
            start = time.perf_counter()
            self._interpreter.invoke()
            self.milliseconds = (time.perf_counter() - start) * 1e3
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"failed while it ran: {_first_line(error)}") from error
        return [self.tensor(index) for index in self._outputs]

    def tensor(self, index: int) -> np.ndarray:
        """A copy of any tensor of the last run. Raises ModelError if it was not preserved."""
        try:
            return np.asarray(self._interpreter.get_tensor(index))  # a copy already
        except ValueError as error:
            raise ModelError(f"does not let tensor {index} be read: {_first_line(error)}") from error


def _prepare(data: bytes, threads: int, keep_all: bool, kernels: str) -> tuple[Interpreter, bool]:
    """(interpreter ready to run, whether it runs without the default delegate)."""
    names = ("default", "builtin") if kernels == "default" else (kernels,)
    for resolver in map(KERNELS.__getitem__, names):
        plain = resolver is not OpResolverType.AUTO
        try:
            with warnings.catch_warnings():  # keep_all warns of its memory at each start; that is what it is for
                warnings.simplefilter("ignore")
                interpreter = Interpreter(
                    model_content=data,
                    num_threads=threads,
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=keep_all,
                )
            interpreter.allocate_tensors()
            return interpreter, plain
        except (RuntimeError, ValueError):
            if plain or kernels != "default":  # a file that the delegate refuses may still run without it
                raise
    raise AssertionError("unreachable")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]
