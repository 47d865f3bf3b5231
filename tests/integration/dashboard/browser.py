"""A real Chromium, without a window."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

from tests.waiting import wait_until

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
    # What moves without end is drawn sixty times a second.
    "--force-prefers-reduced-motion",
    # One process for all pages: another one for each that is opened costs more than the page.
    "--renderer-process-limit=1",
    "--disable-site-isolation-trials",
    "--disable-features=IsolateOrigins,site-per-process,SpareRendererForSitePerProcess",
    "--window-size=1200,800",
)

#: Looks until EXPRESSION is true, in the page itself: to ask for it costs much more than to look.
LOOK = """
const end = Date.now() + 5000;
return new Promise((resolve) => {
  const look = () => {
    let found = false;
    try { found = Boolean(EXPRESSION); } catch {}
    if (found || Date.now() > end) resolve(found);
    else setTimeout(look, 20);
  };
  look();
});
"""
#: The texts of the visible elements of a selector.
TEXTS = (
    "[...document.querySelectorAll(arguments[0])]"
    ".filter((one) => one.checkVisibility()).map((one) => one.innerText.trim())"
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

    def wait_for(self, expression: str, *arguments: Any, what: str = "") -> None:
        """Wait until an expression is true in the page; one that fails is not true yet."""
        script = LOOK.replace("EXPRESSION", expression)
        wait_until(lambda: self.run(script, *arguments), what or expression)

    def expect(self, expression: str, value: Any, *arguments: Any) -> None:
        """Wait until an expression has this value in the page, whose script may be at it."""
        equal = f"JSON.stringify({expression}) === JSON.stringify([...arguments].at(-1))"
        try:
            self.wait_for(equal, *arguments, value)
        except AssertionError as error:
            found = self.run(f"return {expression}", *arguments)
            raise AssertionError(f"{expression} is {found!r}, not {value!r}") from error

    def expect_texts(self, selector: str, *texts: str) -> None:
        """Wait until the visible elements say this, and no others are there."""
        self.expect(TEXTS, list(texts), selector)

    def wait_until_ready(self) -> None:
        """Wait until the page of a deploy shows its whole log."""
        self.wait_for("document.documentElement.dataset.ready !== undefined")

    def list_texts(self, selector: str) -> list[str]:
        """What the visible elements say."""
        return cast("list[str]", self.run(f"return {TEXTS}", selector))

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

    @contextmanager
    def with_script(self, script: str) -> Iterator[None]:
        """Inside, pages that are opened run this before what is their own."""
        made = self.command("Page.addScriptToEvaluateOnNewDocument", source=script)
        yield
        self.command("Page.removeScriptToEvaluateOnNewDocument", **made)

    @contextmanager
    def without_scripts(self) -> Iterator[None]:
        """Inside, pages that are opened run none."""
        self.command("Emulation.setScriptExecutionDisabled", value=True)
        yield
        self.command("Emulation.setScriptExecutionDisabled", value=False)

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
def open_browser() -> Iterator[Browser]:
    """A Chromium with a profile of its own, gone at the end."""
    profile = tempfile.mkdtemp(prefix="nv-chromium-")
    options = ChromeOptions()
    options.binary_location = get_program("chromium", "google-chrome", "google-chrome-stable")
    for switch in (*SWITCHES, f"--user-data-dir={profile}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    try:
        driver = Chrome(options, Service(get_program("chromedriver")))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
    finally:
        shutil.rmtree(profile, ignore_errors=True)
