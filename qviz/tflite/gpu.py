"""The process in which LiteRT's GPU delegate runs one model: python -m qviz.tflite.gpu MODEL FOLDER

The driver is chosen by environment variables that must be set before the process starts, and it may crash the process.
It is therefore never loaded in another process. Once the model is on the GPU, the process prints a first line of JSON,
{"loaded"}. For each line on standard input, it reads FOLDER/input.npy, runs the model, writes FOLDER/output-0.npy and
so on in the order of the file's outputs, and answers with a line {"ms"}. On a failure, it prints {"error"} and ends.
The runtime lists the operators that the GPU refuses on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

import numpy as np

from qviz.engine import enter_sandbox, limit_memory
from qviz.limits import limits


def main(model: str, folder: Path) -> None:
    """Load the model and answer each line on standard input, until standard input ends."""
    limit_memory(2 * limits().job_memory_mb << 20)
    enter_sandbox([folder], [Path(model)], graphics=True)
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the runtime prints there, too
    try:
        _serve(model, folder, replies)
    except (RuntimeError, ValueError, OSError) as error:
        _reply(replies, error=(str(error).strip().splitlines() or ["no reason given"])[0][:300])


def _serve(model: str, folder: Path, replies: TextIO) -> None:
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.hardware_accelerator import HardwareAccelerator
    from ai_edge_litert.options import CpuOptions, GpuOptions, Options

    from qviz.tflite.schema import read_graph

    options = Options(
        hardware_accelerators=HardwareAccelerator.GPU | HardwareAccelerator.CPU,
        cpu_options=CpuOptions(num_threads=1),
        gpu_options=GpuOptions(enforce_f32=True),
    )
    compiled = CompiledModel.from_file(model, options=options)
    signature = next(iter(compiled.get_signature_list()))
    number = compiled.get_signature_index(signature)
    details = list(compiled.get_output_tensor_details(signature).values())
    order = read_graph(Path(model).read_bytes()).outputs
    positions = [[detail["index"] for detail in details].index(tensor) for tensor in order]
    inputs, outputs = compiled.create_input_buffers(number), compiled.create_output_buffers(number)
    _reply(replies, loaded=True)
    for _ in sys.stdin:
        inputs[0].write(np.load(folder / "input.npy", allow_pickle=False))
        start = time.perf_counter()
        compiled.run_by_index(number, inputs, outputs)
        for target, position in enumerate(positions):
            shape, dtype = details[position]["shape"], np.dtype(details[position]["dtype"])
            values = outputs[position].read(int(np.prod(shape)), dtype).reshape(shape)
            if target == 0:
                milliseconds = (time.perf_counter() - start) * 1e3  # the GPU has finished once its output is read
            np.save(folder / f"output-{target}.npy", values, allow_pickle=False)
        _reply(replies, ms=milliseconds)


def _reply(replies: TextIO, **fields: object) -> None:
    print(json.dumps(fields), file=replies, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
