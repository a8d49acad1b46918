"""How much two versions of one network differ at the network's end tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from qviz.structures import Graph, Tensor
from qviz.tflite.runner import Runner


def real_values(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Float32 values of a tensor, whatever its type in the file."""
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.dequantize(values)
    return values.astype(np.float32)


def end_tensors(graph: Graph) -> list[int]:
    """Indices of the tensors at which two versions of a network are compared: its outputs.

    If a custom operator writes an output, the inputs of that operator are taken instead. Operators such as
    TFLite_Detection_PostProcess sort and drop boxes, so the rows of their outputs do not correspond. Integer tensors
    that represent no real values are left out.
    """
    ends: dict[int, None] = {}
    for index in graph.outputs:
        op = graph.producer(index)
        indices = op.inputs if op is not None and op.custom else (index,)
        ends |= dict.fromkeys(i for i in indices if i is not None and not graph.tensors[i].constant)
    return [i for i in ends if graph.tensors[i].dtype in ("float32", "float16") or graph.tensors[i].quantized]


def largest_difference(
    data: bytes,
    other: bytes,
    inputs: Iterable[np.ndarray],
    tensors: Sequence[int],
    other_tensors: Sequence[int] | None = None,
    kernels: str = "default",
) -> float:
    """The largest difference of a float tensor between two files, relative to the tensor's largest value.

    Args:
        inputs: The network's inputs on which both are run.
        tensors: Indices of the tensors of `data` to compare.
        other_tensors: Indices of the same tensors in `other`, if they differ.
        kernels: The kernels that run `other`, see `qviz.tflite.runner`.

    Raises:
        ModelError: A file cannot be run.
    """
    first, second = Runner(data), Runner(other, kernels=kernels)
    worst = 0.0
    for values in inputs:
        first.run([values])
        second.run([values])
        for tensor, partner in zip(tensors, other_tensors or tensors, strict=True):
            a, b = first.tensor(tensor), second.tensor(partner)
            if a.size:
                worst = max(worst, float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)))
    return worst


def tensor_values(data: bytes, graph: Graph, tensors: Sequence[int], inputs: Iterable[np.ndarray]) -> list[np.ndarray]:
    """The real values of each tensor, (positions of all inputs, channels). Raises ModelError.

    Args:
        inputs: Real values of the network's input.
    """
    runner, entry = Runner(data), graph.input_tensors()[0]
    rows: list[list[np.ndarray]] = [[] for _ in tensors]
    for values in inputs:
        runner.run([stored_input(entry, values)])
        for row, index in zip(rows, tensors, strict=True):
            array = real_values(graph.tensors[index], runner.tensor(index))
            row.append(array.reshape(-1, array.shape[-1]))
    return [np.concatenate(row) for row in rows]


def mean_sqnr_db(reference: Sequence[np.ndarray], variant: Sequence[np.ndarray]) -> float:
    """Mean of the SQNR in dB over all channels of all tensors, higher is better.

    Args:
        reference, variant: (positions, channels) of each tensor.
    """
    ratios = []
    for true, other in zip(reference, variant, strict=True):
        energy, error = (np.square(values, dtype=np.float64).mean(0) for values in (true, other - true))
        floor = 1e-12 + 1e-9 * energy.max(initial=0.0)
        ratios.append(10 * np.log10((energy + floor) / (error + floor)))
    return float(np.concatenate(ratios).mean())


def stored_input(tensor: Tensor, values: np.ndarray) -> np.ndarray:
    """Real values as the network's input stores them."""
    if tensor.quantized and tensor.quantization is not None:
        return tensor.quantization.quantize(values, tensor.dtype)
    return values
