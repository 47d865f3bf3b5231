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
    WHOLE,
    build_page_url,
    expect_network_errors,
    find_rest,
    is_in_view,
    list_messages,
    list_numbers,
    log_steps,
    open_deploy,
    start_run,
)
from tests.waiting import wait_until

#: Whether the newest line is followed.
FOLLOWS = "return document.querySelector('#follow').getAttribute('aria-pressed')"
BADGE = "#state .badge .word"
ICON = "document.querySelector('link[rel=icon]').getAttribute('href')"


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
    browser.wait_for("document.body.innerText.includes('No deploy has been received yet')")
    line = f"callback_url: {serving.callback_url}"
    assert browser.list_texts(".empty pre") == [line, "nvoi deploy"]
    copied = "[...document.querySelectorAll('.empty [data-copy]')].map((one) => one.dataset.copy)"
    assert browser.run(f"return {copied}") == [line, "nvoi deploy"]

    with start_run(serving, tmp_path, "1234") as run:
        began = time.time()
        browser.wait_for("document.querySelector('.deploy.running .row')", what="the list")
        browser.click(".deploy .row")
        browser.wait_until_ready()
        browser.run("window.sameDocument = true")
        assert browser.driver.title == "▶ main 3f2a9c1 running · deploys"
        tell_story(run.log, began)
        browser.wait_for("document.querySelectorAll('#log .line').length === 11")
        assert list_messages(browser) == [text for _, level, text in STORY if level != "step"]
        assert browser.list_texts("#current bdi") == ["Try the services"]
        assert browser.list_texts("#log .step.running .name") == ["Try the services"]
        save_readme_screenshot(browser)
        for level, message in END:
            run.log.log(logging.getLevelName(level.upper()), "%s", message)
        run.log.success("Deploy of shop done")
        run.stream.completed([("web", "localhost:8000"), ("admin", "admin.example.com")])

    browser.wait_for("document.title === '✓ main 3f2a9c1 completed · deploys'")
    browser.wait_for(f"{ICON} ?.startsWith('/static/favicon-completed.svg?')")
    assert browser.list_texts(BADGE) == ["completed"]
    links = "[...document.querySelectorAll('#summary a')].map((link) => link.href)"
    assert browser.run(f"return {links}") == [
        f"https://github.com/acme/shop/commit/{CONTEXT['git_sha']}",
        "https://github.com/acme/shop/actions/runs/1234",
        "http://localhost:8000/",
        "https://admin.example.com/",
    ]
    assert browser.list_texts("#log .step.running") == []
    assert list_messages(browser)[-1] == "Deploy of shop done"
    # What a run says after its last step is no part of that.
    assert browser.list_texts("#log h3 .name")[-2:] == ["Try the services", "Result"]
    last = "[...document.querySelectorAll('#log .block')].at(-1).firstChild.id"
    assert browser.run(f"return {last}") == "L17"
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
    browser.wait_for(f"{ICON} ?.startsWith('/static/favicon-failed.svg?')")
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
    # Of a page that was opened later only the step that ran then is open.
    browser.click("#fold")
    browser.click("#fold")
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
        assert browser.run("return scrollY") == 0
        assert browser.run(FOLLOWS) == "false"
        browser.click("#follow")
        wait_until(lambda: is_in_view(browser, "#L201"), "the newest line in view")

        run.log.info("followed")
        browser.wait_for("document.querySelector('#L202')")
        wait_until(lambda: is_in_view(browser, "#L202"), "the newest line in view")

        browser.wheel(-600)
        wait_until(lambda: browser.run(FOLLOWS) == "false", "the end of following")
        wait_until(lambda: find_rest(browser) >= 599, "the end of the scroll")
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
            browser.wait_for(f"{ICON} ?.startsWith('/static/favicon-completed.svg?')")
            assert browser.run("return document.querySelector('#L2')") is None
    browser.wait_for("document.querySelector('#L2')")
    assert list_messages(browser) == ["seen", "not seen at first"]


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_a_live_page_opens_at_its_head_with_the_step_that_runs(
    browser: Browser, shared: Serving, tmp_path: Path, size: tuple[int, int]
) -> None:
    browser.resize(*size)
    deploy_id = uuid.uuid4().hex[:8]
    with start_run(shared, tmp_path, deploy_id) as run:
        log_steps(run.log, {"Check": 30, "Build": 100})
        wait_until(lambda: shared.get_attempts(deploy_id), "the deploy")
        wait_until(lambda: len(shared.get_lines(deploy_id)) == 132, "the lines")
        open_deploy(browser, shared, deploy_id)
        assert browser.run("return scrollY") == 0
        assert is_in_view(browser, "h1")
        assert browser.list_texts("#log h3 [aria-expanded=true] .name") == ["Build"]
        assert list_messages(browser)[0] == "Build: line 1"
        first = browser.list_texts("#state .elapsed")
        browser.wait_for(
            "document.querySelector('#state .elapsed').innerText !== arguments[0]", *first
        )


