"""Text contrast is at least 4.5 : 1 (WCAG 2 AA) in both themes, on pages, overlays and the report."""

from __future__ import annotations

import re
import tomllib

import pytest

from qviz.chart_style import CHANGES, REFERENCE, VARIANTS
from qviz.features.reporting.html import FOLDER
from tests.conftest import ROOT

AA = 4.5
THEMES = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))["theme"]
STYLE = (ROOT / "qviz" / "ui" / "style.css").read_text(encoding="utf-8")
PAPER = (FOLDER / "page.css").read_text(encoding="utf-8")
SCRIPT = (FOLDER / "page.js").read_text(encoding="utf-8")


def channels(colour: str) -> list[float]:
    return [int(colour.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)]


def luminance(rgb: list[float]) -> float:
    """WCAG 2.2, relative luminance; channels 0..255."""
    linear = [(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (value / 255 for value in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, ground: str, share: float = 1.0) -> float:
    """Contrast ratio of two colours; share: opacity of the text."""
    over = [share * t + (1 - share) * g for t, g in zip(channels(text), channels(ground), strict=True)]
    light, dark = sorted((luminance(over), luminance(channels(ground))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_of_known_colours() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)  # the lightest grey that passes on white
    assert contrast("#000000", "#ffffff", 0.5) == pytest.approx(3.98, abs=0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_of_pages(theme: str) -> None:
    colours = THEMES[theme]
    shares = {float(share) for share in re.findall(r"opacity: (0?\.\d+)", STYLE)}
    shares |= {float(share) / 100 for share in re.findall(r"color: color-mix\(in srgb, currentColor (\d+)%", STYLE)}
    assert min(shares) < 0.8  # at least one colour was measured
    for ground in (colours["backgroundColor"], colours["secondaryBackgroundColor"]):
        assert contrast(colours["textColor"], ground, min(shares)) >= AA
        assert contrast(colours["primaryColor"], ground) >= AA, "links and chosen chips"


def test_text_of_primary_buttons() -> None:
    """White on the primary colour in the light theme; our style sheet sets another text colour in the dark theme."""
    assert contrast("#ffffff", THEMES["light"]["primaryColor"]) >= AA
    (dark,) = re.findall(r"color: light-dark\(#ffffff, (#[0-9a-f]{6})\)", STYLE)
    assert contrast(dark, THEMES["dark"]["primaryColor"]) >= AA


@pytest.mark.parametrize("style", [STYLE, PAPER], ids=["page", "report"])
def test_text_of_level_badges(style: str) -> None:
    grounds = re.findall(r"\.level[^{}]*\{[^}]*background: (#[0-9a-f]{6})", style)
    assert len(grounds) == 3
    assert all(contrast("#ffffff", ground) >= AA for ground in grounds)


@pytest.mark.parametrize("colour", [REFERENCE, *VARIANTS, *CHANGES.values()])
def test_text_of_box_labels(colour: str) -> None:
    """Black or white, whichever reads better, as the viewer chooses."""
    assert max(contrast("#000000", colour), contrast("#ffffff", colour)) >= AA


def test_text_of_the_report() -> None:
    themes = re.findall(
        r":root \{ --ink: (\S+); --paper: (\S+); --soft: (\S+); --line: \S+; --panel: (\S+); --accent: (\S+);", PAPER
    )
    assert len(themes) == 3  # light, dark, print
    for ink, paper, soft, panel, accent in themes:
        assert all(contrast(text, ground) >= AA for text in (ink, soft, accent) for ground in (paper, panel))


def test_text_of_charts_in_the_report() -> None:
    inks = re.findall(r'ink: "(#[0-9a-f]{6})", line: "\S+", panel: "(#[0-9a-f]{6})"', SCRIPT)
    assert len(inks) == 2
    assert all(contrast(ink, panel) >= AA for ink, panel in inks)


def test_colours_are_distinct() -> None:
    """Every variant has its own colour, different from the reference's and from those of changes."""
    assert len({REFERENCE.lower(), *(colour.lower() for colour in VARIANTS)}) == len(VARIANTS) + 1
    assert not {REFERENCE, *VARIANTS} & set(CHANGES.values())
