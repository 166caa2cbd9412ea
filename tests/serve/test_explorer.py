"""The explorer in headless Chromium."""

from __future__ import annotations

import json
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from spike_dgl.recommend import Recommender
from spike_dgl.serve.api import create_app
from spike_dgl.serve.service import Service
from tests.serve.conftest import NASTY_ITEM, NASTY_TITLE, NASTY_USER

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER),
    reason="needs chromium and chromedriver: apt-get install chromium chromium-driver",
)
TOKEN = "a-token-of-some-length"


@contextmanager
def listening(service: Service, token: str | None = None) -> Iterator[str]:
    """URL of a server on a thread of this process."""
    with socket.create_server(("127.0.0.1", 0)) as opened:
        app = create_app(service, token=token, only_local_names=token is None)
        # Without lifespan, whose end would close the service that other tests share.
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()
        yield f"http://127.0.0.1:{opened.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(service: Service) -> Iterator[str]:
    with listening(service) as found:
        yield found


class Browser:
    """A browser window, with functions that wait for content."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def one(self, selector: str) -> WebElement:
        """Wait for a visible element and return the first one."""

        def visible(driver: webdriver.Chrome) -> WebElement | None:
            found = driver.find_elements(By.CSS_SELECTOR, selector)
            return next((element for element in found if element.is_displayed()), None)

        wait = WebDriverWait(self.driver, 20, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(visible, f"nothing visible is {selector}")

    def texts(self, selector: str) -> list[str]:
        self.one(selector)
        script = "return [...document.querySelectorAll(arguments[0])].map(element => element.textContent)"
        texts: list[str] = self.driver.execute_script(script, selector)
        return texts

    def wait_for(self, selector: str, texts: list[str]) -> None:
        WebDriverWait(self.driver, 20).until(
            lambda _: self.texts(selector) == texts, f"{selector} never became {texts}"
        )

    def requested(self) -> list[str]:
        """Return the URLs of everything that pages loaded since the last call."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
        ]


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Driver(DRIVER))
    yield opened
    opened.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome, address: str) -> Iterator[Browser]:
    """Browser with an empty page; checks afterwards for errors and requests to other hosts."""
    driver.get("about:blank")
    window = Browser(driver)
    window.requested()
    yield window
    assert [url for url in window.requested() if not url.startswith(("http://127.0.0.1:", "data:"))] == []
    wrong = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    # The browser logs every response with status 4xx, and some tests expect one.
    assert [message for message in wrong if "status of 4" not in message] == []


def names(items: list) -> list[str]:
    return [item.name for item in items]


def test_choose_a_user_and_an_item_to_see_list_and_explanation(
    browser: Browser, address: str, service: Service
) -> None:
    browser.driver.get(address)
    picker = browser.one("#pick-user")
    picker.send_keys("ü", Keys.ENTER)
    recommended = names(service.recommender.recommend(NASTY_USER))
    browser.wait_for("#ranking .name", recommended)
    assert browser.texts("#history h3") == [f"User {NASTY_USER}"]
    assert browser.texts("#history li") == names(service.recommender.history(NASTY_USER))

    browser.one("#with-seen").click()
    everything = service.recommender.recommend(NASTY_USER, exclude_seen=False)
    browser.wait_for("#ranking .name", names(everything))
    explained = next(item for item in everything if int(item.id) % 2 == 0)  # of the genre that the user likes
    browser.one(f"#ranking [data-item='{explained.id}']").click()
    assert browser.texts("#reasons h3.item") == [explained.name]
    paths = browser.texts("#reasons .chain")
    assert paths
    assert all(path.startswith(f"user {NASTY_USER}") and path.endswith(explained.name) for path in paths)
    assert [part[:2] for part in browser.texts("#reasons .parts div")] == ["ID", "Gr", "Pr", "Po"]
    browser.one("#reasons summary").click()
    assert browser.one("#reasons details[open] table").is_displayed()
    assert browser.texts("#reasons .similar li") == names(service.recommender.similar_items(explained.id, 6))

    # The address contains the choice, so that it can be shared and the browser's back button works.
    shown = browser.driver.current_url
    browser.driver.back()
    browser.wait_for("#reasons .empty", ["Choose an item of the list to see why it is recommended."])
    browser.driver.get("about:blank")
    browser.driver.get(shown)
    browser.wait_for("#reasons h3.item", [explained.name])