def test_lists_show_a_deploy_when_it_begins_and_when_it_ends(
    serving: Serving, browser: Browser, tmp_path: Path
) -> None:
    browser.open(f"{serving.url}/projects/default")
    with start_run(serving, tmp_path, "77", context={"git_ref": "topic"}):
        browser.wait_for("document.querySelector('.deploy')")
        assert browser.list_texts(".deploy .name") == ["topic"]
        assert browser.list_texts(".runs th")[:2] == ["Status", "Commit"]
        assert browser.list_texts(".deploy .badge .word") == ["running"]
        assert browser.list_texts(".deploy .who") == ["outside CI"]
        # A click that begins before a refresh ends where it began.
        browser.run("window.row = document.querySelector('.deploy .row')")
        requests = "performance.getEntriesByType('resource').length"
        count = browser.run(f"return {requests}")
        browser.run("document.dispatchEvent(new Event('visibilitychange'))")
        browser.wait_for(f"{requests} > arguments[0]", count, what="a refresh")
        assert browser.run("return row.isConnected")
    browser.wait_for("document.querySelector('.deploy.completed')")
    assert browser.run(f"return {ICON}").startswith("/static/favicon-completed.svg?")


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
        assert list_messages(browser) == ["the first time"]
        browser.click(".banner.note a")
        browser.wait_for(
            "document.querySelector('#summary .attempts a:nth-child(2)[aria-current]')"
        )
        browser.wait_until_ready()
        browser.wait_for("document.querySelector('#L1')")
        assert list_messages(browser) == ["the second time"]
    assert browser.driver.current_url == build_page_url(shared, deploy_id)


def test_a_reader_who_is_signed_out_is_told_so(tmp_path: Path, browser: Browser) -> None:
    expect_network_errors(browser)
    password = tmp_path / "password"
    password.write_text("correct horse battery\n")
    password.chmod(0o600)
    with Serving(tmp_path, "--password-file", str(password)) as serving:
        with start_run(serving, tmp_path, "1234") as run:
            run.log.info("begun")
            browser.open(build_page_url(serving, "1234"))
            browser.type("correct horse battery\n", "#password")
            browser.wait_for("document.querySelector('section.log')")
            browser.wait_until_ready()
            assert browser.driver.current_url == build_page_url(serving, "1234")

            log_out = (
                "return fetch('/logout', { method: 'POST',"
                " body: new URLSearchParams(new FormData(document.querySelector('.top form'))) })"
                ".then((answer) => answer.status)"
            )
            assert browser.run(log_out) == 200
            run.log.info("not for everybody")
            browser.wait_for("document.querySelector('#connection a')")
            assert browser.list_texts("#connection a") == ["Load it again"]
        browser.click("#connection a")
        browser.wait_for("location.pathname === '/login'")
