"""What the log shows of messages that mean harm, and of those that are not there."""

from __future__ import annotations

import time

import nvoi
from nvoi import protocol
from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.contrasts import find_weak_texts
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    MESSAGES,
    open_deploy,
    post,
    post_lines,
    wait_for_count,
    wait_until_seen,
)
from tests.waiting import wait_until

#: The codes of all inks of a terminal.
INKS = (*range(30, 38), *range(90, 98))

HOSTILE = (
    "<script>window.broken = true</script><img src=x onerror='window.broken = true'>",
    "\x1b[31mred\x1b[0m and \x1b]8;;javascript:window.broken=1\x07a link\x1b]8;;\x07 and \x00",
    "\u202egnirts a\u202c and \u2066more\u202e\u202e",
    "javascript:window.broken=1 https://example.com/<script>alert(1)</script> http://",
)


def test_nothing_in_a_message_is_taken_for_markup_or_a_command(
    browser: Browser, shared: Serving
) -> None:
    post(shared, "hostile", protocol.build_started({"git_ref": HOSTILE[0]}))
    post_lines(shared, "hostile", *HOSTILE)
    post_lines(shared, "hostile", HOSTILE[0], level=nvoi.STEP)
    post(shared, "hostile", protocol.StatusEvent({"status": "failed", "error": HOSTILE[0]}))
    post(shared, "<b>'\"&", protocol.build_started({"ci_run_url": "javascript:x()"}))
    browser.open(shared.url)
    assert HOSTILE[0] in browser.list_texts(".deploy .name")
    open_deploy(browser, shared, "hostile")

    messages = [HOSTILE[0], "red and a link and \u2400", HOSTILE[2], HOSTILE[3]]
    browser.expect_texts(MESSAGES, *messages)
    hosts = "[...document.querySelectorAll('#log a:not(.number, .anchor)')].map((one) => one.href)"
    assert browser.run(f"return {hosts}") == ["https://example.com/"]
    assert browser.run("return window.broken") is None
    assert browser.run("return document.querySelector('main script, main img')") is None
    # Text that runs the other way stays in its place.
    lines = f"[...document.querySelectorAll('{MESSAGES}')]"
    directions = f"{lines}.map((one) => getComputedStyle(one).unicodeBidi)"
    assert browser.run(f"return {directions}") == ["isolate"] * 4
    places = f"{lines}.map((one) => one.getBoundingClientRect().left)"
    assert len(set(browser.run(f"return {places}"))) == 1


def test_lines_that_were_never_received_are_told_where_they_belong(
    browser: Browser, shared: Serving
) -> None:
    post(shared, "gaps", protocol.build_started({}))
    post_lines(shared, "gaps", "one", "two", first=1)
    post_lines(shared, "gaps", "six", first=6)
    open_deploy(browser, shared, "gaps")
    rows = "#log .line .message, #log .gap"
    told = "Lines 3 to 5 of the sender were never received"
    browser.expect_texts(rows, "one", "two", told, "six")

    post_lines(shared, "gaps", "three", "four", first=3)
    told = "Line 5 of the sender was never received"
    browser.expect_texts(rows, "one", "two", "three", "four", told, "six")

    ended = protocol.build_completed([], 1)
    post(shared, "gaps", ended, (8, 2))
    told = "2 lines were given up by the sender and cannot be shown."
    browser.expect_texts("#summary .banner.warning", told)
    wait_for_count(browser, "5 lines, 3 missing")
    told = "Lines 7 to 8 of the sender were never received"
    browser.wait_for(
        "[...document.querySelectorAll('.gap')].at(-1).innerText === arguments[0]", told
    )


def test_lines_that_come_late_do_not_move_those_that_are_read(
    browser: Browser, shared: Serving
) -> None:
    post(shared, "late", protocol.build_started({}))
    texts = [f"line {n}{' of many words' * (n % 7 * 10)}" for n in range(1, 1001)]
    post_lines(shared, "late", *texts[:400], first=1)
    post_lines(shared, "late", *texts[450:], first=451)
    open_deploy(browser, shared, "late", "#L402")
    top = "document.querySelector('#L402').getBoundingClientRect().top"
    wait_until_seen(browser, "#L402")
    browser.wheel(-30)
    before = browser.run(f"const at = scrollY; return [{top} + at, at]")

    post_lines(shared, "late", *texts[400:420], first=401)
    wait_for_count(browser, "970 lines, 30 missing")
    grown = browser.run(f"return {top} + scrollY") - before[0]
    assert grown > 20 * 20
    browser.wait_for("Math.abs(scrollY + 30 - arguments[0]) < 31", before[1] + grown)


