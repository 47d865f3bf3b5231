"""The log of a deploy that has ended, in a browser."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi.log import levels, wire
from tests.integration.commands import wait_until
from tests.integration.dashboard.browser import Browser, open_browser
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    browser,
    build_page_url,
    chromium,
    is_in_view,
    list_messages,
    list_numbers,
    log_steps,
    open_deploy,
    post,
    post_lines,
    shared,
    start_run,
)

__all__ = ["browser", "chromium", "shared"]

HOSTILE = (
    "<script>window.broken = true</script><img src=x onerror='window.broken = true'>",
    "\x1b[31mred\x1b[0m and \x1b]8;;javascript:window.broken=1\x07a link\x1b]8;;\x07 and \x00",
    "\u202egnirts a\u202c and \u2066more",
    "javascript:window.broken=1 https://example.com/<script>alert(1)</script> http://",
)


@pytest.fixture(scope="module")
def failed(shared: Serving, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A deploy of three steps, of which the last one failed: 96 lines."""
    deploy_id = "failed"
    with start_run(shared, tmp_path_factory.mktemp("failed"), deploy_id) as run:
        run.log.info("nvoi: deploy shop")
        log_steps(run.log, {"Check": 3, "Build": 40})
        run.log.warning("a package is old")
        run.log.step("Start web")
        for number in range(1, 46):
            run.log.info("waiting for web, try %d", number)
        run.log.error("web did not become healthy: GET /up answered 500")
        run.log.info("Undoing: Start web")
        run.log.error("Could not undo it")
        run.stream.failed("web did not become healthy")
    return deploy_id


@pytest.fixture
def page(browser: Browser, shared: Serving, failed: str) -> Browser:
    open_deploy(browser, shared, failed)
    return browser


def is_open(page: Browser, step: str) -> bool:
    script = (
        "return [...document.querySelectorAll('#log h3 button')]"
        ".find((one) => one.querySelector('.name').innerText === arguments[0])"
        ".getAttribute('aria-expanded')"
    )
    return bool(page.run(script, step) == "true")


def click_step(page: Browser, step: str) -> None:
    script = (
        "[...document.querySelectorAll('#log h3 button')]"
        ".find((one) => one.querySelector('.name').innerText === arguments[0]).click()"
    )
    page.run(script, step)


def test_a_failed_deploy_opens_with_the_failed_step_at_its_first_error(page: Browser) -> None:
    assert page.list_texts("#log h3 .name") == ["Check", "Build", "Start web"]
    assert [is_open(page, step) for step in ("Check", "Build", "Start web")] == [False, False, True]
    assert page.list_texts("#log .target .message") == [
        "web did not become healthy: GET /up answered 500"
    ]
    assert is_in_view(page, "#log .target")
    assert page.list_texts("#log .step.failed .name") == ["Start web"]
    assert page.list_texts("#log .step.failed .marks") == ["2 errors"]


def test_each_step_tells_its_time(page: Browser) -> None:
    times = page.list_texts("#log h3 .took")

    assert len(times) == 3
    assert all(time.endswith(" s") for time in times)


def test_a_step_folds_and_opens(page: Browser) -> None:
    click_step(page, "Check")
    assert is_open(page, "Check")
    assert "Check: line 3" in list_messages(page)

    click_step(page, "Check")
    assert not is_open(page, "Check")
    assert "Check: line 3" not in list_messages(page)


def test_all_steps_fold_and_open_at_once(page: Browser) -> None:
    page.click("#fold")
    assert list_messages(page) == ["nvoi: deploy shop"]

    page.click("#fold")
    assert all(is_open(page, step) for step in ("Check", "Build", "Start web"))


def test_the_text_filter_shows_what_matches_also_in_folded_steps(page: Browser) -> None:
    page.type("LINE 3", "#filter")

    page.wait_for("document.querySelector('#count').innerText === '12 of 96 lines'")
    assert list_messages(page)[:2] == ["Check: line 3", "Build: line 3"]
    assert page.list_texts("#log h3 .name") == ["Check", "Build"]
    assert set(page.list_texts("#log mark")) == {"line 3"}

    page.type("\ue00c", "#filter")
    page.wait_for("document.querySelector('#count').innerText === '96 lines'")
    assert not is_open(page, "Check")
    assert page.list_texts("#log mark") == []


