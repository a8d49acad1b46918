"""The cost of a model on an Arm Ethos-U, an NPU for microcontrollers: cycles, memory, and operators left to the CPU.

Arm's compiler Vela (package ethos-u-vela) estimates the figures for its default system of each accelerator; nothing is
measured on a chip. Cycles count the NPU and its memory, at the clock of that system. The microcontroller's CPU computes
the operators that the NPU cannot run; they count as 0 cycles here, however slow they are.

Vela names each row of its table after the tensor that the row writes. Rows are therefore joined with operators by the
name of the tensor and the kind of operator (`orders_of_rows`). If several rows belong to one operator, their cycles are
added. An operator that Vela removes, such as a RESHAPE, has no row.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from qviz import optional
from qviz.engine import Blob, LocalEngine
from qviz.errors import ModelError, SettingsError, WorkerError
from qviz.features.detection.models import LoadedModel
from qviz.limits import limits
from qviz.structures import Graph
from qviz.tflite.schema import read_graph

ACCELERATORS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
"""Vela's names of the accelerators. Each name ends in the number of multiplications per cycle."""
REFUSED = re.compile(r"operator: \w+, ofm: '(?P<tensor>.*)'\n(?: - .*\n)*Reason: (?P<reason>.*)")
MAX_REASON = 200
FUSED = frozenset({"Relu", "Relu6", "ReluN1To1", "Relu0To1", "Clamp", "LUT", "Tanh", "Sigmoid", "HardSwish"})
"""Vela's names of the activations that it may fuse into the operator before them."""
MAX_STEPS = 8
"""Maximum number of operators between the tensor that a row names and the operator that the row belongs to."""
MAX_LOG = 4 << 20
"""Maximum number of bytes of Vela's output that are read."""


@dataclass(frozen=True, slots=True)
class NpuOperator:
    """The cost of one operator of the file.

    Attributes:
        order: Index of the operator in the file; None for a row of Vela's table that belongs to no operator.
        runs_on: `npu` or `cpu`.
        cycles: Cycles of the NPU and its memory; 0 on the CPU.
        macs: Number of multiply-accumulate operations.
        reason: Why the operator is left to the CPU; empty if it runs on the NPU, or if Vela gives no reason.
    """

    order: int | None
    op_kind: str
    tensor: str
    runs_on: str
    cycles: int
    macs: int
    reason: str = ""

    @property
    def text(self) -> str:
        """The number of cycles, e.g. `81,920`, or `CPU` if the operator runs on the CPU."""
        return "CPU" if self.runs_on == "cpu" else f"{self.cycles:,}"


@dataclass(frozen=True, slots=True)
class NpuCost:
    """The cost of one model on an accelerator, estimated by Vela.

    Attributes:
        system: Name of the system that Vela assumes, and its memory mode.
        ms, cycles: Time and cycles for one image, without the operators on the CPU.
        sram_kb, dram_kb, flash_kb: Required memory in KiB.
        npu_operators, cpu_operators: Numbers of operators that Vela counts after its own optimisation.
        operators: One entry per operator, in the order of Vela's table.
    """

    accelerator: str
    compiler: str
    system: str
    clock_mhz: float
    ms: float
    cycles: int
    macs: int
    sram_kb: float
    dram_kb: float
    flash_kb: float
    npu_operators: int
    cpu_operators: int
    operators: tuple[NpuOperator, ...]

    @property
    def by_order(self) -> dict[int, NpuOperator]:
        """Index of each operator of the file -> its cost. Operators that Vela removes are missing."""
        return {row.order: row for row in self.operators if row.order is not None}

    @property
    def joined_share(self) -> float:
        """Share of the rows that belong to an operator of the file, in [0, 1]."""
        rows = [row.order is not None for row in self.operators]
        return sum(rows) / max(len(rows), 1)


def check_accelerator(name: str) -> str:
    """Return `name` if it is in `ACCELERATORS`.

    Raises SettingsError if there is no such accelerator, InputError if Vela is not installed.
    """
    if name not in ACCELERATORS:
        raise SettingsError(f"{name[:60]!r} is not an accelerator; choose from {', '.join(ACCELERATORS)}.")
    optional.require("vela", f"The cost on {name}")
    return name


