"""The page shows the study, requests nothing, and never renders a name from a file as markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from qviz.chart_style import bracket
from qviz.engine import LocalEngine
from qviz.errors import SettingsError
from qviz.features.accuracy import LossDetail
from qviz.features.accuracy.confusion import ImageLoss
from qviz.features.comparison.text import COLOURS, is_damaged, level
from qviz.features.detection.models import LoadedModel
from qviz.features.reporting.html import render
from qviz.features.reporting.plot import figure_json, plotly_js
from qviz.features.reporting.sections import SECTIONS, available
from qviz.features.reporting.study import StudiedImage, Study
from qviz.features.reporting.text import MAX_FIRST, Step, findings, first_steps, headline, next_steps
from qviz.features.reporting.work import JPEG_BUDGET, worst_digests
from qviz.formatting import points
from qviz.structures import Loss
from tests.conftest import Sample
from tests.features.reporting.study import HOSTILE, PROVENANCE, sample_study

LIMIT = 8_000_000


class ParsedPage(HTMLParser):
    """Parsed HTML: tags, their references, scripts and the visible text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.styles, self.shown, self._inside = "", "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data
        elif self._inside == "style":
            self.styles += data
        else:
            self.shown += data

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def page(study: Study) -> ParsedPage:
    return ParsedPage(render(study, notes={"verdict": "Ship <int8>.\nNot the other."}))


def test_the_page_has_the_numbers_of_the_study(study: Study, page: ParsedPage) -> None:
    sections = ["verdict", "next", "models", "accuracy", "classes", "operating", "images", "layers", "made"]
    assert available(study) == sections
    assert headline(study) in page.shown and "Ship <int8>." in page.shown
    for finding in findings(study):
        assert finding.sentence in page.shown and finding.layer in page.shown
    assert study.evaluation is not None
    for model, figures in zip(study.models, study.evaluation.models, strict=True):
        assert model.sha256 in page.shown
        assert all(points(value) in page.shown for value in figures.figures())
    for name, summary in study.summaries.items():
        assert f"{summary.agreement:.2f}" in page.shown
        assert study.losses[name].variant == name
    assert f"over the {len(study.comparison.variants[0].images)} images of this report" in page.shown
    classes = [attributes.get("class") or "" for _, attributes in page.tags]
    levels = [name for name in classes if "level" in name.split()]
    expected = [f"level {COLOURS[level(summary.agreement)]}" for summary in study.summaries.values()]
    assert levels == [*expected, *expected]  # in the verdict and on the cards
    for loss in study.losses.values():
        assert bracket(loss.ap) in page.shown
    assert PROVENANCE.command in page.shown and PROVENANCE.date in page.shown
    assert all(f"{name} {value}" in page.shown for name, value in study.made.versions.items())
    wrong = findings(study)[-1]
    assert wrong.layer.startswith("The input quantizer (QUANTIZE) clips") and "operator 0 (QUANTIZE)" in wrong.layer
    assert "Calibrate with real images" in next_steps(study)[0].cure


def test_boxes_and_images(study: Study, page: ParsedPage) -> None:
    pictures = [attributes for tag, attributes in page.tags if tag == "image"]
    assert len(pictures) == len(study.images) == 3
    assert len([1 for tag, _ in page.tags if tag == "use"]) == 3 * 2  # the JPEG is included once
    drawn = [a["class"] for tag, a in page.tags if tag == "g" and "data-pair" in a]
    for change in ("kept", "shifted", "relabelled", "lost", "spurious"):
        assert drawn.count(f"object {change}") == sum(getattr(row, change) for row in study.summaries.values())
    first = study.comparison.variants[0]
    assert drawn.count("object reference") == sum(f.reference_box is not None for i in first.images for f in i.objects)


def test_it_requests_nothing(page: ParsedPage) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "source")
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset", "ping"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attributes[name])
        assert "url(" not in (attributes.get("style") or "")
        assert not [name for name in attributes if name.startswith("on")]
    assert "url(" not in page.styles and "@import" not in page.styles


def test_the_policy_lists_the_digests_of_the_scripts(page: ParsedPage) -> None:
    assert "default-src 'none'" in page.policy and "unsafe-eval" not in page.policy
    runs = [text for kind, text in page.scripts if kind != "application/json"]
    assert len(runs) == 2 and runs[0] == plotly_js()
    for text in runs:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" in page.policy
    assert "unsafe-inline" not in page.policy.split("script-src")[1]


def test_hostile_names_stay_text(study: Study, page: ParsedPage) -> None:
    from tests.features.reporting.study import hostile

    bad = ParsedPage(render(hostile(study), notes=dict.fromkeys(available(study), HOSTILE)))
    assert {tag for tag, _ in bad.tags} == {tag for tag, _ in page.tags}
    assert [kind for kind, _ in bad.scripts] == [kind for kind, _ in page.scripts]
    for kind, text in bad.scripts:
        if kind == "application/json":
            assert HOSTILE not in json.dumps(json.loads(text), ensure_ascii=False)  # Plotly reads a little HTML
    assert bad.shown.count("<script>alert(1)</script>") > 20 and "{{7*7}}" in bad.shown
    assert not [name for _, attributes in bad.tags for name in attributes if name.startswith("on")]


