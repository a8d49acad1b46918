"""The strip of images: its order is that of its badges, and both follow the score slider."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import streamlit as st

from qviz.features.comparison import ComparedImage, ComparedObject, ComparedVariant, panel_viewer
from qviz.features.comparison.panel import by_damage
from qviz.features.comparison.text import badge, damage_level
from qviz.structures import EncodedImage
from qviz.ui import view
from qviz.ui.viewer import ViewerState


def image_with(name: str, **counts: int) -> ComparedImage:
    rows = [change for change, count in counts.items() for _ in range(count)]
    empty = dict.fromkeys(ComparedObject.__slots__)
    objects = tuple(ComparedObject(**{**empty, "change": change, "label": "cat"}) for change in rows)  # type: ignore[arg-type]
    return ComparedImage(name, EncodedImage(name, name.encode()).digest, objects)


def test_images_are_sorted_by_what_their_badges_count() -> None:
    compared = [
        image_with("a", lost=5, kept=1),
        image_with("b", lost=6),
        image_with("c", spurious=9, lost=4),  # more changes than any other, but fewer lost objects
        image_with("d", lost=6, relabelled=1),
        image_with("e", shifted=3),
        image_with("f"),
        image_with("g", relabelled=1),
    ]
    images = [EncodedImage(name, name.encode()) for name in "zabcdefg"]
    order = by_damage(images, ComparedVariant("v", "int8", "0", tuple(compared)))
    assert "".join(image.name for image in order) == "dbacgefz"
    by_name = {image.image: image.summary for image in compared}
    badges = [badge(by_name[image.name]) for image in order if image.name != "z"]
    assert badges == ["6 lost", "6 lost", "5 lost", "4 lost", "1 relabelled", "3 shifted", "empty"]


LEVELS = [
    ({"kept": 60, "lost": 1}, "ok"),
    ({"kept": 9, "lost": 1}, "some"),
    ({"kept": 2, "lost": 2}, "bad"),
    ({"lost": 2}, "bad"),
    ({}, "none"),
]


@pytest.mark.parametrize(("counts", "expected"), LEVELS)
def test_an_image_is_coloured_by_the_rule_of_the_verdict_words(counts: dict[str, int], expected: str) -> None:
    assert damage_level(image_with("a", **counts).summary) == expected


class Rerun(Exception):
    """Stands for Streamlit's signal that the page runs again."""


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def rerun() -> None:
        raise Rerun

    st.session_state.clear()
    monkeypatch.setattr(st, "rerun", rerun)
    yield
    st.session_state.clear()


def test_another_threshold_redraws_the_strip(session: None) -> None:
    with pytest.raises(Rerun):
        panel_viewer.apply_events(ViewerState(threshold=0.6, acted=frozenset({"threshold"})))
    assert view.current().score == 0.6
    # neither the same threshold nor another control does
    panel_viewer.apply_events(ViewerState(threshold=0.6, acted=frozenset({"threshold"})))
    changed = panel_viewer.apply_events(ViewerState(truth=True, acted=frozenset({"truth"})))
    assert changed.truth
