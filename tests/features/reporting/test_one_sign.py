"""A loss has one sign in every sentence and table: positive is worse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qviz.cli.output import loss_cells
from qviz.features.accuracy import Evaluation
from qviz.features.accuracy.ap import VariantLoss
from qviz.features.accuracy.text import loss_phrase, loss_verdict, markdown
from qviz.features.calibrating.text import _cost
from qviz.features.reporting.study import Study
from qviz.features.reporting.text import findings, headline
from qviz.features.rescuing.text import _loss_text
from qviz.formatting import points, signed_points
from qviz.structures import Loss

LOSSES = [
    Loss(0.03, 0.01, 0.05, True),
    Loss(0.03),
    Loss(-0.017, -0.089, 0.004, False),
    Loss(-0.1, -0.2, -0.05, True),
    Loss(0.0, -0.01, 0.01, False),
]


@pytest.mark.parametrize("loss", LOSSES)
def test_sentences_and_tables_have_the_same_figure(loss: Loss) -> None:
    row = VariantLoss("int8", loss, ())
    table = markdown(Evaluation("d", 27, 88, (), (), (row,), 1.0))
    assert f"| {signed_points(loss.value)} |" in table
    assert loss_cells(loss)[0] == signed_points(loss.value)
    sentences = [
        loss_phrase(loss),
        loss_verdict("FP32", 0.4, {"int8": row}),
        loss_verdict("FP32", 0.4, {"int8": row}, reference_as_truth=True),
        _cost(loss, "int8", "AP"),
        _loss_text(loss, "AP"),
    ]
    for sentence in sentences:
        assert " gains" not in sentence
        assert points(loss.value) in sentence or not loss.value
        assert ("(better)" in sentence) == ((loss.value or 0) < 0) or sentence == sentences[-1]
        if loss.low is not None and loss.value:
            assert f"[{points(loss.low)}, {points(loss.high)}]" in sentence


def test_the_report_has_it_too(study: Study) -> None:
    assert study.evaluation is not None
    losses = tuple(replace(row, ap=Loss(-0.017, -0.089, 0.004, False)) for row in study.evaluation.losses)
    better = replace(study, evaluation=replace(study.evaluation, losses=losses))
    phrase = "has a loss of -1.7 AP points (better) [-8.9, 0.4], not significant."
    assert {finding.sentence for finding in findings(better)} == {phrase}
    assert " gains" not in headline(better)
