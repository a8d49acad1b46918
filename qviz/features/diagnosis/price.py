"""What a cure costs: bytes of the file, and time on an NPU as its compiler estimates it.

Before a cure is built, its time is not known; what is known is the time that the operators that it changes take in the
variant, which bounds what making them wider or keeping them in float is about.
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
        cost: That of the variant.
    """
    operators = {cause.code: cause.operators for cause in result.causes}

    def price(cure: Cure) -> NpuPrice:
        changed = cure.answers if cure.plan is not None and cure.plan.options else ()
        orders = {order for code in changed for order in operators.get(code, ())}
        return NpuPrice(cost.accelerator, cost.ms, cost.cpu_operators, operators_ms(cost, orders))

    return replace(result, cures=tuple(replace(cure, npu=price(cure)) for cure in result.cures))


def check_npu(accelerator: str) -> None:
    """Raises SettingsError if there is no such accelerator, InputError if Vela is not installed. Empty: no NPU."""
    if accelerator:
        check_accelerator(accelerator)


def with_price(result: Diagnosis, variant: LoadedModel, accelerator: str) -> Diagnosis:
    """`priced` for an accelerator; the diagnosis as it is without one. Raises ModelError."""
    return priced(result, npu_cost(variant, accelerator)) if accelerator else result


def operators_ms(cost: NpuCost, orders: Iterable[int]) -> float | None:
    """Milliseconds of some operators; None if there are none, or if the NPU runs none of them."""
    rows = [row for order in orders if (row := cost.by_order.get(order)) is not None and row.runs_on != "cpu"]
    return sum(row.cycles for row in rows) / cost.clock_mhz / 1e3 if rows else None


def with_built(cure: Cure, model: LoadedModel) -> Cure:
    """The cure with the time of its built file; as it is without an NPU, or if the file cannot be compiled for it."""
    if cure.npu is None:
        return cure
    try:
        cost = npu_cost(model, cure.npu.accelerator)
    except ModelError:
        return cure
    return replace(cure, npu=replace(cure.npu, cure_ms=cost.ms, cure_cpu_operators=cost.cpu_operators))
