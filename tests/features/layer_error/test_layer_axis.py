from __future__ import annotations

from dataclasses import replace

from qviz.features.layer_error.outliers import reference_positions
from tests.features.layer_error.test_outliers import errors, layer


def test_unpaired_layers_are_placed_between_reference_positions() -> None:
    result = replace(errors(*(layer(order) for order in (0, 3, 4, 5))), pairs=((3, 0), (5, 1)))
    assert reference_positions(result) == {0: -0.5, 3: 0, 4: 0.5, 5: 1}
