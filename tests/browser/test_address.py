"""The address of the dashboard: links open the same view, pages do not mix their parameters, Back takes one press."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlparse

from playwright.sync_api import expect

from tests.browser.conftest import Visit


def parameters(visit: Visit) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlparse(visit.page.url).query).items()}


def menu(visit: Visit, name: str) -> None:
    visit.page.mouse.move(640, 2)  # off the menu, whose tooltips lie over its links
    visit.page.locator('[data-testid="stSidebar"]').get_by_role("link", name=name, exact=True).click()


def test_back_takes_one_press_and_pages_do_not_mix_parameters(visit: Visit) -> None:
    visit.open("/layers?variant=int8&layer=int8:36&score=0.40")
    visit.page.locator(".qviz-layer", has_text="Operator 36 (").wait_for()
    menu(visit, "Compare")
    visit.painted()
    assert parameters(visit) == {"variant": "int8", "score": "0.40"}
    visit.page.go_back()
    visit.page.locator(".qviz-layer", has_text="Operator 36 (").wait_for()
    assert parameters(visit) == {"variant": "int8", "layer": "int8:36", "score": "0.40"}
    menu(visit, "Glossary")
    visit.page.wait_for_url(re.compile("/glossary$"))
    visit.page.go_back()
    visit.page.locator(".qviz-layer", has_text="Operator 36 (").wait_for()
    assert parameters(visit)["layer"] == "int8:36"


def test_a_link_opens_selection_and_trace(visit: Visit) -> None:
    visit.open("/compare?image=polar_bear.jpg&variant=int8_wrong_range")
    visit.painted("polar_bear.jpg")
    visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box').first.click(force=True)
    visit.page.wait_for_url(re.compile("object=v1"))
    visit.page.get_by_role("button", name="Trace this object").click()
    visit.page.wait_for_url(re.compile("trace=1"))
    address = visit.page.url
    visit.page.goto("about:blank")
    visit.page.goto(address)
    visit.page.get_by_text(re.compile("^Selected: ")).first.wait_for()
    expect(visit.page.locator(".st-key-trace-full, .st-key-trace-quick").first).to_be_visible()
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_url(lambda url: "polar_bear" not in url)
    assert set(parameters(visit)) == {"image", "variant"}


def test_a_link_opens_exposure_and_tab(visit: Visit) -> None:
    visit.open("/robustness?image=astronaut.jpg&variant=int8_wrong_range&light=exposure:-2")
    visit.painted()
    slider = visit.page.locator('[data-testid="stSlider"]', has_text="Exposure").locator("input")
    expect(slider).to_have_value("-2")
    slider.press("ArrowLeft")
    visit.page.wait_for_url(re.compile("light=exposure%3A-2.25|light=exposure:-2.25"))
    visit.page.go_back()
    expect(slider).to_have_value("-2")
    visit.open("/variants?tab=Train")
    expect(visit.page.get_by_role("tab", name="Train")).to_have_attribute("aria-selected", "true")
    visit.page.get_by_role("tab", name="Build").click()
    visit.page.wait_for_url(re.compile("tab=Build"))


def test_names_that_are_not_here_are_reported(visit: Visit) -> None:
    visit.open("/compare?image=dusk.jpg&variant=int4&score=7&object=v0:900:900")
    for text in ("the image dusk.jpg and the variant int4", "score=7", "the object v0:900:900"):
        visit.page.get_by_text(re.compile(re.escape(text))).first.wait_for()
    visit.open("/robustness?light=glow:1&tab=Magic")
    for text in ("the light glow", "the tab Magic"):
        visit.page.get_by_text(re.compile(re.escape(text))).first.wait_for()
