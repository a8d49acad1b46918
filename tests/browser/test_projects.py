"""What a visitor dropped survives a reload, a second tab and another server; a stranger does not see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser.conftest import Visit
from tests.browser.test_dashboard import photo

NAME = "my dog.jpg"


def project_of(visit: Visit) -> str:
    """The ID in the address, once it is there."""
    visit.page.wait_for_url(re.compile(r"project=[0-9a-f]{32}"))
    (number,) = re.findall(r"project=([0-9a-f]{32})", visit.page.url)
    return str(number)


def shows_the_photo(visit: Visit, address: str, number: str) -> None:
    """Whether Compare shows the photo of that project."""
    visit.page.goto(f"{address}/compare?image={NAME.replace(' ', '+')}&project={number}")
    visit.settle()
    visit.painted(NAME)


def test_a_project_survives_reload_second_tab_and_restart(
    visit: Visit, browser: object, start_server: Callable[[], str]
) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    number = project_of(visit)
    visit.page.reload()
    visit.painted(NAME)
    assert project_of(visit) == number
    colleague = Visit(browser, visit.address)
    shows_the_photo(colleague, visit.address, number)
    colleague.close()
    restarted = Visit(browser, start_server())
    shows_the_photo(restarted, restarted.address, number)
    restarted.close()


def test_the_id_stays_in_the_address_of_every_page(visit: Visit) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    number = project_of(visit)
    visit.page.get_by_test_id("stSidebar").get_by_role("link", name="Glossary").click()
    visit.page.get_by_text("agreement").first.wait_for()
    assert project_of(visit) == number
    visit.page.get_by_role("button", name="Back to the sample").click()
    visit.page.wait_for_url(lambda url: "project=" not in url)


def test_a_project_is_named_downloaded_deleted_and_opened_again(visit: Visit, tmp_path: Path) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    number = project_of(visit)
    sidebar = visit.page.get_by_test_id("stSidebar")
    sidebar.get_by_text("Projects", exact=True).click()
    sidebar.get_by_label("Name").fill("night shift")
    sidebar.get_by_label("Name").press("Enter")
    sidebar.get_by_text("· night shift").wait_for()
    with visit.page.expect_download() as download:
        sidebar.get_by_role("button", name="Download as one file").first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "night shift.qviz.zip"
    sidebar.get_by_role("button", name="Remove night shift").click()
    sidebar.get_by_role("button", name="Delete", exact=True).click()
    visit.page.wait_for_url(lambda url: "project=" not in url)
    sidebar.get_by_text("What you drop becomes a project.").wait_for()
    visit.open(f"/?project={number}")
    visit.page.get_by_text("The project at this address is not on this server.").wait_for()
    visit.open("/compare")
    visit.drop({path.name: path.read_bytes()})
    sidebar.get_by_text("· night shift").wait_for()
    assert project_of(visit) != number
    shows_the_photo(visit, visit.address, project_of(visit))


def test_a_stranger_sees_the_sample(visit: Visit, browser: object) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    project_of(visit)
    stranger = Visit(browser, visit.address)
    stranger.open("/")
    stranger.page.get_by_text("bundled sample").first.wait_for()
    assert NAME not in stranger.page.locator("body").inner_text()
    stranger.open(f"/?project={'0' * 32}")
    stranger.page.get_by_text("The project at this address is not on this server.").wait_for()
    stranger.open("/?project=../../etc")
    stranger.page.get_by_text("The address does not name a project").wait_for()
    stranger.close()


def test_a_new_project_starts_empty_and_has_an_address_of_its_own(visit: Visit) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    first = project_of(visit)
    sidebar = visit.page.get_by_test_id("stSidebar")
    sidebar.get_by_text("Projects", exact=True).click()
    sidebar.get_by_role("button", name="New empty project").click()
    visit.page.get_by_text("Drop models and photos to see what each model finds.").wait_for()
    visit.page.wait_for_url(lambda url: first not in url)
    second = project_of(visit)
    visit.page.reload()
    visit.page.get_by_text("Drop models and photos to see what each model finds.").wait_for()
    assert project_of(visit) == second != first
    visit.settle()
    visit.drop({"second.jpg": photo("dog_shepherd.jpg", flip=True)})
    sidebar.get_by_text("Projects", exact=True).click()
    sidebar.get_by_text("0 models, 1 image").wait_for()
    assert project_of(visit) == second


def test_projects_are_switched_and_all_deleted(visit: Visit, browser: object) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    first = project_of(visit)
    sidebar = visit.page.get_by_test_id("stSidebar")
    sidebar.get_by_role("button", name="Back to the sample").click()
    visit.page.wait_for_url(lambda url: "project=" not in url)
    visit.drop({"second.jpg": photo("cat_chelsea.jpg", flip=True)})
    visit.painted("second.jpg")
    second = project_of(visit)
    sidebar.get_by_text("Projects", exact=True).click()
    for number, name, button in ((first, NAME, "my dog.jpg"), (second, "second.jpg", "second.jpg")):
        sidebar.locator(".qviz-project-list button.open", has_text=button).click()
        visit.painted(name)
        visit.page.wait_for_url(re.compile(f"project={number}"))
    other_tab = Visit(browser, visit.address)
    other_tab.open(f"/compare?project={second}")
    other_tab.painted("second.jpg")
    sidebar.get_by_role("button", name="Delete all my data").click()
    sidebar.get_by_text("Delete 2 projects for good?").wait_for()
    sidebar.get_by_role("button", name="Delete all", exact=True).click()
    visit.page.wait_for_url(lambda url: "project=" not in url)
    visit.painted()
    sidebar.get_by_text("What you drop becomes a project.").wait_for()
    other_tab.page.get_by_test_id("stSidebar").get_by_text("Large type").click()
    other_tab.page.get_by_text("The project is no longer on this server: it was deleted on another page").wait_for()
    other_tab.close()
    for number in (first, second):
        visit.open(f"/?project={number}")
        visit.page.get_by_text("The project at this address is not on this server.").wait_for()


def test_two_pages_of_one_project_follow_each_other(visit: Visit, browser: object) -> None:
    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    colleague = Visit(browser, visit.address)
    colleague.open(f"/compare?project={project_of(visit)}")
    colleague.painted(NAME)
    colleague.drop({"second.jpg": photo("cat_chelsea.jpg", flip=True)})
    colleague.painted("second.jpg")
    visit.drop({"third.jpg": photo("hens.jpg", flip=True)})
    visit.painted("third.jpg")
    visit.page.get_by_text("3 images · sample models").wait_for()
    assert project_of(visit) == project_of(colleague)
    colleague.close()


def test_an_id_is_in_no_log_and_no_referer(visit: Visit, tmp_path_factory: pytest.TempPathFactory) -> None:
    def logs() -> str:
        paths = sorted(tmp_path_factory.getbasetemp().glob("server*/*.log"))
        assert paths
        return "".join(path.read_text(errors="replace") for path in paths)

    visit.open("/compare")
    visit.painted()
    visit.drop({NAME: photo("dog_shepherd.jpg", flip=True)})
    visit.painted(NAME)
    number, referers = project_of(visit), []
    visit.page.on("request", lambda request: referers.append(request.all_headers().get("referer", "")))
    visit.page.get_by_test_id("stSidebar").get_by_text("Projects", exact=True).click()
    with visit.page.expect_download():
        visit.page.get_by_role("button", name="Download as one file").first.click()
    visit.drop({"second.jpg": photo("cat_chelsea.jpg", flip=True)})
    visit.painted("second.jpg")
    assert referers
    assert not any(number in referer for referer in referers)
    visit.page.goto(f"{visit.address}/?project={'f' * 32}")
    visit.page.get_by_text("not on this server").wait_for()
    assert number not in logs()
    assert "f" * 32 not in logs()
