"""A deploy is watched in a browser while it runs."""

from __future__ import annotations

import logging
import os
import time
import uuid
from pathlib import Path

import pytest

from nvoi.log.levels import Logger
from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.serving import Serving, build_path
from tests.integration.dashboard.watching import (
    CONTEXT,
    MESSAGES,
    WHOLE,
    build_page_url,
    expect_network_errors,
    log_steps,
    open_deploy,
    start_run,
    wait_for_count,
    wait_until_seen,
)
from tests.waiting import wait_until

#: Whether the newest line is followed.
FOLLOWS = "document.querySelector('#follow').getAttribute('aria-pressed')"
BADGE = "#state .badge .word"
ICON = "document.querySelector('link[rel=icon]').getAttribute('href').split('/').at(-1)"
#: How far the page can be scrolled down, in pixels.
REST = "document.documentElement.scrollHeight - innerHeight - scrollY"

#: What a deploy has said so far, and when: the shares of its time.
STORY = (
    (0.0, "info", "nvoi: deploy shop (local target)"),
    (0.01, "step", "Check the state"),
    (0.05, "ok", "Check the state: 0.1 s"),
    (0.055, "step", "Copy the release"),
    (0.1, "info", "release 20260304120000: 214 files from /home/ada/shop"),
    (0.13, "ok", "Copy the release: 0.2 s"),
    (0.14, "step", "Run pre_run_command"),
    (0.2, "info", "web: Collecting packages"),
    (0.35, "warning", "web: a newer version of pip is there"),
    (0.5, "info", "web: Applying migrations:\n  0007_orders... OK\n  0008_prices... OK"),
    (0.6, "ok", "web: pre_run_command done in 1.1 s"),
    (0.61, "ok", "Run pre_run_command: 1.1 s"),
    (0.62, "step", "Try the services"),
    (0.8, "info", "web: listening on http://127.0.0.1:8000"),
    (0.98, "ok", "web passed its trial on port 38041 after 0.4 s"),
)
#: What it says at its end.
END = (("ok", "Try the services: 0.6 s"), ("info", "Running at http://localhost:8000"))


def tell_story(log: Logger, began: float) -> None:
    """Log what happened from ``began``, in Unix seconds, until now."""
    passed = time.time() - began
    for share, level, message in STORY:
        number = logging.getLevelName(level.upper())
        record = log.makeRecord(log.name, number, __file__, 0, message, (), None)
        record.created = began + share * passed
        log.handle(record)


def save_readme_screenshot(browser: Browser) -> None:
    """Write the README's picture where NVOI_SCREENSHOT says so."""
    path = os.environ.get("NVOI_SCREENSHOT")
    if path:
        browser.resize(1200, 680)
        browser.save_screenshot(Path(path))