def test_the_level_filter_shows_what_is_at_least_as_severe(page: Browser) -> None:
    assert page.list_texts(".levels b") == ["1", "2"]

    page.run("document.querySelector('.levels [value=warning]').click()")
    page.wait_for("document.querySelectorAll('#log .line').length === 3")
    assert list_messages(page) == [
        "a package is old",
        "web did not become healthy: GET /up answered 500",
        "Could not undo it",
    ]

    page.run("document.querySelector('.levels [value=error]').click()")
    assert page.list_texts("#count") == ["2 of 96 lines"]


def test_a_permalink_leads_to_its_line_in_a_folded_step(
    browser: Browser, shared: Serving, failed: str
) -> None:
    open_deploy(browser, shared, failed, "#L20")

    assert is_open(browser, "Build")
    assert browser.list_texts("#log .target .number") == ["20"]
    wait_until(lambda: is_in_view(browser, "#L20"), "line 20 in view")


def test_a_permalink_leads_to_a_step(browser: Browser, shared: Serving, failed: str) -> None:
    open_deploy(browser, shared, failed, "#L6")

    assert browser.list_texts("#log .target .name") == ["Build"]


def test_a_line_is_chosen_by_its_number_whatever_the_filter(page: Browser) -> None:
    page.type("healthy", "#filter")
    page.wait_for("document.querySelectorAll('#log .line').length === 1")
    page.click("#L94 .number")
    assert page.driver.current_url.endswith("#L94")

    page.run("location.hash = '#L3'")
    page.wait_for("document.querySelector('#L3.target')")
    assert page.list_texts("#count") == ["96 lines"]


def test_a_permalink_to_nothing_changes_nothing(
    browser: Browser, shared: Serving, failed: str
) -> None:
    open_deploy(browser, shared, failed, "#L5000")

    assert browser.list_texts("#log .target") == []


def test_keys_lead_to_the_filter_and_from_error_to_error(page: Browser) -> None:
    page.type("n")
    assert page.list_texts("#log .target .message") == ["Could not undo it"]
    page.type("p")
    page.type("p")
    page.wait_for("document.querySelector('#L96.target')")
    page.type("/")
    page.type("undo", "#filter")
    page.wait_for("document.querySelector('#count').innerText === '2 of 96 lines'")


def test_keys_can_be_turned_off_for_good(page: Browser) -> None:
    page.click("#keys summary")
    page.click("#keys-on")
    page.driver.refresh()
    page.wait_until_ready()
    page.type("/")
    assert page.run("return document.activeElement.id") != "filter"

    page.click("#keys summary")
    page.click("#keys-on")
    page.type("/")
    assert page.run("return document.activeElement.id") == "filter"


def test_the_log_is_copied_as_the_text_that_is_downloaded(
    page: Browser, shared: Serving, failed: str
) -> None:
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.command("Browser.grantPermissions", permissions=allowed)
    page.command("Emulation.setFocusEmulationEnabled", enabled=True)
    page.click("#copy")
    page.wait_for("document.querySelector('#copy').innerText === 'Copied'")

    copied = page.run("return navigator.clipboard.readText()")
    path = page.run("return document.querySelector('[download]').getAttribute('href')")
    assert copied == shared.get(path).data.decode()
    assert copied.count("\n") == 96