def test_a_line_that_is_given_twice_is_there_once(browser: Browser, shared: Serving) -> None:
    browser.open(f"{shared.url}/login")
    count = (
        "const line = { number: 1, place: 1, level: 'info', message: 'a', logged_at: 0 };"
        "return import('/static/log.js').then(({ Log }) => {"
        " const log = new Log((text) => text);"
        " const none = { steps: [], errors: [], gaps: [], lines: 0, place: 0, late: 0 };"
        " log.reset({ ...none, closing: null });"
        " return [log.add(line), log.add({ ...line }), log.total] })"
    )
    assert browser.run(count) == [True, True, 1]


def test_a_running_step_takes_as_long_as_it_does_whatever_the_senders_clock(
    browser: Browser, shared: Serving
) -> None:
    line = protocol.encode_line((nvoi.STEP, time.time() + 3600, "Build"))
    post(shared, "clock", protocol.LogBatch([line], 1))
    open_deploy(browser, shared, "clock")
    browser.wait_for("/^[1-9] s$/.test(document.querySelector('#log .took').innerText)")


def test_a_megabyte_in_one_line_is_shown_filtered_and_without_end_of_marks(
    browser: Browser, shared: Serving
) -> None:
    post_lines(shared, "huge", "first")
    for text in ("a" * 400_000, "http://a.example/ " * 20_000, "row\n" * 10_000):
        post_lines(shared, "huge", text)
    post_lines(shared, "huge", "last")
    open_deploy(browser, shared, "huge")
    browser.wait_for("document.querySelector('#L5')")
    assert browser.run("return document.querySelectorAll('#log *').length") < 3000
    browser.type("a", "#search")
    browser.wait_for("document.querySelector('#matches').innerText.endsWith('of 3')")

    assert browser.run("return document.querySelectorAll('#log *').length") < 3000


def test_twenty_thousand_steps_open_at_the_first_error(browser: Browser, shared: Serving) -> None:
    for first in range(1, 20_001, 1000):
        steps = [f"Step {number}" for number in range(first, first + 1000)]
        post_lines(shared, "steps", *steps, first=first, level=nvoi.STEP)
    post_lines(shared, "steps", "it broke", first=20_001, level=40)
    post_lines(shared, "steps", "it broke on", *["more"] * 99, first=20_002, level=40)
    post(shared, "steps", protocol.StatusEvent({"status": "failed", "error": "it broke"}))
    open_deploy(browser, shared, "steps")
    browser.expect_texts("#log .target .message", "it broke")
    wait_for_count(browser, "20,101 lines")
    assert browser.run("return document.querySelectorAll('*').length") < 3000

    def scroll() -> str:
        browser.run("scrollTo(0, document.documentElement.scrollHeight / 4)")
        return str(browser.run("return document.querySelector('#log h3 .name')?.innerText"))

    # The page may still be on its own way to the first error.
    wait_until(lambda: scroll().startswith("Step 4"), "a quarter of the steps")
    browser.type("step 7777", "#search")
    browser.wait_for("document.querySelector('#matches').innerText === '1 of 1'")
    browser.run("location.hash = '#L3000'")
    wait_until_seen(browser, "#L3000.target")


COLOURS = (
    "\x1b[1;31mred\x1b[0m plain \x1b[38;5;46mgreen\x1b[39m \x1b[38;2;10;20;250mblue",
    "\x1b[30;40mblack on black\x1b[0m \x1b[8mconcealed\x1b[28m \x1b[37;47mwhite on white",
    "\x1b[7minverse\x1b[27m \x1b[97mbright\x1b[38;2;300;0mx \x1b[1;1Hmoved \x1b[31",
)


def test_colours_of_terminals_are_shown_and_hide_nothing(browser: Browser, shared: Serving) -> None:
    every = "".join(f"\x1b[{ink}m{ink} \x1b[{ink + 10}m{ink} \x1b[0m" for ink in INKS)
    post_lines(shared, "colours", *COLOURS, every)
    open_deploy(browser, shared, "colours")

    browser.expect_texts(
        "#log :is(#L1, #L2, #L3) .message",
        "red plain green blue",
        "black on black concealed white on white",
        "inverse brightx moved \u241b[31",
    )
    spans = "[...document.querySelectorAll('#L1 .message span')].map((one) => one.className)"
    assert browser.run(f"return {spans}") == ["ansi-bold ansi-1", "ansi-10", "ansi-12"]
    assert browser.run("return document.querySelector('#log [style*=color]')") is None
    assert find_weak_texts(browser) == []


def test_a_long_line_of_json_stands_in_the_row_of_its_number(
    browser: Browser, shared: Serving
) -> None:
    post_lines(shared, "json", '{"a":"' + "x" * 3000 + '"}', "next")
    open_deploy(browser, shared, "json")
    tops = (
        "['.number', '.message'].map((part) => document.querySelector(`#L1 ${part}`))"
        ".map((one) => one.getBoundingClientRect().top)"
    )
    for width in (1440, 390):
        browser.resize(width, 844)
        for _ in range(2):
            browser.wait_for(f"new Set({tops}).size === 1")
            browser.wait_for("document.documentElement.scrollWidth === innerWidth")
            browser.type("w")
    browser.run("localStorage.clear()")
