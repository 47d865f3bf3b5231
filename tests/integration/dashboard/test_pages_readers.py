"""The pages for every reader: on a phone, in the dark, of a very long log, without scripts."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nvoi import protocol
from tests.integration.dashboard.browser import Browser, open_browser
from tests.integration.dashboard.contrasts import CONTRASTS
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    build_page_url,
    is_in_view,
    list_numbers,
    open_deploy,
    post,
    post_lines,
    start_run,
)
from tests.waiting import wait_until


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    browser: Browser, shared: Serving, failed: str, scheme: str
) -> None:
    browser.prefer_colours(scheme)
    open_deploy(browser, shared, failed)
    browser.click("#fold")
    browser.click("#fold")
    browser.type("line", "#search")
    browser.wait_for("document.querySelector('#log mark')")
    browser.click("#times")
    found = browser.run(CONTRASTS)
    browser.run("localStorage.clear()")
    for state, reason in (("completed", ""), ("cancelled", "cancelled")):
        post_run(shared, f"state-{state}", reason)
    browser.open(f"{shared.url}/projects/default")
    found |= browser.run(CONTRASTS)

    assert {name: ratio for name, ratio in found.items() if ratio < 4.5} == {}


def post_run(serving: Serving, deploy_id: str, reason: str) -> None:
    """A rollback that was cancelled, or completed."""
    post(serving, deploy_id, protocol.build_started({"commit_title": deploy_id, "dirty": "1"}))
    end = protocol.build_failed("interrupted", reason=reason) if reason else None
    post(serving, deploy_id, end or protocol.build_completed([("web", "localhost:80")], 1))


def test_the_page_has_landmarks_and_headings_and_a_quiet_log(page: Browser) -> None:
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.querySelectorAll('main, header, nav').length") >= 3
    assert page.list_texts("h1 bdi, #state .word") == ["main 3f2a9c1", "failed"]
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
        "[...document.querySelectorAll('#log .line:not(.pending)')].filter((one) => {"
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

    def go_on() -> bool:
        browser.wheel(100)
        return bool(browser.run("return scrollY >= arguments[0] + 50", place))

    # The first turn may come in the middle of a frame that still brings the line to its place.
    wait_until(go_on, "the reader to go on from line 31415")
    browser.run("scrollTo(0, 0)")
    browser.wait_for("!document.querySelector('#L31415')")
    browser.run("scrollTo(0, arguments[0])", place)
    browser.wait_for("document.querySelector('#L31415.target')")

    browser.type("line 4242", "#search")
    browser.wait_for("document.querySelector('#matches').innerText.endsWith('of 11')")
    browser.click("#only")
    browser.wait_for("document.querySelector('#count').innerText === '11 of 50,000 lines'")
    browser.wait_for("document.querySelectorAll('#log .line:not(.pending)').length === 11")


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
    assert plain.find_all("#tools, #follow, #keys, #loading", visible=True) == []

    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        for number in range(1, 251):
            run.log.info("line %d", number)
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        wait_until(lambda: len(shared.get_lines(deploy_id)) == 250, "the lines")
        plain.open(build_page_url(shared, deploy_id))
        assert len(plain.find_all("#log .line")) == 200
        run.log.info("one more")
        wait_until(lambda: "one more" in plain.driver.page_source, "the page to reload")
    plain.open(build_page_url(shared, deploy_id))
    plain.click(".more a")
    assert [one.text for one in plain.find_all("#log .number")][:2] == ["1", "2"]
    assert len(plain.find_all("#log .line")) == 51
