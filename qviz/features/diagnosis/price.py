"""The price of a cure: bytes of the file, and time on an NPU as the NPU's compiler estimates it.

The time of a cure is not known before its file is built. Until then, the time of the operators that it changes, in the
variant, shows how large the part of the network is whose time may change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from qviz.errors import ModelError
from qviz.features.cost.npu import NpuCost, check_accelerator, npu_cost
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.result import Cure, Diagnosis, NpuPrice


def priced(result: Diagnosis, cost: NpuCost) -> Diagnosis:
    """The diagnosis with the time on an NPU of the operators that each cure keeps in float or makes wider.

    Args:
        cost: Cost of the variant on the NPU.
    """
    operators = {cause.code: cause.operators for cause in result.causes}

    def price(cure: Cure) -> NpuPrice:
        changed = cure.answers if cure.plan is not None and cure.plan.options else ()
        orders = {order for code in changed for order in operators.get(code, ())}
        return NpuPrice(cost.accelerator, cost.ms, cost.cpu_operators, operators_ms(cost, orders))

    return replace(result, cures=tuple(replace(cure, npu=price(cure)) for cure in result.cures))


def check_npu(accelerator: str) -> None:
    """Raise SettingsError for an unknown accelerator, InputError if Vela is not installed. No check if it is empty."""
    if accelerator:
        check_accelerator(accelerator)


def with_price(result: Diagnosis, variant: LoadedModel, accelerator: str) -> Diagnosis:
    """`priced` for an accelerator; the unchanged diagnosis if `accelerator` is empty. Raises ModelError."""
    return priced(result, npu_cost(variant, accelerator)) if accelerator else result


def operators_ms(cost: NpuCost, orders: Iterable[int]) -> float | None:
    """Milliseconds of some operators; None if there are none, or if the NPU runs none of them."""
    rows = [row for order in orders if (row := cost.by_order.get(order)) is not None and row.runs_on != "cpu"]
    return sum(row.cycles for row in rows) / cost.clock_mhz / 1e3 if rows else None


def with_built(cure: Cure, model: LoadedModel) -> Cure:
    """The cure with the time of its built file; unchanged without an NPU, or if the file cannot be compiled for it."""
    if cure.npu is None:
        return cure
    try:
        cost = npu_cost(model, cure.npu.accelerator)
    except ModelError:
        return cure
    return replace(cure, npu=replace(cure.npu, cure_ms=cost.ms, cure_cpu_operators=cost.cpu_operators))
