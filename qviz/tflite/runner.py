"""Run a .tflite file as a whole, in one interpreter that is used by one thread of one worker process.

Tensors have the types that the file gives them. Inner tensors can be read only if the interpreter preserves all
tensors (`experimental_preserve_all_tensors`), which works with the default delegate, XNNPACK, too. One kind of tensor
is never computed by XNNPACK: weights that a DEQUANTIZE unpacks (`scheme.unpacks_constant`). It unpacks them while it
prepares the file, and that tensor's memory holds whatever was there before.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as fb
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qviz.errors import ModelError
from qviz.tflite.edit import with_outputs

KERNELS = {
    "default": OpResolverType.AUTO,
    "xnnpack": OpResolverType.AUTO,
    "builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "reference": OpResolverType.BUILTIN_REF,
}
"""Kernels by name.

default     XNNPACK's where it has a kernel; the builtin ones for a file that XNNPACK refuses
xnnpack     as default, but a file that XNNPACK refuses is an error
builtin     TensorFlow Lite's own optimised kernels
reference   TensorFlow Lite's plain C++ kernels
"""


class Runner:
    """Runs one .tflite file.

    Args:
        threads: Number of threads of the interpreter.
        keep_all: Whether all inner tensors are preserved, so that `tensor` can read them.
        kernels: A name in `KERNELS`.
        inner: Inner tensors that `tensor` can read even without `keep_all`, which needs about twice the memory.
            The file runs with these as further outputs; the values of all tensors are the same bit for bit.

    Attributes:
        milliseconds: Duration of the last run.
        reference_kernels: Whether the file runs without the default delegate (XNNPACK), because that refuses it.

    Raises:
        ModelError: TensorFlow Lite cannot prepare the file.
    """

    def __init__(
        self,
        data: bytes,
        threads: int = 1,
        keep_all: bool = True,
        kernels: str = "default",
        inner: Sequence[int] = (),
    ) -> None:
        try:
            data = with_outputs(data, inner) if inner and not keep_all else data
            self._interpreter, self.reference_kernels = _prepare(data, threads, keep_all, kernels)
            self._inputs = [detail["index"] for detail in self._interpreter.get_input_details()]
            outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
            self._outputs = outputs if keep_all else outputs[: len(outputs) - len(inner)]
        except UnicodeDecodeError as error:
            raise ModelError(
                "cannot be run by TensorFlow Lite: an input or output has a name that is not text."
            ) from error
        except (RuntimeError, ValueError, TypeError) as error:
            raise ModelError(f"cannot be run by TensorFlow Lite: {_first_line(error)}") from error
        self.milliseconds = 0.0

    def run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Copies of the outputs, in the file's order; sets `milliseconds`. Raises ModelError."""
        try:
            for index, values in zip(self._inputs, inputs, strict=True):
                self._interpreter.set_tensor(index, values)
            self._interpreter.reset_all_variables()  # clear an LSTM's state, so that no image depends on the one before
            start = time.perf_counter()
            self._interpreter.invoke()
            self.milliseconds = (time.perf_counter() - start) * 1e3
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"failed while it ran: {_first_line(error)}") from error
        return [self.tensor(index) for index in self._outputs]

    def tensor(self, index: int) -> np.ndarray:
        """A copy of any tensor of the last run, not of unpacked weights (see above).

        Raises ModelError if it was not preserved.
        """
        try:
            return np.asarray(self._interpreter.get_tensor(index))  # get_tensor returns a copy
        except ValueError as error:
            raise ModelError(f"does not let tensor {index} be read: {_first_line(error)}") from error


def _prepare(data: bytes, threads: int, keep_all: bool, kernels: str) -> tuple[Interpreter, bool]:
    """(interpreter ready to run, whether it runs without the default delegate)."""
    names = ("default", "builtin") if kernels == "default" else (kernels,)
    for resolver in map(KERNELS.__getitem__, names):
        plain = resolver is not OpResolverType.AUTO
        try:
            with warnings.catch_warnings():  # with keep_all, each start warns of the memory, which is intended
                warnings.simplefilter("ignore")
                interpreter = Interpreter(
                    model_content=data,
                    num_threads=threads,
                    experimental_op_resolver_type=resolver,
                    experimental_preserve_all_tensors=keep_all,
                )
            interpreter.allocate_tensors()
            if plain:
                _check_blockwise(data, resolver)
            return interpreter, plain
        except (RuntimeError, ValueError):
            if plain or kernels != "default":  # a file that the delegate refuses may still run without it
                raise
    raise AssertionError("unreachable")


def _check_blockwise(data: bytes, resolver: OpResolverType) -> None:
    """Raise ModelError for weights with blockwise scales for which these kernels compute zeros without an error.

    The zeros would look as if the file were damaged. Measured with ai-edge-litert 2.3: XNNPACK and the builtin kernels
    run int4. The reference kernels run neither int4 nor int2. For int2, XNNPACK refuses the file, and the builtin
    kernels compute zeros.
    """
    types = _blockwise_types(data)
    unsupported = types if resolver is OpResolverType.BUILTIN_REF else types & {fb.TensorType.INT2}
    if unsupported:
        name = "int2" if fb.TensorType.INT2 in unsupported else "int4"
        raise ModelError(
            f"has {name} weights with blockwise scales, for which these kernels of TensorFlow Lite compute zeros; build"
            " it with one scale per channel, or with int4 and run it on the default kernels."
        )


def _blockwise_types(data: bytes) -> set[int]:
    """Types of the main subgraph's tensors with blockwise scales."""
    graph = fb.Model.GetRootAs(data).Subgraphs(0)
    tensors = (graph.Tensors(index) for index in range(graph.TensorsLength()))
    return {
        tensor.Type()
        for tensor in tensors
        if (scales := tensor.Quantization()) is not None
        and scales.DetailsType() == fb.QuantizationDetails.BlockwiseQuantization
    }


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:300]
