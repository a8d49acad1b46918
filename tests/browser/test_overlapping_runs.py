"""A click acts although another run of the script begins while the click is on its way, and replaces its own run."""

from __future__ import annotations

import re

from playwright.sync_api import Error, Locator, expect

from tests.browser.conftest import Visit

OVERLAP = """async ([clicked, switcher]) => {
  const app = document.querySelector('[data-testid="stApp"]'), send = WebSocket.prototype.send, messages = [];
  let sent;
  const next = () => new Promise((resolve) => { sent = resolve; });
  WebSocket.prototype.send = function (data) { messages.push([this, data]); sent(); };
  const pass = ([socket, data]) => send.call(socket, data);
  const late = new Promise((_, reject) => setTimeout(() => reject(new Error("nothing happened for 20 s")), 20000));
  late.catch(() => {});  // not an error of the page if nothing waits for it any more
  try {
    let message = next();
    clicked.click();
    await Promise.race([message, late]);
    message = next();
    switcher.click();
    await Promise.race([message, late]);
  } catch (error) {
    messages.forEach(pass);
    throw error;
  } finally {
    WebSocket.prototype.send = send;
  }
  const begun = new Promise((resolve) => {
    const watch = new MutationObserver(() => {
      if (app.getAttribute("data-test-script-state") !== "running") return;
      watch.disconnect();
      resolve();
    });
    watch.observe(app, { attributes: true });
  });
  pass(messages[0]);
  await Promise.race([begun, late.catch(() => {})]);
  messages.slice(1).forEach(pass);
  return messages.length;
}"""
"""Send a click's message, and at the moment at which its run begins that of a switch, which redraws the whole page."""


def overlap(visit: Visit, clicked: Locator) -> None:
    """Click, and redraw the whole page while the run that the click causes has just begun.

    A part of the page that draws itself again in the meantime takes the elements with it; then they are looked up anew.
    """
    switch = visit.page.locator('[data-testid="stSidebar"] label', has_text="Large type").locator("input")
    for attempts_left in (2, 1, 0):
        visit.settle()
        try:
            assert visit.page.evaluate(OVERLAP, [clicked.element_handle(), switch.element_handle()]) >= 2
            return
        except Error:
            if not attempts_left:
                raise


def test_thumbnails_and_arrows(visit: Visit) -> None:
    visit.open("/compare?image=cat_chelsea.jpg&variant=int8_wrong_range")
    visit.painted("cat_chelsea.jpg")
    for name in ("dog_shepherd.jpg", "astronaut.jpg"):
        overlap(visit, visit.page.locator(f'.qviz-strip [data-name="{name}"]'))
        visit.painted(name)
        expect(visit.page).to_have_url(re.compile(f"image={name}"))
    thumbnails = visit.page.locator(".qviz-strip button[data-name]")
    expect(thumbnails.locator(".badge")).to_have_count(thumbnails.count())  # all have run, so the order is final
    visit.settle()
    names = thumbnails.evaluate_all("rows => rows.map(row => row.dataset.name)")
    for step in (1, 2):
        overlap(visit, visit.page.locator('.qviz-viewer [data-action="next"]'))
        visit.painted(names[(names.index("astronaut.jpg") + step) % len(names)])


def test_an_image_of_the_gallery(visit: Visit) -> None:
    visit.open()
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for()
    first = visit.page.locator(".qviz-gallery button").first
    first.wait_for()
    overlap(visit, first)
    visit.page.wait_for_url(re.compile(r"compare\?.*image="))


def test_tabs(visit: Visit) -> None:
    visit.open("/variants")
    for name in ("Build", "Train"):
        tab = visit.page.get_by_role("tab", name=name)
        tab.wait_for()
        overlap(visit, tab)
        visit.page.wait_for_url(re.compile(f"tab={name}"))
        expect(tab).to_have_attribute("aria-selected", "true")
