"""A deploy is watched in a browser while it runs."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from tests.integration.commands import wait_until
from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    WHOLE,
    browser,
    build_page_url,
    chromium,
    expect_network_errors,
    find_rest,
    is_in_view,
    list_messages,
    list_numbers,
    log_steps,
    open_deploy,
    shared,
    start_run,
)

__all__ = ["browser", "chromium", "shared"]

BADGE = "#summary .badge .word"
ICON = "document.querySelector('link[rel=icon]').getAttribute('href')"


def save_readme_screenshot(browser: Browser) -> None:
    """Write the README's picture where NVOI_SCREENSHOT says so."""
    path = os.environ.get("NVOI_SCREENSHOT")
    if path:
        browser.save_screenshot(Path(path))


def test_a_deploy_is_watched_live_from_start_to_end(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    browser.open(serving.url)
    browser.wait_for("document.body.innerText.includes('No deploy has been received yet')")

    with start_run(serving, tmp_path, "1234") as run:
        run.log.info("nvoi: deploy shop (local target)")
        browser.wait_for("document.querySelector('.deploy.running .row')", what="the list")
        browser.click(".deploy .row")
        browser.wait_until_ready()
        browser.run("window.sameDocument = true")
        assert browser.driver.title == "▶ main 1234 running · deploys"
        log_steps(run.log, {"Check": 2, "Build": 8})
        run.log.warning("pip: a newer version is there")
        run.log.ok("Build: 4.1 s")
        run.log.step("Start web")
        run.log.info("web: listening on http://127.0.0.1:8000")
        browser.wait_for("document.querySelectorAll('#log .step h3').length === 3")
        browser.wait_for("document.querySelector('#log').innerText.includes('web: listening')")
        assert browser.list_texts("#log .step.running .name") == ["Start web"]
        save_readme_screenshot(browser)
        run.log.success("Deploy of shop done")
        run.stream.completed([("web", "localhost:8000"), ("admin", "admin.example.com")])

    browser.wait_for("document.title === '✓ main 1234 completed · deploys'")
    browser.wait_for(f"{ICON} === '/static/favicon-completed.svg'")
    assert browser.list_texts(BADGE) == ["completed"]
    links = "[...document.querySelectorAll('#summary a')].map((link) => link.href)"
    assert browser.run(f"return {links}") == [
        "https://github.com/acme/shop/actions/runs/1234",
        "http://localhost:8000/",
        "https://admin.example.com/",
    ]
    assert browser.list_texts("#log .step.running") == []
    assert list_messages(browser)[-1] == "Deploy of shop done"
    assert browser.run("return window.sameDocument")


def test_a_failure_shows_its_reason_and_the_window_tells_it(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        open_deploy(browser, shared, deploy_id)
        run.stream.failed("GET /up answered 500\n| KeyError")

    browser.wait_for("document.title.startsWith('✗ main')")
    browser.wait_for(f"{ICON} === '/static/favicon-failed.svg'")
    assert browser.list_texts("#summary .banner.error pre") == ["GET /up answered 500\n| KeyError"]


def test_a_reload_loses_nothing_and_doubles_nothing(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    browser.resize(*WHOLE)
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Build": 30})
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        open_deploy(browser, shared, deploy_id)
        for _ in range(3):
            log_steps(run.log, {"More": 10})
            browser.driver.refresh()
            browser.wait_until_ready()
        log_steps(run.log, {"Last": 10})

    browser.wait_for("document.querySelector('#count').innerText === '75 lines'")
    heads = [1, 32, 43, 54, 65]
    browser.wait_for("document.querySelectorAll('#log .line').length === 70")
    assert list_numbers(browser) == [n for n in range(1, 76) if n not in heads]


def test_a_connection_that_drops_loses_nothing_and_doubles_nothing(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    expect_network_errors(browser)
    browser.resize(*WHOLE)
    with start_run(serving, tmp_path, "1234") as run:
        run.log.info("line 1")
        wait_until(lambda: serving.get_attempts("1234"), "the deploy")
        open_deploy(browser, serving, "1234")
        for round_ in range(2):
            serving.kill()
            browser.wait_for("!document.querySelector('#connection').hidden")
            assert browser.list_texts("#connection") == ["Reconnecting…"]
            for number in range(20):
                run.log.info("line %d", 2 + 20 * round_ + number)
            serving.start()
            browser.wait_for("document.querySelector('#connection').hidden")

    browser.wait_for("document.querySelectorAll('#log .line').length === 41")
    assert list_messages(browser) == [f"line {number}" for number in range(1, 42)]
    browser.wait_for("document.title.startsWith('✓')")


def test_the_newest_line_is_followed_until_the_reader_scrolls_up(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Build": 200})
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        wait_until(lambda: len(shared.get_lines(deploy_id)) == 201, "the lines")
        open_deploy(browser, shared, deploy_id)
        browser.wait_for(
            "[...document.querySelectorAll('#log .number')].at(-1)?.innerText === '201'"
        )
        assert is_in_view(browser, "#L201")
        assert browser.list_texts("#follow") == []

        run.log.info("followed")
        browser.wait_for("document.querySelector('#L202')")
        wait_until(lambda: is_in_view(browser, "#L202"), "the newest line in view")

        browser.wheel(-600)
        browser.wait_for("!document.querySelector('#follow').hidden")
        before = browser.run("return scrollY")
        run.log.info("not followed")
        browser.wait_for("document.querySelector('#count').innerText === '203 lines'")
        assert browser.run("return scrollY") == before
        assert not is_in_view(browser, "#L203")

        browser.click("#follow")
        wait_until(lambda: is_in_view(browser, "#L203"), "the newest line in view")
        run.log.info("followed again")
        browser.wait_for("document.querySelector('#L204')")
        wait_until(lambda: is_in_view(browser, "#L204"), "the newest line in view")
        assert find_rest(browser) <= 1


def test_a_page_in_the_background_still_tells_the_state_without_a_stream(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("seen")
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        open_deploy(browser, shared, deploy_id)
        with browser.in_background():
            browser.wait_for("document.documentElement.dataset.connection === 'hidden'")
            run.log.info("not seen at first")
            run.stream.completed()
            browser.wait_for("document.title.startsWith('✓ main')")
            browser.wait_for(f"{ICON} === '/static/favicon-completed.svg'")
            assert browser.run("return document.querySelector('#L2')") is None
    browser.wait_for("document.querySelector('#L2')")
    assert list_messages(browser) == ["seen", "not seen at first"]


def test_lists_show_a_deploy_when_it_begins_and_when_it_ends(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    browser.open(f"{serving.url}/projects/default")
    with start_run(serving, tmp_path, "77", context={"git_ref": "topic"}):
        browser.wait_for("document.querySelector('.deploy')")
        assert browser.list_texts(".deploy .name") == ["topic"]
        assert browser.list_texts(".deploy .badge .word") == ["running"]
        assert browser.list_texts(".deploy .who") == ["by hand"]
    browser.wait_for("document.querySelector('.deploy.completed')")
    assert browser.run(f"return {ICON}") == "/static/favicon-completed.svg"


def test_a_page_says_when_its_deploy_is_gone(serving: Serving, browser: Browser) -> None:
    expect_network_errors(browser)
    browser.open(f"{serving.url}/projects/nobody")

    assert browser.list_texts("h1") == ["Not found"]
    assert browser.run("return fetch(location.href).then((answer) => answer.status)") == 404


@pytest.mark.parametrize("path", ["default/deploys/x", "nobody/deploys/x", "default/deploys/%FF"])
def test_what_is_not_there_is_answered_with_a_page(serving: Serving, path: str) -> None:
    response = serving.get(f"/projects/{path}")

    assert (response.status, response.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert b"Not found" in response.data


def test_a_later_attempt_is_told_and_can_be_chosen(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = "again/and again"
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("the first time")
    open_deploy(browser, shared, deploy_id)
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("the second time")
        browser.wait_for("document.querySelector('.banner.note a')")
        assert list_messages(browser) == ["the first time"]
        browser.click(".banner.note a")
        browser.wait_for(
            "document.querySelector('#summary .attempts a:nth-child(2)[aria-current]')"
        )
        browser.wait_until_ready()
        browser.wait_for("document.querySelector('#L1')")
        assert list_messages(browser) == ["the second time"]
    assert browser.driver.current_url == build_page_url(shared, deploy_id)
