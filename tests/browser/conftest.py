"""A real browser in the example shop's admin; collected only when pointed at.

``script/test-browser`` runs them: they need Chromium, Playwright and the example's settings.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "docs" / "screenshots"
CHROMIUM = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Playwright leaves an event loop in the thread that the tests run in.
os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if any("browser" in argument for argument in config.args) else True


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=CHROMIUM
        )
        yield browser
        browser.close()


@pytest.fixture
def shop(live_server, settings) -> str:
    """The URL of the running shop, whose Komfortkasse is the sandbox in it."""
    default = {
        **settings.KOMFORTKASSE["default"],
        "API_URL": f"{live_server.url}/sandbox/api/v2",
        "REQUEST_BUDGET": 30,  # seconds: the machine may be busy
    }
    settings.KOMFORTKASSE = {"default": default}
    return live_server.url


@pytest.fixture
def visit(browser, shop) -> Iterator[Callable[..., object]]:
    """Open a page as somebody who is logged in; what the policy forbids fails the test."""
    from tests.browser.people import User, log_in

    contexts = []
    complaints: list[str] = []

    def complain(entry) -> None:
        # The example has no icon, for which every browser asks by itself.
        if entry.type == "error" and not entry.location["url"].endswith("/favicon.ico"):
            complaints.append(f"{entry.location['url']}: {entry.text}")

    def visit(user: User | None = None, path: str = "/admin/", **options: object) -> object:
        context = browser.new_context(
            base_url=shop,
            **{"viewport": {"width": 1100, "height": 700}, "locale": "en", **options},
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("console", complain)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if user is not None:
            log_in(context, user, shop)
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not complaints


@pytest.fixture
def take() -> Callable[[object, str], None]:
    """Take a screenshot for the manual."""

    def take(page: object, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.evaluate("window.scrollTo(0, 0)")
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take