def test_a_hostile_title_is_shown_as_text_everywhere(browser: Browser, address: str) -> None:
    browser.driver.get(f"{address}#user=0&item={NASTY_ITEM}")
    browser.wait_for("#reasons h3.item", [NASTY_TITLE])
    assert any(path.endswith(NASTY_TITLE) for path in browser.texts("#reasons .chain"))
    browser.one("#tab-items").click()
    browser.one("#pick-liked").send_keys("amelie")
    browser.wait_for("#pick-liked-options bdi", [NASTY_TITLE])
    browser.one("#pick-liked").send_keys(Keys.ENTER)
    browser.wait_for("#liked bdi", [NASTY_TITLE])
    browser.one("#ranking .name")
    assert "explorer" in browser.driver.title
    assert browser.driver.find_elements(By.CSS_SELECTOR, "main img, main script, main b") == []


def test_new_users_by_liked_items_and_by_description(
    browser: Browser, address: str, service: Service
) -> None:
    recommender: Recommender = service.recommender
    browser.driver.get(address)
    browser.one("#tab-items").click()
    for title in ("Film 4", "Film 6"):
        browser.one("#pick-liked").send_keys(title, Keys.ENTER)
        WebDriverWait(browser.driver, 20).until(lambda _, title=title: title in browser.texts("#liked bdi"))
    browser.wait_for("#ranking .name", names(recommender.recommend_for_items(["4", "6"])))
    browser.one("#liked .remove").click()
    browser.wait_for("#ranking .name", names(recommender.recommend_for_items(["6"])))

    browser.one("#tab-text").click()
    browser.one("#taste").send_keys("comedy")
    browser.one("#panel-text button").click()
    found = recommender.recommend_for_text("comedy")
    browser.wait_for("#ranking .name", names(found))
    assert browser.texts("#ranking .match mark")[0] == found[0].match.words[0]
    assert browser.texts("#ranking .matched-entity bdi")[0] == found[0].match.entities[0].name
    browser.one("#ranking button").click()
    assert "this user is new" in browser.texts("#reasons .hint")[0]
    browser.one("#taste").send_keys(" qqq")
    browser.one("#panel-text button").click()
    assert browser.one("#unknown-words").text == "Not found in any profile: qqq"
    browser.one("#taste").clear()
    browser.one("#taste").send_keys(f"like {recommender.items.names[6]}")
    browser.one("#panel-text button").click()
    assert browser.one("#liked-in-text").text == f"For someone who likes {recommender.items.names[6]}"
    browser.one("#taste").clear()
    browser.one("#taste").send_keys("qqq")
    browser.one("#panel-text button").click()
    assert "knows no word of 'qqq'" in browser.one("#ranking .trouble").text


def test_an_unknown_user_in_the_address_is_named(browser: Browser, address: str) -> None:
    browser.driver.get(f"{address}#user=nobody")
    assert "unknown user 'nobody'" in browser.one("#ranking .trouble").text


def test_the_token_is_asked_for_once(browser: Browser, service: Service) -> None:
    with listening(service, TOKEN) as address:
        browser.driver.get(f"{address}#user=0")
        browser.one("#token").send_keys("not the token", Keys.ENTER)
        browser.one("#token").send_keys(TOKEN, Keys.ENTER)
        browser.wait_for("#ranking .name", names(service.recommender.recommend("0")))


def test_the_openapi_page_opens(browser: Browser, address: str) -> None:
    browser.driver.get(f"{address}/docs")
    assert "/api/explanations" in "".join(browser.texts(".opblock-summary-path"))
