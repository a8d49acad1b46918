"""What a visitor dropped survives a reload, a second tab and another server; a stranger does not see it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

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
    sidebar.get_by_text("Project", exact=True).click()
    sidebar.get_by_label("Name").fill("night shift")
    sidebar.get_by_label("Name").press("Enter")
    sidebar.get_by_text("· night shift").wait_for()
    with visit.page.expect_download() as download:
        sidebar.get_by_role("button", name="Download as one file").first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.name == "night shift.qviz.zip"
    sidebar.get_by_role("button", name="Delete this project").click()
    visit.page.wait_for_url(lambda url: "project=" not in url)
    visit.open(f"/?project={number}")
    visit.page.get_by_text("The project of this address is not on this server.").wait_for()
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
    stranger.page.get_by_text("The project of this address is not on this server.").wait_for()
    stranger.open("/?project=../../etc")
    stranger.page.get_by_text("The address does not name a project").wait_for()
    stranger.close()
