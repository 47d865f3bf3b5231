"""The pages for every reader: on a phone, in the dark, of a very long log, without scripts."""

from __future__ import annotations

import uuid
from pathlib import Path

from nvoi import protocol
from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.contrasts import find_weak_texts
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    build_page_url,
    open_deploy,
    post,
    post_lines,
    start_run,
    wait_for_count,
    wait_until_seen,
)
from tests.waiting import wait_until

NUMBERS = "#log .line:not(.pending) .number"


def test_a_phone_needs_no_sideways_scroll(browser: Browser, shared: Serving, failed: str) -> None:
    browser.resize(360, 740)
    post_lines(shared, "x" * 200, "y" * 2000, "two\nlines")
    for url in (
        f"{shared.url}/projects/default",
        build_page_url(shared, failed),
        build_page_url(shared, "x" * 200),
    ):
        browser.open(url)
        if "/deploys/" in url:
            browser.wait_until_ready()
        widths = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert widths == [360, 360], url


def test_the_pages_have_landmarks_and_names_and_every_text_stands_out_from_its_ground(
    page: Browser, shared: Serving
) -> None:
    assert page.run("return document.documentElement.lang") == "en"
    assert page.run("return document.querySelectorAll('main, header, nav').length") >= 3
    page.expect_texts("h1 bdi, #state .word", "main 3f2a9c1", "failed")
    page.expect("document.querySelector('[role=log]').getAttribute('aria-live')", "off")
    nameless = (
        "[...document.querySelectorAll('button, input, a')].filter((one) =>"
        " !(one.innerText || one.ariaLabel || one.labels?.length))"
    )
    assert page.run(f"return {nameless}.map((one) => one.outerHTML)") == []

    page.click("#fold")
    page.click("#fold")
    page.type("line", "#search")
    page.wait_for("document.querySelector('#log mark')")
    page.click("#times")
    found = find_weak_texts(page)
    page.run("localStorage.clear()")
    for state, reason in (("completed", ""), ("cancelled", "cancelled")):
        post_run(shared, f"state-{state}", reason)
    page.open(f"{shared.url}/projects/default")
    assert found + find_weak_texts(page) == []


def post_run(serving: Serving, deploy_id: str, reason: str) -> None:
    """A rollback that was cancelled, or completed."""
    post(serving, deploy_id, protocol.build_started({"commit_title": deploy_id, "dirty": "1"}))
    end = protocol.build_failed("interrupted", reason=reason) if reason else None
    post(serving, deploy_id, end or protocol.build_completed([("web", "localhost:80")], 1))


def test_fifty_thousand_lines_are_at_hand_and_few_are_in_the_document(
    browser: Browser, shared: Serving
) -> None:
    for first in range(1, 50_001, 5000):
        texts = (f"line {number}" for number in range(first, first + 5000))
        lines = [f"{one} of several\nlines" if one.endswith("50") else one for one in texts]
        post_lines(shared, "large", *lines, first=first)
    open_deploy(browser, shared, "large")
    wait_for_count(browser, "50,000 lines")
    nodes = "document.querySelectorAll('*').length"
    assert browser.run(f"return {nodes}") < 8_000

    seen = (
        "[...document.querySelectorAll('#log .line:not(.pending)')].filter((one) => {"
        " const box = one.getBoundingClientRect();"
        " return box.bottom > 100 && box.top < innerHeight - 100; }).length > 10"
    )
    for share in (0.9, 0.3, 1.0, 0.0):
        browser.run("scrollTo(0, document.documentElement.scrollHeight * arguments[0])", share)
        browser.wait_for(seen, what=f"lines at {share}")
        numbers = [int(text) for text in browser.list_texts(NUMBERS)]
        assert abs(numbers[len(numbers) // 2] / 50_000 - share) < 0.1
    assert browser.run(f"return {nodes}") < 8_000

    check_way_to_a_line(browser)
    browser.type("line 4242", "#search")
    browser.wait_for("document.querySelector('#matches').innerText.endsWith('of 11')")
    browser.click("#only")
    wait_for_count(browser, "11 of 50,000 lines")
    browser.wait_for("document.querySelectorAll('#log .line:not(.pending)').length === 11")


def check_way_to_a_line(browser: Browser) -> None:
    """An address leads to its line, from which its reader can go on, and come back."""
    browser.run("location.hash = '#L31415'")
    wait_until_seen(browser, "#L31415.target")
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


def test_without_scripts_the_pages_show_the_log_as_text(
    browser: Browser, shared: Serving, failed: str, tmp_path: Path
) -> None:
    # Nothing uses what the page has loaded for its script.
    browser.expected = frozenset({"javascript"})
    with browser.without_scripts():
        post_run(shared, "by hand", "")
        browser.open(f"{shared.url}/projects/default")
        assert "outside CI" in browser.list_texts(".deploy .who")
        browser.open(build_page_url(shared, failed))
        assert "web did not become healthy: GET /up answered 500" in read_text(browser)[-3]
        assert browser.list_texts("#tools, #follow, #keys, #loading") == []

        deploy_id = uuid.uuid4().hex[:8]
        with start_run(shared, tmp_path, deploy_id) as run:
            for number in range(1, 251):
                run.log.info("line %d", number)
            shared.wait_for_deploy(deploy_id, 250)
            browser.open(build_page_url(shared, deploy_id))
            assert len(read_text(browser)) == 200
            run.log.info("one more")
            wait_until(lambda: read_text(browser)[-1].endswith("one more"), "the page to reload")
        browser.open(build_page_url(shared, deploy_id))
        browser.click(".more a")
        wait_until(lambda: len(read_text(browser)) == 51, "the earlier lines")
        assert read_text(browser)[0].endswith("info    line 1")


def read_text(browser: Browser) -> list[str]:
    """The lines of a log where no scripts run."""
    return "".join(browser.list_texts("#log .text")).splitlines()
