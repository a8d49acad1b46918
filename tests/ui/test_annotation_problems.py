"""The Accuracy page shows what is wrong with the annotations above the AP."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def _page() -> None:
    from qviz.features.accuracy.panel import show_problems
    from qviz.structures import DatasetProblem

    show_problems(
        [
            DatasetProblem("box_order", "19 of 32 boxes do not fit.", "Write *sizes*.", 19, ("a.png",), serious=True),
            DatasetProblem("wrong_area", "2 areas are wrong.", "Correct them.", 2),
            DatasetProblem("reference_finds_nothing", "Nothing is detected.", "", 9, serious=True),
            DatasetProblem("crowds", "4 annotations are crowds.", "Nothing.", 4, advice=True),
        ]
    )


def test_serious_problems_are_errors_and_advice_is_folded() -> None:
    app = AppTest.from_function(_page).run()
    assert not app.exception
    assert [row.value for row in app.error] == ["19 of 32 boxes do not fit \\(a\\.png\\)\\. Write \\*sizes\\*\\."]
    assert [row.value for row in app.warning] == ["2 areas are wrong\\. Correct them\\."]
    (folded,) = app.expander
    assert folded.label == "About these annotations: 1 remark"
    assert [row.value for row in folded.text] == ["4 annotations are crowds. Nothing."]


def _healthy_page() -> None:
    from qviz.features.accuracy.panel import show_problems

    show_problems([])


def test_healthy_annotations_show_nothing() -> None:
    app = AppTest.from_function(_healthy_page).run()
    assert not (app.exception or app.error or app.warning or app.expander)
