from __future__ import annotations

from dataclasses import replace

from qviz.features.layer_error.outliers import positions_along, reference_positions
from tests.features.layer_error.test_outliers import errors, layer


def test_unpaired_layers_are_placed_between_reference_positions() -> None:
    result = replace(errors(*(layer(order) for order in (0, 3, 4, 5))), pairs=((3, 0), (5, 1)))
    assert reference_positions(result) == {0: -0.5, 3: 0, 4: 0.5, 5: 1}


def test_a_variants_layers_are_placed_along_another_variants_operators() -> None:
    base = replace(errors(*(layer(order) for order in range(4))), pairs=((1, 0), (2, 1), (3, 2)))
    other = replace(errors(*(layer(order) for order in range(4))), pairs=((0, 0), (1, 1), (2, 7), (3, 2)))
    assert positions_along(base, base) == {0: 0, 1: 1, 2: 2, 3: 3}
    assert positions_along(other, base) == {0: 1, 1: 2, 2: 2.5, 3: 3}
