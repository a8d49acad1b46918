"""The tables of recipes and algorithms against litert-quantizer."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from litert_quantizer import algorithm_manager, default_policy, qtyping, quantizer
from litert_quantizer.algorithm_manager import AlgorithmName

from qviz.errors import QuantizeError
from qviz.features.building.build import checked
from qviz.features.building.recipes import ALGORITHMS, RECIPES, REWRITTEN, WEIGHTS_8, WIDE_KINDS, Recipe
from qviz.features.building.source import Source
from qviz.structures import EncodedImage, Scheme
from tests.features.building.test_building import sqnr

LITERT_NAMES = {"TRANSPOSE_CONV": "CONV_2D_TRANSPOSE"}


def allowed(recipe: Recipe, kind: str) -> bool:
    """Whether litert-quantizer's own policy lets the kind have the recipe's weights."""
    grain = qtyping.QuantGranularity.BLOCKWISE_32 if recipe.blockwise else qtyping.QuantGranularity.CHANNELWISE
    weights = qtyping.TensorQuantizationConfig(num_bits=recipe.weight_bits, symmetric=True, granularity=grain)
    floats = recipe.scheme is Scheme.WEIGHT_ONLY
    config = qtyping.OpQuantizationConfig(
        weight_tensor_config=weights,
        compute_precision=qtyping.ComputePrecision.FLOAT if floats else qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=floats,
    )
    name = qtyping.TFLOperationName(LITERT_NAMES.get(kind, kind))
    return config in default_policy.DEFAULT_CONFIG_CHECK_POLICY[name]


FLOAT_ACTIVATIONS = [r for r in RECIPES.values() if r.scheme in (Scheme.DYNAMIC_RANGE, Scheme.WEIGHT_ONLY)]


@pytest.mark.parametrize("recipe", FLOAT_ACTIVATIONS, ids=lambda recipe: recipe.name)
def test_recipe_operator_types_equal_litert_quantizers(recipe: Recipe) -> None:
    assert {kind for kind in WEIGHTS_8 if allowed(recipe, kind)} == recipe.kinds


@pytest.mark.parametrize("name", ALGORITHMS)
def test_algorithm_operator_types_equal_litert_quantizers(name: str) -> None:
    key = AlgorithmName(ALGORITHMS[name].key)
    names = {kind: qtyping.TFLOperationName(LITERT_NAMES.get(kind, kind)) for kind in WEIGHTS_8}
    supported = {kind for kind in WEIGHTS_8 if algorithm_manager.is_op_registered(key, names[kind])}
    assert supported == ALGORITHMS[name].kinds


def test_wide_operator_types_equal_litert_quantizers() -> None:
    policy = json.loads(default_policy.DEFAULT_JSON_POLICY)["ops_per_config"]["static_wi8_ai16"]
    schema_names = {name: kind for kind, name in LITERT_NAMES.items()}
    supported = {schema_names.get(name, name) for name in policy} - {"INPUT", "OUTPUT", "STABLEHLO_COMPOSITE"}
    assert supported == WIDE_KINDS
    assert not supported & REWRITTEN


def test_every_recipe_and_algorithm_is_described() -> None:
    assert all(row.description.endswith(".") and row.limitation.endswith(".") for row in RECIPES.values())
    assert all(row.description.endswith(".") for row in ALGORITHMS.values())
    assert {row.name for row in RECIPES.values() if row.needs_calibration} == {"int8", "int16x8"}


@pytest.fixture
def everything_allowed() -> Iterator[None]:
    """Lifts litert-quantizer's policy, which forbids int4 depthwise convolutions and weight-only blocks."""
    policy = json.loads(default_policy.DEFAULT_JSON_POLICY)
    policy["ops_per_config"]["dynamic_wi4_afp32"] += ["DEPTHWISE_CONV_2D"]
    blocks = json.loads(json.dumps(policy["configs"]["weightonly_wi4_afp32"]))
    blocks["weight_tensor_config"] |= {"symmetric": [True], "granularity": ["BLOCKWISE_32"]}
    policy["configs"]["blocks"], policy["ops_per_config"]["blocks"] = blocks, ["FULLY_CONNECTED"]
    register, key = algorithm_manager.register_config_check_policy_func, AlgorithmName.MIN_MAX_UNIFORM_QUANT
    register(key, default_policy.update_default_config_policy(json.dumps(policy)))
    yield
    register(key, default_policy.DEFAULT_CONFIG_CHECK_POLICY)


@pytest.mark.usefixtures("everything_allowed")
def test_excluded_combinations_do_not_work(dense: Source, images: list[EncodedImage]) -> None:
    """LiteRT refuses one and computes the other incorrectly. If this fails, the tables can be extended."""
    litert_quantizer = quantizer.Quantizer(dense.data)
    litert_quantizer.add_dynamic_config(".*", "DEPTHWISE_CONV_2D", 4)
    with pytest.raises(QuantizeError, match="failed while it ran: Type FLOAT32 with filter type INT4 not currently"):
        checked(
            bytes(litert_quantizer.quantize(enable_progress_report=False).quantized_model),
            RECIPES["dynamic_range_int4"],
        )

    sqnr_by_grain = {}
    for grain in (qtyping.QuantGranularity.CHANNELWISE, qtyping.QuantGranularity.BLOCKWISE_32):
        litert_quantizer = quantizer.Quantizer(dense.data)
        litert_quantizer.add_weight_only_config(".*", "FULLY_CONNECTED", 4, grain)
        data = bytes(litert_quantizer.quantize(enable_progress_report=False).quantized_model)
        sqnr_by_grain[grain.value] = sqnr(dense.data, data, images[0])
    assert sqnr_by_grain["BLOCKWISE_32"] < sqnr_by_grain["CHANNELWISE"] - 6
    assert np.isfinite(list(sqnr_by_grain.values())).all()
