"""Downloads of an evaluation. A file is made when it is asked for."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from qviz.analysis.coco_results import coco_results
from qviz.analysis.evaluation import Evaluation
from qviz.analysis.summary import markdown
from qviz.ui.accuracy import Finding


def downloads(finding: Finding) -> None:
    """CSV, JSON, Markdown, and the detections of each model."""
    result = finding.evaluation
    with st.expander("Downloads"):
        left, right = st.columns(2)
        with left:
            st.caption("The figures")
            _button("CSV, AP of every model and class", partial(_csv, result), "accuracy.csv", "text/csv")
            _button("JSON, everything", partial(_json, result), "accuracy.json", "application/json")
            _button("Markdown summary", partial(markdown, result, None), "accuracy.md", "text/markdown")
        with right:
            st.caption("Detections as COCO results, for COCOeval and other tools")
            for index, name in enumerate(finding.names):
                data = partial(_results, result, index)
                _button(name, data, f"detections_{name}.json", "application/json")


def _button(label: str, data: object, name: str, mime: str) -> None:
    st.download_button(label, data, name, mime, on_click="ignore", key=f"download-{name}", width="stretch")  # type: ignore[arg-type]


def _csv(result: Evaluation) -> str:
    return str(result.to_frame().to_csv(index=False))


def _json(result: Evaluation) -> str:
    return json.dumps(result.to_json(), ensure_ascii=False, allow_nan=False)


def _results(result: Evaluation, index: int) -> str:
    return json.dumps(coco_results(result, index))
