"""A saved study on the Report page, without any model; other files are refused in a sentence."""

from __future__ import annotations

import re

from streamlit.testing.v1 import AppTest

from qviz.features.reporting.study import Study, study_bytes
from qviz.features.reporting.text import findings, headline
from qviz.ui.workspace import KEY, Workspace
from tests.conftest import ROOT


def _texts(app: AppTest) -> str:
    return " ".join(re.sub("<[^>]+>", " ", element.proto.body) for element in app.get("html"))


def _without_models() -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    app.session_state[KEY] = Workspace()
    return app.run().switch_page("pages/report.py").run()


def test_a_study_opens_without_models(study: Study) -> None:
    app = _without_models()
    assert "A reference, a variant and images are needed" in _texts(app)
    app.file_uploader[0].upload("friday.json", study_bytes(study)).run()
    assert not app.exception and not app.error and not app.warning
    text = _texts(app)
    assert headline(study) in text and "It needs no models" in text
    assert all(finding.sentence in text for finding in findings(study))
    assert [item.value for item in app.caption if "sections" in item.value]
    (close,) = [button for button in app.button if button.label == "Close this study"]
    close.click().run()
    assert "A reference, a variant and images are needed" in _texts(app)


def test_a_damaged_study_is_refused_in_a_sentence(study: Study) -> None:
    app = _without_models()
    data = study_bytes(study).replace(b'"bytes":', b'"octets":')
    app.file_uploader[0].upload("friday.json", data).run()
    assert not app.exception
    assert any("damaged study" in item.value for item in app.warning)