def test_a_deploy_is_watched_live_from_start_to_end(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    browser.open(serving.url)
    line = f"callback_url: {serving.callback_url}"
    browser.expect_texts(".empty pre", line, "nvoi deploy")
    assert "No deploy has been received yet" in browser.run("return document.body.innerText")
    copied = "[...document.querySelectorAll('.empty [data-copy]')].map((one) => one.dataset.copy)"
    browser.expect(copied, [line, "nvoi deploy"])

    with start_run(serving, tmp_path, "1234") as run:
        began = time.time()
        check_list_of_running(browser)
        browser.click(".deploy .row")
        browser.wait_until_ready()
        browser.run("window.sameDocument = true")
        assert browser.driver.title == "▶ main 3f2a9c1 running · deploys"
        tell_story(run.log, began)
        browser.expect_texts(MESSAGES, *(text for _, level, text in STORY if level != "step"))
        browser.expect_texts("#current bdi", "Try the services")
        browser.expect_texts("#log .step.running .name", "Try the services")
        save_readme_screenshot(browser)
        for level, message in END:
            run.log.log(logging.getLevelName(level.upper()), "%s", message)
        run.log.success("Deploy of shop done")
        run.stream.completed([("web", "localhost:8000"), ("admin", "admin.example.com")])

    check_end(browser)
    browser.driver.back()
    browser.wait_for("document.querySelector('.deploy.completed')")
    browser.expect(ICON, "favicon-completed.svg")


def check_list_of_running(browser: Browser) -> None:
    """The list tells of a deploy when it begins, and lets its reader click."""
    browser.expect_texts(".deploy.running .name", "main 3f2a9c1")
    browser.expect_texts(".deploy .badge .word", "running")
    browser.expect_texts(".deploy .who", "GitHub Actions")
    assert browser.list_texts(".runs th")[:2] == ["Status", "Commit"]
    # A click that begins before a refresh ends where it began.
    browser.run("window.row = document.querySelector('.deploy .row')")
    requests = "performance.getEntriesByType('resource').length"
    count = browser.run(f"return {requests}")
    browser.run("document.dispatchEvent(new Event('visibilitychange'))")
    browser.wait_for(f"{requests} > arguments[0]", count, what="a refresh")
    assert browser.run("return row.isConnected")


def check_end(browser: Browser) -> None:
    """The page that was open all the time tells how the deploy ended."""
    browser.expect("document.title", "✓ main 3f2a9c1 completed · deploys")
    browser.expect(ICON, "favicon-completed.svg")
    browser.expect_texts(BADGE, "completed")
    browser.expect(
        "[...document.querySelectorAll('#summary a')].map((link) => link.href)",
        [
            f"https://github.com/acme/shop/commit/{CONTEXT['git_sha']}",
            "https://github.com/acme/shop/actions/runs/1234",
            "http://localhost:8000/",
            "https://admin.example.com/",
        ],
    )
    browser.expect_texts("#log .step.running")
    last = f"[...document.querySelectorAll('{MESSAGES}')].at(-1).innerText"
    browser.expect(last, "Deploy of shop done")
    # What a run says after its last step is no part of that.
    names = "[...document.querySelectorAll('#log h3 .name')].map((one) => one.innerText)"
    browser.expect(f"{names}.slice(-2)", ["Try the services", "Result"])
    browser.expect("[...document.querySelectorAll('#log .block')].at(-1).firstChild.id", "L17")
    assert browser.run("return window.sameDocument")


def test_a_live_page_opens_at_its_head_with_the_step_that_runs_and_tells_its_failure(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    browser.resize(1440, 900)
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Check": 30, "Build": 100})
        shared.wait_for_deploy(deploy_id, 132)
        open_deploy(browser, shared, deploy_id)
        check_head(browser)
        browser.resize(390, 844)
        browser.driver.refresh()
        browser.wait_until_ready()
        check_head(browser)
        run.stream.failed("GET /up answered 500\n| KeyError")

    browser.wait_for("document.title.startsWith('✗ main')")
    browser.expect(ICON, "favicon-failed.svg")
    browser.expect_texts("#summary .banner.error pre", "GET /up answered 500\n| KeyError")


def check_head(browser: Browser) -> None:
    assert browser.run("return scrollY") == 0
    wait_until_seen(browser, "h1")
    browser.expect_texts("#log h3 [aria-expanded=true] .name", "Build")
    browser.expect(f"document.querySelector('{MESSAGES}').innerText", "Build: line 1")
    elapsed = "document.querySelector('#state .elapsed').innerText"
    browser.wait_for(f"{elapsed} !== arguments[0]", browser.run(f"return {elapsed}"))


def test_a_reload_loses_nothing_and_doubles_nothing(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    browser.resize(*WHOLE)
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Build": 30})
        shared.wait_for_deploy(deploy_id)
        open_deploy(browser, shared, deploy_id)
        for _ in range(2):
            log_steps(run.log, {"More": 10})
            browser.driver.refresh()
            browser.wait_until_ready()
        log_steps(run.log, {"Last": 10})

    wait_for_count(browser, "64 lines")
    # Of a page that was opened later only the step that ran then is open.
    browser.click("#fold")
    browser.click("#fold")
    heads = [1, 32, 43, 54]
    numbers = [str(number) for number in range(1, 65) if number not in heads]
    browser.expect_texts("#log .line:not(.pending) .number", *numbers)


def test_a_connection_that_drops_loses_nothing_and_doubles_nothing(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    expect_network_errors(browser)
    browser.resize(*WHOLE)
    with start_run(serving, tmp_path, "1234") as run:
        run.log.info("line 1")
        serving.wait_for_deploy("1234")
        open_deploy(browser, serving, "1234")
        serving.kill()
        browser.expect_texts("#connection", "Reconnecting…")
        for number in range(2, 22):
            run.log.info("line %d", number)
        serving.start()
        browser.wait_for("document.querySelector('#connection').hidden")
        run.log.info("line 22")

    browser.expect_texts(MESSAGES, *(f"line {number}" for number in range(1, 23)))
    browser.wait_for("document.title.startsWith('✓')")


def test_the_newest_line_is_followed_until_the_reader_scrolls_up(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Build": 200})
        shared.wait_for_deploy(deploy_id, 201)
        open_deploy(browser, shared, deploy_id)
        assert browser.run("return scrollY") == 0
        browser.expect(FOLLOWS, "false")
        browser.click("#follow")
        wait_until_seen(browser, "#L201")
        run.log.info("followed")
        wait_until_seen(browser, "#L202")

        browser.wheel(-600)
        browser.expect(FOLLOWS, "false")
        browser.wait_for(f"{REST} >= 599", what="the end of the scroll")
        before = browser.run("return scrollY")
        run.log.info("not followed")
        wait_for_count(browser, "203 lines")
        assert browser.run("return scrollY") == before

        browser.click("#follow")
        wait_until_seen(browser, "#L203")
        run.log.info("followed again")
        wait_until_seen(browser, "#L204")
        browser.wait_for(f"{REST} <= 1", what="the end of the page")


def test_a_page_in_the_background_still_tells_the_state_without_a_stream(
    browser: Browser, shared: Serving, tmp_path: Path
) -> None:
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("seen")
        shared.wait_for_deploy(deploy_id)
        open_deploy(browser, shared, deploy_id)
        with browser.in_background():
            browser.wait_for("document.documentElement.dataset.connection === 'hidden'")
            run.log.info("not seen at first")
            run.stream.completed()
            browser.wait_for("document.title.startsWith('✓ main')")
            browser.expect(ICON, "favicon-completed.svg")
            assert browser.run("return document.querySelector('#L2')") is None
    browser.expect_texts(MESSAGES, "seen", "not seen at first")


@pytest.mark.parametrize("listens", [True, False])
def test_a_later_attempt_is_told_and_can_be_chosen(
    browser: Browser, shared: Serving, tmp_path: Path, *, listens: bool
) -> None:
    expect_network_errors(browser)
    deploy_id = f"again/and again {listens}"
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("the first time")
    if not listens:
        # It begins before the page hears anything beside what it opened with.
        url = f"{shared.url}{build_path(deploy_id)}"
        browser.command("Network.enable")
        browser.command("Network.setBlockedURLs", urls=[f"{url}/events*", f"{url}.json"])
    open_deploy(browser, shared, deploy_id)
    with start_run(shared, tmp_path, deploy_id) as run:
        run.log.info("the second time")
        if not listens:
            wait_until(lambda: len(shared.get_attempts(deploy_id)) == 2, "a second attempt")
            browser.command("Network.setBlockedURLs", urls=[])
        browser.wait_for("document.querySelector('.banner.note a')")
        browser.expect_texts(MESSAGES, "the first time")
        browser.click(".banner.note a")
        browser.wait_for(
            "document.querySelector('#summary .attempts a:nth-child(2)[aria-current]')"
        )
        browser.wait_until_ready()
        browser.expect_texts(MESSAGES, "the second time")
    assert browser.driver.current_url == build_page_url(shared, deploy_id)
