"""A real Chromium, without a window."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.waiting import wait_until

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

#: Nothing but what a test asks for is loaded, and nothing is sent to anybody.
SWITCHES = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,800",
)

#: What Chromium itself says of requests that fail; tests that stop the server expect it.
NETWORK = "network"


class Browser:
    """One Chromium; :func:`open_browser` opens it."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver
        #: The sources of what the console may say in the test that is running.
        self.expected: frozenset[str] = frozenset()

    def open(self, url: str) -> None:
        """Load a page."""
        self.driver.get(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """What ``return …`` of a script gives, run in the page."""
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, script: str, *arguments: Any, what: str = "") -> Any:
        """Wait until an expression is true in the page; returns its value."""
        found: list[Any] = []

        def is_so() -> bool:
            found[:] = [self.run(f"return {script}", *arguments)]
            return bool(found[0])

        wait_until(is_so, what or script)
        return found[0]

    def wait_until_ready(self) -> None:
        """Wait until the page of a deploy shows its whole log."""
        self.wait_for("document.documentElement.dataset.ready !== undefined")

    def list_texts(self, selector: str) -> list[str]:
        """What the visible elements say."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".filter((one) => one.checkVisibility()).map((one) => one.innerText.trim())"
        )
        return cast("list[str]", self.run(script, selector))

    def click(self, selector: str) -> None:
        """Click on an element, as a hand would."""
        self.driver.find_element("css selector", selector).click()

    def type(self, text: str, selector: str = "body") -> None:
        """Press keys while an element has the focus."""
        self.driver.find_element("css selector", selector).send_keys(text)

    def wheel(self, pixels: int) -> None:
        """Turn the wheel over the middle of the page; downwards where it is above 0."""
        self.command(
            "Input.dispatchMouseEvent", type="mouseWheel", x=400, y=400, deltaX=0, deltaY=pixels
        )

    @contextmanager
    def in_background(self) -> Iterator[None]:
        """Inside, nobody sees the page: its window is minimised."""
        self.driver.minimize_window()
        self.wait_for("document.hidden")
        yield
        self.driver.set_window_rect(0, 0, 1200, 800)
        self.wait_for("!document.hidden")

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        """A command of the Chrome DevTools Protocol."""
        return cast("dict[str, Any]", self.driver.execute_cdp_cmd(name, arguments))

    def read_console(self) -> list[dict[str, Any]]:
        """What the console has got since it was read last."""
        return cast("list[dict[str, Any]]", self.driver.get_log("browser"))  # type: ignore[no-untyped-call]

    def find_all(self, selector: str, *, visible: bool = False) -> list[WebElement]:
        """The elements themselves, also where no script runs."""
        found = self.driver.find_elements("css selector", selector)
        return [each for each in found if not visible or each.is_displayed()]

    def prefer_colours(self, scheme: str) -> None:
        """Let the page know that its reader likes it ``light`` or ``dark``."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.command("Emulation.setEmulatedMedia", features=[feature])

    def reset(self) -> None:
        """Undo what a test may have changed about the reader."""
        self.resize(1200, 800)
        self.command("Emulation.setEmulatedMedia", media="", features=[])
        self.command("Emulation.setFocusEmulationEnabled", enabled=False)

    def resize(self, width: int, height: int) -> None:
        """Make the page's area this large."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def save_screenshot(self, path: Path) -> None:
        """What is seen, as PNG."""
        assert self.driver.save_screenshot(str(path))


def get_program(*names: str) -> str:
    """The first of these programs that there is: on Ubuntu, Chromium is a snap."""
    found = next(filter(None, map(shutil.which, names)), None)
    assert found is not None, f"none of {', '.join(names)} is installed"
    return found


@contextmanager
def open_browser(*, scripts: bool = True) -> Iterator[Browser]:
    """A Chromium with a profile of its own, gone at the end; without ``scripts`` it runs none."""
    profile = tempfile.mkdtemp(prefix="nv-chromium-")
    options = ChromeOptions()
    options.binary_location = get_program("chromium", "google-chrome", "google-chrome-stable")
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if not scripts:
        rule = {"profile.managed_default_content_settings.javascript": 2}
        options.add_experimental_option("prefs", rule)
    try:
        driver = Chrome(options, Service(get_program("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
