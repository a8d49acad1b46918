"""Sentences on the risks of objects."""

from __future__ import annotations

from qviz.features.accuracy.recalibration import MIN_IMAGES
from qviz.features.object_risk import Risks
from qviz.features.object_risk.estimate import MIN_AUROC, MIN_EVENTS, RiskTest
from qviz.formatting import plural, score

CHANCE = 0.5


def verdict(result: Risks) -> str:
    """One or two sentences per outcome: expected and observed numbers, and how well the risk predicts the objects."""
    where = f"{plural(len(result.objects), 'object')} of {result.reference} on {plural(result.images, 'image')}"
    return f"{result.variant}, {where}: {' '.join(sentences(result))}"


def sentences(result: Risks) -> list[str]:
    """A sentence for each outcome, e.g. `Lost: 35.2 expected, 35 observed. AUROC …`

    A risk that is not shown has a sentence that says why.
    """
    return [_sentence(result, test) for test in result.tests]


def _sentence(result: Risks, test: RiskTest) -> str:
    outcome = test.outcome.capitalize()
    if test.auroc is None:
        return f"{outcome}: the risk is not known, because {_too_few(result, test)}."
    area = f"{score(test.auroc)} [{score(test.low)}, {score(test.high)}]"
    if not test.shown:
        return (
            f"{outcome}: the risk is not shown. Its AUROC on other images is {area}; below {score(MIN_AUROC)} it does"
            f" not predict which objects are {test.outcome}."
        )
    expected = sum(row.objects * row.risk for row in test.deciles)
    alone = f"the reference's confidence alone has {score(test.score_auroc)}"
    chance = " Its interval includes chance." if test.low is not None and test.low < CHANCE else ""
    return (
        f"{outcome}: {expected:.1f} expected, {test.events} observed."
        f" AUROC on other images {area} ({alone}; {score(CHANCE)} is chance).{chance}"
    )


def _too_few(result: Risks, test: RiskTest) -> str:
    if result.calibration_images < MIN_IMAGES:
        verb = "is" if result.calibration_images == 1 else "are"
        return f"{plural(result.calibration_images, 'image')} {verb} too few to estimate it ({MIN_IMAGES} are needed)"
    if test.estimated_from < MIN_EVENTS:
        source = "these images" if result.cross_fitted else "the calibration images"
        count = plural(test.estimated_from, "object") if test.estimated_from else "no object"
        return f"{count} on {source} {_were(test.estimated_from)} {test.outcome} ({MIN_EVENTS} are needed)"
    if min(test.events, test.objects - test.events) < MIN_EVENTS:
        return (
            f"{test.events} of {plural(test.objects, 'object')} {_were(test.events)} {test.outcome}, too few to test it"
        )
    return "a part of the images has too few such objects to estimate it"


def _were(count: int) -> str:
    return "was" if count <= 1 else "were"