def test_a_report_of_twelve_images_stays_small(study: Study) -> None:
    jpeg = np.random.default_rng(0).integers(0, 256, JPEG_BUDGET // 12, np.uint8).tobytes()
    images = tuple(StudiedImage(f"{i}.jpg", study.images[i % 3].digest, 1024, 768, jpeg) for i in range(12))
    assert len(render(replace(study, images=images)).encode()) <= LIMIT


def test_without_annotations(engine: LocalEngine, loaded: dict[str, LoadedModel], sample: Sample) -> None:
    study = sample_study(engine, [loaded["float32"]] * 2, sample, annotated=False)
    assert [model.name for model in study.models] == [
        "ssdlite_mobilenet_v2_float32",
        "ssdlite_mobilenet_v2_float32 (2)",
    ]
    assert available(study) == ["verdict", "next", "models", "images", "made"]
    page = render(study)
    assert len(page) < 2_000_000 and "plotly.js" not in page  # without charts the library is not included
    assert "AP is not known" in page and "It can replace the reference." in page
    assert worst_digests(study.comparison) == [image.digest for image in study.images]


def test_sections_can_be_selected(study: Study) -> None:
    names = re.findall(r'<section id="(\w+)">', render(study, ["made", "verdict"]))
    assert names == ["made", "verdict"]


@pytest.mark.parametrize(
    ("sections", "notes", "sentence"),
    [
        (["verdicts"], {}, "'verdicts' is not a section of the report; choose from verdict, next"),
        (["robustness"], {}, "nothing for the section 'robustness': no sweep was run"),
        ([], {}, "No section is chosen"),
        (["made"], {"verdict": "x"}, "a note for the section 'verdict', which is not chosen"),
        (["made"], {"made": "x" * 5001}, "has 5001 characters; the limit is 5000"),
    ],
)
def test_refusals(sections: list[str], notes: dict[str, str], sentence: str, study: Study) -> None:
    with pytest.raises(SettingsError, match=re.escape(sentence)):
        render(study, sections, notes)


def test_every_section_has_its_template() -> None:
    from qviz.features.reporting.html import FOLDER

    assert {f"{name}.html" for name in SECTIONS} <= {path.name for path in FOLDER.glob("*.html")}


def test_a_figure_s_json_cannot_end_its_script() -> None:
    import plotly.graph_objects as go

    text = figure_json(go.Figure(go.Scatter(x=[1], y=[2], name="</script><!--&")))
    assert not set("<>&") & set(text)
    assert json.loads(text)["data"][0]["name"] == "</script><!--&"
    assert "</script" not in plotly_js().lower() and "<!--" not in plotly_js()


def test_without_any_object_no_variant_is_recommended(study: Study) -> None:
    """Agreement is 1 if neither model detects anything, which is no evidence for a variant."""
    compared = replace(
        study.comparison,
        variants=tuple(
            replace(variant, images=tuple(replace(image, objects=()) for image in variant.images))
            for variant in study.comparison.variants
        ),
    )
    empty = replace(study, comparison=compared, evaluation=None)
    assert headline(empty).startswith("Neither float32 nor a variant finds an object at this confidence")
    assert {finding.sentence for finding in findings(empty)} == {
        "finds nothing at this confidence, like the reference."
    }
    steps = [step.reason + step.cure for step in next_steps(empty)]
    assert any("so nothing is compared" in text for text in steps)
    assert not any("replace the reference" in text for text in steps)
    assert "neither model finds an object" in render(empty)


def test_every_step_has_a_command_and_five_come_first(study: Study) -> None:
    steps = next_steps(study)
    assert steps and all(step.command.startswith("qviz ") for step in steps)
    many = [Step(name, f"{name}{i}", "", "qviz info x") for name in "ab" for i in range(4)] + [Step("c", "c0", "", "q")]
    first, rest = first_steps(many)
    assert len(first) == MAX_FIRST == 5
    assert [step.reason for step in first] == ["a0", "a1", "b0", "b1", "c0"]  # every model is named, in order
    assert [step.reason for step in rest] == ["a2", "a3", "b2", "b3"]


def test_verdict_steps_and_contents_stand_before_the_rest(study: Study) -> None:
    html = render(study)
    order = [html.index(part) for part in ('id="verdict"', 'id="next"', 'class="contents"', 'id="models"')]
    assert order == sorted(order)
    contents = html[order[2] : order[3]]
    assert re.findall('href="#([a-z]+)"', contents) == available(study)[2:]
    assert html[order[1] : order[2]].split("<details>")[0].count("<li") <= MAX_FIRST


def test_a_flooding_or_damaged_variant_is_not_recommended(study: Study) -> None:
    """Whatever its AP."""
    assert study.evaluation is not None
    name, other = study.losses
    harmless = replace(study.losses[name], ap=Loss(0.0, -0.001, 0.001, False))
    losses = tuple(harmless for _ in study.losses)
    row = ImageLoss("a", "0", 9, 9, 9, 0, 0)
    quiet = [replace(detail, images=(row,)) for detail in study.evaluation.details]
    flood = replace(quiet[0], images=(replace(row, variant_false=9),))

    def recommended(*details: LossDetail) -> list[str]:
        assert study.evaluation is not None
        evaluation = replace(study.evaluation, losses=losses, details=details)
        steps = next_steps(replace(study, evaluation=evaluation))
        return [step.name for step in steps if step.cure == "It can replace the reference."]

    assert recommended(*quiet) == [name]  # the other one is broken
    assert is_damaged(study.summaries[other].agreement)
    assert recommended(flood, quiet[1]) == []
