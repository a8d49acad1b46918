"""Part of the Compare page: the risk of each of the reference's objects, estimated from the other loaded images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import streamlit as st

from qviz.context import Context
from qviz.features.detection.models import LoadedModel
from qviz.features.object_risk import Risks, risk
from qviz.features.object_risk.plot import figure
from qviz.features.object_risk.text import sentences
from qviz.formatting import as_text
from qviz.structures import EncodedImage
from qviz.ui import clicks, glossary, jobs, requested
from qviz.ui.jobs import Work
from qviz.ui.page import Page

CLICKED = "qviz-risk"
SHOWN_CLASSES = 20


def show(
    here: Page, variant: LoadedModel, images: Sequence[EncodedImage], image: EncodedImage, score: float
) -> Mapping[int, float]:
    """Draw a button and, after a click, the expected numbers of lost and relabelled objects and the risk's quality.

    Returns:
        Index of an object of the reference on `image` -> its risk in [0, 1]; empty if there is none to show.
    """
    if not requested.last(CLICKED):
        act = partial(requested.keep, CLICKED, True)
        clicks.button(st, "Who will be lost?", act, "risk-start", st.rerun, help=glossary.meaning("risk"))
        return {}
    reference = here.loaded.reference
    key = reference.identity, variant.identity, tuple(one.digest for one in images), score

    def run(context: Context) -> Risks:
        return risk(context, reference, variant, images, score=score)

    work = Work(amount=2 * len(images))
    result = jobs.result("risk", key, run, "risk", "Running both models", "images", work=work)
    if result is None:
        return {}
    name = as_text(here.loaded.name(variant))
    texts = " ".join(map(as_text, sentences(result)))
    st.caption(f"Risk that {name} loses or relabels an object, from the other images. {texts}")
    if any(test.shown for test in result.tests):
        with st.expander("How well the risk predicts, and the classes at risk"):
            st.plotly_chart(figure(result), width="stretch", key="risk-reliability")
            _classes(result)
    return {
        row.reference_index: (row.lost or 0.0) + (row.relabelled or 0.0)
        for row in result.objects
        if row.digest == image.digest and not row.lost is row.relabelled is None
    }


def _classes(result: Risks) -> None:
    rows = [
        {
            "class": row.label,
            "objects": row.objects,
            "risk": (row.lost or 0.0) + (row.relabelled or 0.0),
            "observed": (row.lost_share if row.lost is not None else 0.0)
            + (row.relabelled_share if row.relabelled is not None else 0.0),
        }
        for row in result.per_class[:SHOWN_CLASSES]
    ]
    glossary.table(pd.DataFrame(rows), {"risk": "%.2f", "observed": "%.2f"}, key="risk-classes")
