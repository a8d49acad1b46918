"""The Robustness page in a real browser: the slider repaints, the sweep fills its tabs, images are offered."""

from __future__ import annotations

import io
import re
import zipfile

from playwright.sync_api import WebSocketRoute

from tests.browser.conftest import ROOT, Visit

LONG = 120_000
REV = """() => { for (const box of document.querySelectorAll('[data-testid=stBidiComponentIsolated]')) {
  const viewer = box.shadowRoot?.querySelector('.qviz-viewer[data-painted=true]');
  if (viewer) return viewer.dataset.rev; } return null; }"""


def test_light_slider_and_corruption_sweep(visit: Visit) -> None:
    visit.open("/robustness?variant=int8_wrong_range&image=berlin_street.jpg")
    page = visit.page
    visit.painted()
    before = page.evaluate(REV)
    page.locator(".stSlider input[type=range]").first.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"before => {{ const now = ({REV})(); return now && now !== before; }}", arg=before)
    page.get_by_text(re.compile("confidence along the slider")).first.wait_for(timeout=LONG)
    page.wait_for_url(re.compile(r"light=exposure(:|%3A)-0\.25"))

    page.get_by_role("tab", name="Sweep", exact=True).click()
    page.wait_for_url(re.compile("tab=Sweep"))
    images = page.get_by_test_id("stNumberInputField")
    images.fill("4")
    images.press("Enter")
    visit.settle()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("Half gone at").locator("visible=true").wait_for(timeout=LONG)  # under the button
    page.wait_for_url(re.compile("sweep="))
    page.get_by_role("tab", name="What quantization adds").click(timeout=LONG)
    assert "severity" in page.locator(".qviz-verdict").first.inner_text()
    page.get_by_text(re.compile("AP lost beyond FP32")).first.wait_for(timeout=LONG)
    page.get_by_role("tab", name="Layers out of range").click()
    page.get_by_text("operator of the variant, in the file's order").locator("visible=true").wait_for(timeout=LONG)

    page.get_by_role("tab", name="Calibration images").click()
    page.get_by_text(re.compile("of 105 images drive the network")).first.wait_for(timeout=LONG)
    with page.expect_download() as saved:
        page.get_by_role("button", name=re.compile("images to add to the calibration")).click()
    names = zipfile.ZipFile(io.BytesIO(saved.value.path().read_bytes())).namelist()
    assert names and all(name.startswith("calibration/scene_") for name in names)


def test_a_click_on_run_with_an_outdated_label_still_starts(visit: Visit) -> None:
    """The number of images is part of the button's label; it stays the same button when the number changes."""
    delayed_messages: list[str | bytes] = []
    holding = False

    def connect(here: WebSocketRoute) -> None:
        there = here.connect_to_server()
        here.on_message(there.send)
        there.on_message(lambda message: delayed_messages.append(message) if holding else here.send(message))
        sockets.append(here)

    sockets: list[WebSocketRoute] = []
    page = visit.page
    page.route_web_socket(re.compile("_stcore/stream"), connect)
    visit.open("/robustness?variant=int8_wrong_range&tab=Sweep")
    images = page.get_by_test_id("stNumberInputField")
    images.fill("3")
    holding = True
    images.press("Enter")
    page.wait_for_timeout(2_000)  # the server has handled the new number
    assert delayed_messages
    page.get_by_role("button", name="Run", exact=True).click()
    holding = False
    for message in delayed_messages:
        sockets[-1].send(message)
    page.get_by_text("robustness").or_(page.get_by_text("Half gone at")).first.wait_for(timeout=30_000)


STRIP = """() => { for (const box of document.querySelectorAll('[data-testid=stBidiComponentIsolated]')) {
  const pictures = [...(box.shadowRoot?.querySelectorAll('.qviz-strip img') ?? [])];
  if (pictures.length > 8) return pictures.map(picture => picture.src).join(); } return null; }"""


def test_the_strip_shows_the_image_in_view(visit: Visit) -> None:
    visit.open("/robustness?variant=int8_wrong_range&image=berlin_street.jpg&light=gamma:2.2")
    visit.painted()
    page = visit.page
    page.get_by_text("Gamma").first.wait_for()
    page.wait_for_function(STRIP, timeout=LONG)
    before = page.evaluate(STRIP)
    page.get_by_test_id("stFileUploaderDropzone").first.wait_for()
    visit.drop({"mine.jpg": (ROOT / "sample_data" / "images" / "hens.jpg").read_bytes() + b"\0"})
    page.get_by_text("1 image · sample models").first.wait_for()
    page.wait_for_function(f"before => {{ const now = ({STRIP})(); return now && now !== before; }}", arg=before)
    assert len(set(page.evaluate(STRIP).split("data:"))) > 8  # each is under its own light
