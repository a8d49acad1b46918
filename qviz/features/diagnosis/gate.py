"""Check whether a diagnosed variant is within a limit: a minimum agreement, or a maximum loss of AP."""

from __future__ import annotations

from dataclasses import replace

from qviz.context import Context
from qviz.errors import SettingsError
from qviz.features.accuracy import evaluate
from qviz.features.accuracy.gate import check_losses
from qviz.features.detection.models import LoadedModel
from qviz.features.diagnosis.result import Diagnosis, Gate
from qviz.structures import Dataset


def gated(
    context: Context,
    reference: LoadedModel,
    variant: LoadedModel,
    dataset: Dataset | None,
    result: Diagnosis,
    min_agreement: float | None,
    max_ap_loss: float | None,
) -> Diagnosis:
    """The diagnosis with the outcome of the gate; unchanged if no limit is given.

    Args:
        dataset: Annotated images, for the loss of AP.
        min_agreement: Minimum agreement, in [0, 1].
        max_ap_loss: Maximum loss of AP.

    Raises:
        SettingsError: The gate cannot decide.
    """
    if min_agreement is not None:
        if result.agreement is None:
            raise SettingsError(f"{result.verdict} So the gate cannot decide; give other images or a lower --score.")
        passed = result.agreement >= min_agreement
        return replace(result, gate=Gate("agreement", min_agreement, result.agreement, passed))
    if max_ap_loss is None:
        return result
    if dataset is None:
        raise SettingsError("A maximum loss of AP needs annotated images; give them with --dataset.")
    evaluation = evaluate(context, [reference, variant], dataset)
    outcome = check_losses(evaluation, max_ap_loss)
    if outcome.inconclusive:
        raise SettingsError(outcome.inconclusive)
    return replace(result, gate=Gate("ap", max_ap_loss, evaluation.losses[0].ap.value, outcome.passed))