def npu_cost(model: LoadedModel, accelerator: str) -> NpuCost:
    """The cost of one model on an accelerator of `ACCELERATORS`, with one entry per operator.

    Raises:
        InputError: Vela is not installed.
        ModelError: Vela does not compile the model, or it is no .tflite file.
        SettingsError: There is no such accelerator.

    Example:
        >>> qviz.npu_cost(INT8, accelerator="ethos-u55-256").cycles
        11808151
    """
    if not model.layers_available:
        raise ModelError(f"{model.name} is not a .tflite file, which is all that Vela compiles.")
    remarks: list[str] = []
    costs = npu_costs([model], accelerator, remarks)
    if model.digest not in costs:
        raise ModelError(remarks[0])
    return costs[model.digest]


def npu_costs(models: Sequence[LoadedModel], accelerator: str, remarks: list[str]) -> dict[str, NpuCost]:
    """Digest of a model -> its cost; a model that Vela does not compile adds a sentence to `remarks` instead.

    Raises SettingsError, InputError.
    """
    check_accelerator(accelerator)
    costs = {}
    with LocalEngine(1, limits().build_seconds) as engine:
        for model in models:
            try:
                blob = engine.share(model.model.data, model.digest)
                costs[model.digest] = engine.submit(npu_job, blob, accelerator).result()
            except ModelError as error:
                remarks.append(f"{model.name} {error}")
            except WorkerError as error:  # Vela is partly C++, and a damaged file can end its process
                remarks.append(f"{model.name} is not compiled by Vela for {accelerator}: {error}")
    return costs


def npu_job(blob: Blob, accelerator: str) -> NpuCost:
    """Compile a model with Vela and read the cost from Vela's two tables; runs in a worker. Raises ModelError."""
    from ethosu.vela import vela

    data = blob.read()
    with tempfile.TemporaryDirectory(prefix="qviz-vela-") as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(data)
        options = ["--output-dir", folder, "--accelerator-config", accelerator, "--verbose-performance"]
        try:
            with _output_in(Path(folder) / "log"):
                status = vela.main([str(file), *options])
        except SystemExit as error:
            status = error.code
        except Exception as error:  # Vela has no common class for what it cannot compile
            raise ModelError(f"is not compiled by Vela for {accelerator}: {_first_line(str(error))}") from error
        with (Path(folder) / "log").open("rb") as stream:
            log = stream.read(MAX_LOG).decode(errors="replace")
        if status:
            raise ModelError(f"is not compiled by Vela for {accelerator}: {_first_line(log)}")
        tables = [_table(Path(folder), pattern) for pattern in ("*_summary_*.csv", "*_per-layer.csv")]
    return _cost(
        accelerator, read_graph(data), tables[0][0], tables[1], _reasons(log), f"Vela {version('ethos-u-vela')}"
    )


@contextlib.contextmanager
def _output_in(path: Path) -> Iterator[None]:
    """Redirect the standard output of this process into a file, including the output of Vela's C++ part."""
    sys.stdout.flush()
    before = os.dup(1)
    try:
        with path.open("wb") as file:
            os.dup2(file.fileno(), 1)
            yield
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)


def _table(folder: Path, pattern: str) -> list[dict[str, str]]:
    with next(folder.glob(pattern)).open(newline="") as file:
        return list(csv.DictReader(file))


def _reasons(log: str) -> dict[str, str]:
    """Name of a tensor -> why the operator that writes it is left to the CPU."""
    return {match["tensor"]: match["reason"][:MAX_REASON] for match in REFUSED.finditer(log)}


def _cost(
    accelerator: str,
    graph: Graph,
    total: Mapping[str, str],
    rows: Sequence[Mapping[str, str]],
    reasons: Mapping[str, str],
    compiler: str,
) -> NpuCost:
    operators = _operators(graph, rows, reasons)
    targets = [row["Target"] for row in rows]
    cpu = sum(target == "CPU" for target in targets)
    return NpuCost(
        accelerator=accelerator,
        compiler=compiler,
        system=f"{total['system_config']}, {total['memory_mode']}",
        clock_mhz=float(total["core_clock"]) / 1e6,
        ms=float(total["inference_time"]) * 1e3,
        cycles=int(float(total["cycles_total"])),
        macs=int(float(total["nn_macs"])),
        sram_kb=float(total["sram_memory_used"]),
        dram_kb=float(total["dram_memory_used"]),
        flash_kb=float(total["on_chip_flash_memory_used"]) + float(total["off_chip_flash_memory_used"]),
        npu_operators=int(total["passes_after_fusing"]) - cpu,
        cpu_operators=cpu,
        operators=operators,
    )


