"""The dashboard as a person uses it, in a real browser."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Visit

MODELS = ROOT / "sample_data" / "models"
IMAGES = ROOT / "sample_data" / "images"
STEM = "ssdlite_mobilenet_v2_"


def photo(name: str, flip: bool = False) -> bytes:
    """A sample photograph as new bytes: mirrored, or encoded again."""
    with Image.open(IMAGES / name) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    buffer = io.BytesIO()
    Image.fromarray(pixels[:, ::-1] if flip else pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def transforms(visit: Visit) -> list[str]:
    return visit.page.locator(".qviz-layer").evaluate_all("layers => layers.map(layer => layer.style.transform)")


def test_a_first_visit_shows_the_damage_on_the_sample(visit: Visit) -> None:
    visit.open()
    broken = visit.page.locator(".qviz-card", has_text="int8_wrong_range")
    broken.get_by_text("broken").first.wait_for(timeout=120_000)
    assert "Wrong input range" in broken.inner_text()
    for name in ("dynamic_range", "float16"):
        assert "broken" not in visit.page.locator(".qviz-card", has_text=name).inner_text()
    visit.page.get_by_text(re.compile("over 27 images")).first.wait_for(timeout=120_000)
    assert "int8_wrong_range is broken" in visit.page.locator(".qviz-verdict").first.inner_text()
    expect(visit.page.locator(".qviz-gallery image")).to_have_count(8)


def test_a_dropped_photo_is_shown_side_by_side(visit: Visit) -> None:
    visit.open("/compare?variant=int8_wrong_range")
    visit.painted()
    visit.drop({"my dog.jpg": photo("dog_shepherd.jpg", flip=True)})
    visit.painted("my dog.jpg")
    panes = visit.page.locator(".qviz-pane").evaluate_all("panes => panes.map(pane => pane.dataset.id)")
    assert panes == ["reference", "v1"]
    assert visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box').count() > 0
    visit.page.get_by_text("1 image · sample models").first.wait_for()  # own images replace the sample's


def test_swipe_and_zoom_move_both_images(visit: Visit) -> None:
    visit.open("/compare?image=cat_chelsea.jpg&variant=int8,int8_wrong_range")
    viewer = visit.painted()
    assert len(transforms(visit)) == 3
    stage = visit.page.locator(".qviz-pane").first
    stage.click(position={"x": 200, "y": 200})
    stage.hover(position={"x": 200, "y": 200})
    visit.page.keyboard.down("Control")
    visit.page.mouse.wheel(0, -400)
    visit.page.keyboard.up("Control")
    visit.page.wait_for_timeout(400)
    zoomed = transforms(visit)
    assert len(set(zoomed)) == 1 and zoomed[0] != "", zoomed
    visit.page.keyboard.press("0")
    visit.page.wait_for_timeout(300)
    assert transforms(visit) != zoomed
    visit.page.keyboard.press("s")
    visit.page.locator('.qviz-viewer[data-mode="swipe"]').wait_for()
    assert viewer.get_attribute("data-mode") == "swipe"
    visit.page.wait_for_url(re.compile("mode=swipe"))


def test_the_threshold_filters_without_a_round_trip_and_ends_in_the_url(visit: Visit) -> None:
    visit.open("/compare?image=mariachi.jpg&variant=int8")
    viewer = visit.painted()
    before = visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box:visible').count()
    visit.page.locator("input.qviz-threshold").evaluate(
        """slider => { slider.value = 0.8; slider.dispatchEvent(new Event('input', {bubbles: true})); }"""
    )
    visit.page.wait_for_timeout(200)
    assert viewer.get_attribute("data-threshold") == "0.80"
    assert visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box:visible').count() < before
    assert "score=" not in visit.page.url
    visit.page.locator("input.qviz-threshold").evaluate(
        "slider => slider.dispatchEvent(new Event('change', {bubbles: true}))"
    )
    visit.page.wait_for_url(re.compile(r"score=0\.80"))


def test_arrow_keys_step_through_the_strip(visit: Visit) -> None:
    visit.open("/compare?image=hens.jpg&variant=int8")
    visit.painted("hens.jpg")
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_url(lambda url: "image=" in url and "hens.jpg" not in url)
    visit.page.keyboard.press("ArrowLeft")
    visit.page.wait_for_url(re.compile("hens.jpg"))


def test_a_click_on_a_box_selects_its_row(visit: Visit) -> None:
    visit.open("/compare?image=polar_bear.jpg&variant=float16")
    visit.painted("polar_bear.jpg")
    visit.page.locator('.qviz-pane[data-id="reference"] g.qviz-box').first.click(force=True)
    visit.page.get_by_text(re.compile("^Selected: ")).first.wait_for()


def test_a_deep_link_on_a_fresh_server(browser: object, start_server: Callable[[], str]) -> None:
    visit = Visit(browser, start_server())
    visit.open("/compare?image=kitten.jpg&variant=int8_wrong_range&score=0.40")
    viewer = visit.painted("kitten.jpg")
    assert viewer.get_attribute("data-threshold") == "0.40"
    assert visit.page.locator('[data-testid="stSidebar"]').get_by_role("link", name="Accuracy").count() == 1
    visit.page.get_by_role("link", name="Overview").click()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    assert visit.outside == []
    visit.close()


def test_accuracy_shows_loss_by_class(visit: Visit) -> None:
    visit.open("/accuracy")
    visit.page.get_by_role("tab", name="Loss by class").wait_for(timeout=120_000)
    assert "AP" in visit.page.locator(".qviz-verdict").first.inner_text()
    visit.page.locator('[data-testid="stPlotlyChart"] .bars').first.wait_for()


def test_own_models_and_a_hostile_label(visit: Visit) -> None:
    visit.open()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    files = {
        f"{STEM}{name}.tflite": (MODELS / f"{STEM}{name}.tflite").read_bytes() for name in ("int8", "dynamic_range")
    }
    hostile = "\n".join(["<img src=x onerror=alert(1)>"] * 90).encode()
    visit.drop(files | {"labels.txt": hostile})
    visit.page.get_by_role("button", name="Back to the sample").wait_for(timeout=120_000)
    visit.settle()
    expect(visit.page.locator(".qviz-card")).to_have_count(1, timeout=120_000)
    visit.page.get_by_role("link", name="Compare", exact=True).first.click()
    visit.painted()
    assert visit.page.locator(".qviz-viewer img").count() == visit.page.locator(".qviz-pane").count()
    assert visit.page.get_by_text("<img src=x onerror=alert(1)>").count() > 0


def test_a_broken_image_among_good_ones(visit: Visit) -> None:
    visit.open("/compare?variant=int8")
    visit.painted()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("good one.jpg", photo("coffee.jpg", flip=True))
        archive.writestr("cut short.jpg", photo("hens.jpg")[:2000])
    visit.drop({"photos.zip": buffer.getvalue(), "empty.png": b""})
    visit.page.get_by_text("3 images · sample models").first.wait_for(timeout=120_000)
    visit.page.get_by_role("link", name="Overview").click()
    visit.page.get_by_text(re.compile("cut short.jpg is damaged or cut short")).first.wait_for(timeout=120_000)
    visit.page.get_by_text(re.compile("empty.png is empty")).first.wait_for(timeout=120_000)
    visit.open("/compare?variant=int8&image=coffee.jpg")
    visit.painted("coffee.jpg")


def test_a_broken_model_leaves_the_others_usable(visit: Visit) -> None:
    visit.open()
    visit.page.locator(".qviz-card").first.wait_for(timeout=120_000)
    data = bytearray((MODELS / f"{STEM}int8.tflite").read_bytes()[:400_000])
    visit.drop({"broken.tflite": bytes(data), "text.tflite": b"this is no model at all"})
    visit.page.get_by_text(re.compile("text.tflite is not a TensorFlow Lite file")).first.wait_for(timeout=120_000)
    visit.page.locator(".qviz-card").nth(3).wait_for(timeout=120_000)
    expect(visit.page.locator(".qviz-card")).to_have_count(4, timeout=120_000)


def test_dark_mode_follows_the_system(browser: object, server: str) -> None:
    visit = Visit(browser, server, color_scheme="dark")
    visit.open("/compare?image=hens.jpg&variant=int8")
    visit.painted()
    background = visit.page.evaluate("getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor")
    assert sum(int(part) for part in re.findall(r"\d+", background)[:3]) < 150
    visit.close()


def test_a_4k_projector_gets_larger_type(visit: Visit) -> None:
    visit.open("/compare?image=dog_shepherd.jpg")
    tag = visit.painted().locator(".qviz-tag").first  # type: ignore[attr-defined]
    usual = tag.evaluate("tag => parseFloat(getComputedStyle(tag).fontSize)")
    visit.page.set_viewport_size({"width": 3840, "height": 2000})
    main = visit.page.locator('[data-testid="stMain"]')
    assert main.evaluate("() => getComputedStyle(document.documentElement).fontSize") == "20px"
    visit.page.wait_for_function("main => main.scrollWidth <= main.clientWidth", arg=main.element_handle())
    visit.page.wait_for_function(  # the viewer is laid out again
        "([tag, usual]) => parseFloat(getComputedStyle(tag).fontSize) > 1.3 * usual", arg=[tag.element_handle(), usual]
    )


def test_layers_name_the_input_quantizer(visit: Visit) -> None:
    visit.open("/layers?variant=int8_wrong_range")
    visit.page.get_by_text(re.compile("the input quantizer .QUANTIZE. clips")).first.wait_for(timeout=120_000)
    visit.page.locator('[data-testid="stPlotlyChart"] .scatterlayer').first.wait_for()


def test_uploaded_photos_are_private_to_their_session(browser: object, server: str) -> None:
    owner, other = Visit(browser, server), Visit(browser, server)
    owner.open("/compare?variant=int8")
    owner.painted()
    owner.drop({"private.jpg": photo("kitten.jpg", flip=True)})
    owner.page.get_by_text("1 image · sample models").first.wait_for(timeout=120_000)
    other.open("/compare?variant=int8&image=private.jpg")
    other.painted()
    other.page.get_by_text("27 images").first.wait_for()
    other.page.get_by_text("The address names the image private.jpg, which is not loaded here.").wait_for()
    assert other.page.get_by_text("private.jpg").count() == 1  # in that sentence
    owner.close()
    other.close()


CLICK_AT_ONCE = """([text, link]) => new Promise(done => {
    const timer = setInterval(() => {
        if (!document.body.innerText.includes(text)) return;
        clearInterval(timer);
        [...document.querySelectorAll('a')].find(a => a.innerText.trim() === link).click();
        done();
    }, 2);
})"""


def test_a_click_while_the_last_result_arrives_is_not_lost(browser: object, start_server: Callable[[], str]) -> None:
    """The page is redrawn at that moment without its timer; a second run must not lose the requested page."""
    fresh = start_server()  # has no results yet
    visit = Visit(browser, fresh)
    visit.page.goto(fresh)
    visit.page.evaluate(CLICK_AT_ONCE, ["over 27 images", "Compare"])
    visit.painted()
    visit.close()
