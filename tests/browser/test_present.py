"""Presentation mode: a link opens it, keys step through the images, Esc leaves; the page behind is hidden."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.conftest import Visit

SIZE = """root => { const at = root.getBoundingClientRect();
  return [at.left, at.top, at.width - innerWidth, at.height - innerHeight, root.scrollWidth - root.clientWidth]; }"""
"""How far it is from filling the window."""


def test_a_link_presents_and_keys_step(visit: Visit) -> None:
    visit.open("/compare?present=1&image=hens.jpg&variant=int8_wrong_range")
    viewer = visit.painted()
    expect(viewer).to_have_class(re.compile("is-presenting"))
    assert viewer.evaluate(SIZE) == [0, 0, 0, 0, 0]
    expect(visit.page.locator(".qviz-toolbar")).to_be_hidden()
    name = visit.page.locator(".qviz-board-name")
    expect(name).to_have_text("hens.jpg")
    for key in ("ArrowRight", "PageUp"):
        before = name.inner_text()
        visit.page.keyboard.press(key)
        expect(name).not_to_have_text(before)
        expect(viewer).to_have_class(re.compile("is-presenting"))
    assert "present=1" in visit.page.url
    visit.page.keyboard.press("Escape")
    expect(viewer).not_to_have_class(re.compile("is-presenting"))
    expect(visit.page.locator(".qviz-toolbar")).to_be_visible()
    visit.page.wait_for_url(lambda url: "present=1" not in url)


def test_present_button_and_keyboard_shortcut(visit: Visit) -> None:
    visit.open("/compare?image=hens.jpg&variant=int8")
    viewer = visit.painted()
    visit.page.get_by_role("button", name="Present", exact=True).click()
    expect(viewer).to_have_class(re.compile("is-presenting"))
    visit.page.wait_for_url(re.compile("present=1"))
    visit.page.keyboard.press("p")
    expect(viewer).not_to_have_class(re.compile("is-presenting"))