def _operators(graph: Graph, rows: Sequence[Mapping[str, str]], reasons: Mapping[str, str]) -> tuple[NpuOperator, ...]:
    """One entry per operator, with the sum of its rows, and one entry for each row that belongs to no operator."""
    merged: dict[int | str, NpuOperator] = {}
    for number, (row, order) in enumerate(zip(rows, orders_of_rows(graph, rows), strict=True)):
        key = f"row {number}" if order is None else order
        before = merged.get(key)
        op = None if order is None else graph.ops[order]
        tensor = row["Name"] if op is None else graph.tensors[op.outputs[0]].name
        runs_on = row["Target"].lower()
        merged[key] = NpuOperator(
            order,
            row["Original Operator"] if op is None else op.kind,
            tensor,
            runs_on,
            int(float(row["Op Cycles"])) + (before.cycles if before is not None else 0),
            int(float(row["MAC Count"])) + (before.macs if before is not None else 0),
            reasons.get(row["Name"], "") if runs_on == "cpu" else "",
        )
    return tuple(merged.values())


def orders_of_rows(graph: Graph, rows: Sequence[Mapping[str, str]]) -> list[int | None]:
    """For each row of Vela's table, the index of the operator of the file that it belongs to, or None.

    Vela may name a later tensor than the operator's own: a convolution may write directly into the output of the
    concatenation or padding after it. The row then belongs to the nearest operator of its kind before that tensor. The
    row of a fused activation belongs to the same operator as the row before it. The row of an intermediate step, whose
    tensor is not in the file, belongs to the same operator as the next row.
    """
    writer = {graph.tensors[index].name: op.order for op in graph.ops for index in op.outputs}
    orders: list[int | None] = []
    joined: set[int] = set()
    for number, row in enumerate(rows):
        order = writer.get(row["Name"])
        if number and row["NNG Operator"] in FUSED and _same(row, rows[number - 1], "Original Operator", "Name"):
            order = orders[-1]
        elif order is not None and row["Target"] != "CPU":
            near = _nearest(graph, order, row["Original Operator"])
            order = next((one for one in near if one not in joined), near[-1] if near else None)
        if order is not None:
            joined.add(order)
        orders.append(order)
    for number in range(len(rows) - 2, -1, -1):
        if orders[number] is None and rows[number]["Name"] not in writer:
            follows = _same(rows[number], rows[number + 1], "Original Operator")
            orders[number] = orders[number + 1] if follows else None
    return orders


def _same(row: Mapping[str, str], other: Mapping[str, str], *columns: str) -> bool:
    return all(row[column] == other[column] for column in columns)


def _nearest(graph: Graph, order: int, kind: str) -> list[int]:
    """Indices of the nearest operators of a kind (as Vela spells it): at or before operator `order`, else after it."""
    writer = {index: op.order for op in graph.ops for index in op.outputs}
    before = {
        op.order: {writer[index] for index in op.inputs if index is not None and index in writer} for op in graph.ops
    }
    behind: dict[int, set[int]] = {op.order: set() for op in graph.ops}
    for one, others in before.items():
        for other in others:
            behind[other].add(one)
    return _along(graph, order, kind, before) or _along(graph, order, kind, behind)


def _along(graph: Graph, order: int, kind: str, steps: Mapping[int, set[int]]) -> list[int]:
    """Indices of the first operator of a kind on each path from operator `order`, in ascending order."""
    front, near = {order}, set()
    for _ in range(MAX_STEPS):
        here = {one for one in front if _kind(graph.ops[one].kind) == _kind(kind)}
        near |= here
        front = {other for one in front - here for other in steps[one]}
    return sorted(near)


def _kind(name: str) -> str:
    """The kind of an operator in a common spelling: Vela's `MaxPool` and `MAX_POOL_2D` both become `maxpool`."""
    plain = name.lower().replace("_", "").removesuffix("2d")
    return {"concatenation": "concat", "logistic": "sigmoid"}.get(plain, plain)


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error")]
    return ((errors or lines or ["no reason given"])[0])[:300]