def test_nothing_in_a_message_is_taken_for_markup_or_a_command(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    post(shared, "hostile", wire.StatusEvent(wire.build_started({"git_ref": HOSTILE[0]})))
    post_lines(shared, "hostile", *HOSTILE)
    post_lines(shared, "hostile", HOSTILE[0], level=levels.STEP)
    post(shared, "hostile", wire.StatusEvent({"status": "failed", "error": HOSTILE[0]}))
    post(shared, "<b>'\"&", wire.StatusEvent(wire.build_started({"ci_run_url": "javascript:x()"})))
    browser.open(shared.url)
    assert HOSTILE[0] in browser.list_texts(".deploy .name")
    open_deploy(browser, shared, "hostile")

    assert list_messages(browser) == [
        HOSTILE[0],
        "red and a link and \u2400",
        HOSTILE[2],
        HOSTILE[3],
    ]
    hosts = "[...document.querySelectorAll('#log a:not(.number)')].map((one) => one.href)"
    assert browser.run(f"return {hosts}") == ["https://example.com/"]
    assert browser.run("return window.broken") is None
    assert browser.run("return document.querySelector('main script, main img')") is None


def test_text_that_runs_the_other_way_stays_in_its_place(browser: Browser, shared: Serving) -> None:
    post_lines(shared, "bidi", "\u202e\u202e\u202eabc", "def")
    open_deploy(browser, shared, "bidi")

    directions = (
        "[...document.querySelectorAll('.message')].map((one) => getComputedStyle(one).unicodeBidi)"
    )
    assert browser.run(f"return {directions}") == ["isolate", "isolate"]
    place = "document.querySelector('#L{} {}').getBoundingClientRect().left"
    for part in (".level", ".message"):
        lefts = [browser.run("return " + place.format(n, part)) for n in (1, 2)]
        assert lefts[0] == lefts[1]


def test_lines_that_were_never_received_are_told_where_they_belong(
    browser: Browser, shared: Serving
) -> None:
    post(shared, "gaps", wire.StatusEvent(wire.build_started({})))
    post_lines(shared, "gaps", "one", "two", first=1)
    post_lines(shared, "gaps", "six", first=6)
    open_deploy(browser, shared, "gaps")
    rows = "#log .line .message, #log .gap"
    assert browser.list_texts(rows) == [
        "one",
        "two",
        "Lines 3 to 5 of the sender were never received",
        "six",
    ]

    post_lines(shared, "gaps", "three", "four", first=3)
    browser.wait_for("document.querySelector('#L4')")
    browser.wait_for("document.querySelector('.gap').innerText.startsWith('Line 5 of')")
    assert browser.list_texts(rows) == [
        "one",
        "two",
        "three",
        "four",
        "Line 5 of the sender was never received",
        "six",
    ]

    ended = wire.StatusEvent(wire.build_completed([], 1))
    post(shared, "gaps", ended, (8, 2))
    browser.wait_for("document.querySelector('#summary .banner.warning')")
    assert browser.list_texts("#summary .banner.warning") == [
        "2 lines were given up by the sender and cannot be shown."
    ]
    assert browser.list_texts("#count") == ["5 lines, 3 missing"]
    assert browser.list_texts("#log .gap")[-1] == "Lines 7 to 8 of the sender were never received"


def test_a_phone_needs_no_sideways_scroll(browser: Browser, shared: Serving, failed: str) -> None:
    browser.resize(360, 740)
    post_lines(shared, "x" * 200, "y" * 2000, "two\nlines")
    for url in (
        shared.url,
        f"{shared.url}/projects/default",
        build_page_url(shared, failed),
        build_page_url(shared, "x" * 200),
    ):
        browser.open(url)
        if "/deploys/" in url:
            browser.wait_until_ready()
        widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths == [360, 360], url


CONTRASTS = """
const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const paint = (colours) => {
  for (const colour of colours) {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
  }
  return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
};
const luminance = (colour) => {
  const [r, g, b] = colour.map((part) => part / 255).map((part) =>
    part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const found = {};
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.checkVisibility() || element.closest(".hidden, .skip")) continue;
  const grounds = [];
  for (let at = element; at; at = at.parentElement) {
    grounds.unshift(getComputedStyle(at).backgroundColor);
  }
  const ground = paint(grounds);
  const ink = paint([...grounds, getComputedStyle(element).color]);
  const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
  found[`${element.tagName}.${element.className}`] = (light + 0.05) / (dark + 0.05);
}
return found;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    browser: Browser, shared: Serving, failed: str, scheme: str
) -> None:
    browser.prefer_colours(scheme)
    open_deploy(browser, shared, failed)
    browser.click("#fold")
    browser.click("#fold")

    weak = {name: ratio for name, ratio in browser.run(CONTRASTS).items() if ratio < 4.5}
    assert weak == {}


def test_the_page_has_landmarks_and_headings_and_a_quiet_log(page: Browser) -> None:
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.querySelectorAll('main, header, nav').length") >= 3
    assert page.list_texts("h1 bdi, h1 .word") == ["main", "failed"]
    log = page.run("return document.querySelector('[role=log]').getAttribute('aria-live')")
    assert log == "off"
    nameless = (
        "[...document.querySelectorAll('button, input, a')].filter((one) =>"
        " !(one.innerText || one.ariaLabel || one.labels?.length))"
    )
    assert page.run(f"return {nameless}.map((one) => one.outerHTML)") == []


def test_fifty_thousand_lines_are_at_hand_and_few_are_in_the_document(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    with start_run(shared, tmp_path, "large", level=logging.INFO, budget=30.0) as run:
        for number in range(1, 50_001):
            run.log.info("line %d%s", number, " of several\nlines" if number % 50 == 0 else "")
    open_deploy(browser, shared, "large")
    assert browser.list_texts("#count") == ["50,000 lines"]
    nodes = "document.querySelectorAll('*').length"
    assert browser.run(f"return {nodes}") < 8_000

    seen = (
        "[...document.querySelectorAll('#log .line')].filter((one) => {"
        " const box = one.getBoundingClientRect();"
        " return box.bottom > 100 && box.top < innerHeight - 100; }).length > 10"
    )
    for share in (0.9, 0.3, 0.6, 1.0, 0.0):
        browser.run("scrollTo(0, document.documentElement.scrollHeight * arguments[0])", share)
        browser.wait_for(seen, what=f"lines at {share}")
        numbers = list_numbers(browser)
        assert abs(numbers[len(numbers) // 2] / 50_000 - share) < 0.1
    assert browser.run(f"return {nodes}") < 8_000

    browser.run("location.hash = '#L31415'")
    browser.wait_for("document.querySelector('#L31415.target')")
    wait_until(lambda: is_in_view(browser, "#L31415"), "line 31415 in view")
    place = browser.run("return scrollY")
    browser.wheel(100)
    browser.wait_for("scrollY >= arguments[0] + 50", place)
    browser.run("scrollTo(0, 0)")
    browser.wait_for("!document.querySelector('#L31415')")
    browser.run("scrollTo(0, arguments[0])", place)
    browser.wait_for("document.querySelector('#L31415.target')")

    browser.type("line 4242", "#filter")
    browser.wait_for("document.querySelector('#count').innerText === '11 of 50,000 lines'")
    assert len(list_numbers(browser)) == 11


@pytest.fixture
def plain() -> Iterator[Browser]:
    """A Chromium that runs no scripts."""
    with open_browser(scripts=False) as opened:
        yield opened


def test_without_scripts_the_pages_show_the_same(
    plain: Browser, shared: Serving, failed: str, tmp_path: Path
) -> None:
    plain.open(f"{shared.url}/projects/default")
    plain.open(build_page_url(shared, failed))
    assert [one.text for one in plain.find_all("#log details[open] h3")] == ["Start web"]
    messages = [one.text for one in plain.find_all("#log .message")]
    assert "web did not become healthy: GET /up answered 500" in messages
    assert plain.find_all("#tools, #follow, #keys", visible=True) == []

    with start_run(shared, tmp_path, uuid.uuid4().hex[:8]) as run:
        for number in range(1, 1051):
            run.log.info("line %d", number)
        deploy_id = run.stream.handler.deploy_id
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        wait_until(lambda: len(shared.get_lines(deploy_id)) == 1050, "the lines")
        plain.open(build_page_url(shared, deploy_id))
        assert len(plain.find_all("#log .line")) == 1000
        run.log.info("one more")
        wait_until(lambda: "one more" in plain.driver.page_source, "the page to reload")
    plain.open(build_page_url(shared, deploy_id))
    plain.click(".more a")
    assert [one.text for one in plain.find_all("#log .number")][:2] == ["1", "2"]
    assert len(plain.find_all("#log .line")) == 51
