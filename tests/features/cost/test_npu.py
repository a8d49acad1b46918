"""The cost on an Ethos-U: totals equal Vela's own summary, and its rows are operators of the file."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz import optional
from qviz.context import Context
from qviz.engine import LocalEngine
from qviz.errors import InputError, SettingsError
from qviz.features.cost import profile
from qviz.features.cost.npu import _cost, _reasons, check_accelerator, npu_costs
from qviz.features.cost.text import npu_sentence
from qviz.features.detection.models import LoadedModel
from tests.cli.conftest import Run, run
from tests.conftest import Sample
from tests.graphs import graph, image_tensor, op, tensor

__all__ = ["run"]
installed = pytest.mark.skipif(not optional.is_installed("vela"), reason="ethos-u-vela is not installed")
TOTAL = {
    "system_config": "System",
    "memory_mode": "Shared_Sram",
    "core_clock": "500000000.0",
    "inference_time": "0.002",
    "cycles_total": "1000000.0",
    "nn_macs": "64",
    "sram_memory_used": "10.5",
    "dram_memory_used": "0.0",
    "on_chip_flash_memory_used": "1.0",
    "off_chip_flash_memory_used": "2.0",
    "passes_after_fusing": "3",
}
LOG = """Warning (supported operators) operator: SOFTMAX, ofm: 'scores'
Reason: Unsupported opType

Info: something else
"""


def row(kind: str, name: str, target: str, cycles: int, macs: int) -> dict[str, str]:
    return {
        "Original Operator": kind,
        "NNG Operator": kind,
        "Target": target,
        "Op Cycles": str(cycles),
        "MAC Count": str(macs),
        "Name": name,
    }


def test_rows_are_joined_by_the_tensor_that_an_operator_writes() -> None:
    tensors = [image_tensor(), tensor(1, "conv;relu"), tensor(2, "scores")]
    read = graph(tensors, [2], [op("CONV_2D", [0], [1]), op("SOFTMAX", [1], [2])])
    rows = [
        row("Conv2D", "conv;relu", "NPU", 600_000, 60),
        row("Conv2D", "conv;relu", "NPU", 300_000, 0) | {"NNG Operator": "Relu"},
        row("Softmax", "scores", "CPU", 0, 4),
        row("MemoryCopy", "elsewhere", "NPU", 100_000, 0),
    ]
    cost = _cost("ethos-u55-128", read, TOTAL, rows, _reasons(LOG), "Vela 5")
    joined = [(one.order, one.op_kind, one.runs_on, one.cycles, one.macs, one.reason) for one in cost.operators]
    assert joined == [
        (0, "CONV_2D", "npu", 900_000, 60, ""),
        (1, "SOFTMAX", "cpu", 0, 4, "Unsupported opType"),
        (None, "MemoryCopy", "npu", 100_000, 0, ""),
    ]
    assert cost.joined_share == 2 / 3
    assert sum(one.cycles for one in cost.operators) == cost.cycles
    assert (cost.ms, cost.flash_kb, cost.npu_operators, cost.cpu_operators) == (2.0, 3.0, 2, 1)


def test_convolutions_that_write_into_a_concatenation_keep_their_own_cycles() -> None:
    tensors = [image_tensor(), *(tensor(n, name) for n, name in enumerate(("a", "b", "both", "turned"), start=1))]
    ops = [
        op("CONV_2D", [0], [1]),
        op("CONV_2D", [0], [2]),
        op("CONCATENATION", [1, 2], [3]),
        op("TRANSPOSE", [3], [4]),
    ]
    rows = [
        row("Conv2D", "both", "NPU", 1, 0),
        row("Conv2D", "both", "NPU", 2, 0) | {"NNG Operator": "LUT"},
        row("Conv2D", "both", "NPU", 4, 0),
        row("Concat", "both", "NPU", 8, 0),
        row("Transpose", "#12", "NPU", 16, 0),
        row("Transpose", "turned", "NPU", 32, 0),
        row("MaxPool", "both", "NPU", 64, 0),
    ]
    cost = _cost("ethos-u55-128", graph(tensors, [4], ops), TOTAL, rows, {}, "Vela 5")
    assert [(one.order, one.cycles) for one in cost.operators] == [(0, 3), (1, 4), (2, 8), (3, 48), (None, 64)]


def test_an_unknown_accelerator_and_a_missing_package_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"'ethos-u1' is not an accelerator; choose from ethos-u55-32"):
        check_accelerator("ethos-u1")
    monkeypatch.setattr(optional, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs ethosu, which is not installed: pip install \"qviz-tflite\[vela\]\""):
        check_accelerator("ethos-u55-256")


@installed
def test_totals_are_those_of_vela(loaded: dict[str, LoadedModel], engine: LocalEngine) -> None:
    result = profile(Context(engine), [loaded["int8"], loaded["float32"]], runs=1, npu="ethos-u55-256")
    int8, float32 = result.models
    assert int8.npu is not None and float32.npu is not None
    assert sum(one.cycles for one in int8.npu.operators) == int8.npu.cycles > 1_000_000
    assert int8.npu.cycles / int8.npu.clock_mhz / 1e3 == pytest.approx(int8.npu.ms, rel=1e-6)
    assert int8.npu.joined_share >= 0.95
    left = {one.op_kind for one in int8.npu.operators if one.runs_on == "cpu"}
    assert left == {"ADD_N", "DEQUANTIZE", "QUANTIZE", "TFLite_Detection_PostProcess"}
    assert float32.npu.cpu_operators > 100 and float32.npu.cycles < int8.npu.cycles / 100
    assert "operators of 155 left to the CPU, whose time is not counted" in npu_sentence(int8.name, int8.npu)
    assert result.to_json()["models"][0]["npu"]["cycles"] == int8.npu.cycles


@installed
def test_a_file_that_ends_the_process_of_vela_is_a_remark(sample: Sample, loaded: dict[str, LoadedModel]) -> None:
    damaged = sample.models["int8"].read_bytes()[:5000]
    source = replace(loaded["int8"].model, data=damaged, digest="0" * 64)
    remarks: list[str] = []
    models = [replace(loaded["int8"], model=source), loaded["int8"]]
    assert [cost.accelerator for cost in npu_costs(models, "ethos-u55-32", remarks).values()] == ["ethos-u55-32"]
    assert remarks[0].startswith("ssdlite_mobilenet_v2_int8.tflite is not compiled by Vela for ethos-u55-32: ")


def test_an_unknown_accelerator_is_refused_by_layers_and_diagnose(run: Run, sample: Sample) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    for command in ("layers", "diagnose"):
        call = (command, *models, "--images", sample.images / "hens.jpg", "--workers", "1")
        refused = run(*call, "--npu", "ethos-u1")
        assert (refused.status, "'ethos-u1' is not an accelerator" in refused.err) == (2, True)


@installed
def test_layers_has_the_cycles_beside_the_errors(run: Run, sample: Sample) -> None:
    models = [sample.models[name] for name in ("float32", "int8")]
    call = ("layers", *models, "--images", sample.images / "hens.jpg", "--workers", "1", "--npu", "ethos-u55-256")
    npu = run(*call, "--json").json["npu"]
    cycles = {row["order"]: row["cycles"] for row in npu["operators"] if row["runs_on"] == "npu"}
    assert sum(cycles.values()) == npu["cycles"]
    header, *rows = run(*call, "--csv").out.splitlines()
    column = header.split(",").index("npu_cycles")
    shown = {int(row.split(",")[0]): row.split(",")[column] for row in rows}
    assert shown[1] == str(cycles[1]) and shown[0] == ""  # the QUANTIZE of the input is left to the CPU
