"""The log of a deploy that has ended: folds, filters, permalinks and keys."""

from __future__ import annotations

from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    MESSAGES,
    build_page_url,
    open_deploy,
    wait_for_count,
    wait_until_seen,
)

ESCAPE, ENTER = "\ue00c", "\ue007"
TARGET = "#log .target .message"
OPEN = "#log h3 [aria-expanded=true] .name"
FAULT = "web did not become healthy: GET /up answered 500"

#: Has a search take longer than all else that a page opens with.
SLOW_SEARCH = """
const ask = window.fetch;
window.fetch = async (url, options) => {
  if (url.includes("matches.json")) await new Promise((resolve) => setTimeout(resolve, 500));
  return ask(url, options);
};
"""


def click_step(page: Browser, step: str) -> None:
    script = (
        "[...document.querySelectorAll('#log h3 button')]"
        ".find((one) => one.querySelector('.name').innerText === arguments[0]).click()"
    )
    page.run(script, step)


def test_a_failed_deploy_opens_at_its_first_error_and_its_steps_fold(page: Browser) -> None:
    page.expect_texts("#log h3 .name", "Check", "Build", "Start web")
    page.expect_texts(OPEN, "Start web")
    page.expect_texts(TARGET, FAULT)
    wait_until_seen(page, "#log .target")
    page.expect_texts("#log .step.failed .name", "Start web")
    page.expect_texts("#log .step.failed .marks", "2 errors")
    took = "[...document.querySelectorAll('#log h3 .took')].map((one) => one.innerText)"
    page.wait_for(f"{took}.filter((text) => /^[0-9.]+ s$/.test(text)).length === 3")

    line = f"[...document.querySelectorAll('{MESSAGES}')].some((o) => o.innerText === arguments[0])"
    click_step(page, "Check")
    page.expect_texts(OPEN, "Check", "Start web")
    page.wait_for(line, "Check: line 3")
    click_step(page, "Check")
    page.expect_texts(OPEN, "Start web")
    page.wait_for(f"!{line}", "Check: line 3")
    page.click("#fold")
    page.expect_texts(MESSAGES, "nvoi: deploy shop")
    page.click("#fold")
    page.expect_texts(OPEN, "Check", "Build", "Start web")
    check_head_that_sticks(page)


def check_head_that_sticks(page: Browser) -> None:
    """Wherever the reader is, the head says what this is, and leads to the first error."""
    page.run("scrollTo(0, document.documentElement.scrollHeight)")
    wait_until_seen(page, "#state .badge")
    page.expect_texts("#bar .what", "main 3f2a9c1")
    page.expect_texts("#current bdi", "Start web")
    page.run("scrollTo(0, 0)")
    page.click("#first-error")
    wait_until_seen(page, "#L94.target")


def test_a_search_marks_what_it_finds_and_leads_from_match_to_match(page: Browser) -> None:
    page.type("LINE 3", "#search")
    page.expect_texts("#matches", "1 of 12")
    page.expect(
        "[...new Set([...document.querySelectorAll('mark')].map((o) => o.innerText))]", ["line 3"]
    )
    page.expect_texts(TARGET, "Check: line 3")
    page.expect_texts(OPEN, "Check", "Start web")
    page.type(ENTER, "#search")
    page.expect_texts("#matches", "2 of 12")
    page.expect_texts(TARGET, "Build: line 3")
    page.click("#copy")
    page.type("N")
    page.type("N")
    page.expect_texts("#matches", "12 of 12")
    page.type("n")
    page.expect_texts("#matches", "1 of 12")
    page.type(ESCAPE, "#search")
    page.wait_for("document.querySelector('#matches').hidden")
    page.expect_texts("#log mark")

    # Steps are found by their names, beside the line that has the same words.
    page.type("start w", "#search")
    page.expect_texts("#matches", "1 of 2")
    page.expect_texts("#log .target .name", "Start web")
    page.click("#next")
    page.expect_texts("#matches", "2 of 2")


def test_a_reader_may_leave_out_all_lines_but_those_that_were_found_or_are_severe(
    page: Browser,
) -> None:
    click_step(page, "Start web")
    page.type("line 3", "#search")
    page.expect_texts("#matches", "1 of 12")
    page.click("#only")
    wait_for_count(page, "12 of 96 lines")
    page.expect(f"document.querySelector('{MESSAGES}').innerText", "Check: line 3")
    page.expect_texts("#log h3 .name", "Check", "Build")
    # A reload keeps all that; the page is not ready before it has found the lines again.
    with page.with_script(SLOW_SEARCH):
        page.driver.refresh()
        page.wait_until_ready()
    assert page.list_texts("#count") == ["12 of 96 lines"]
    assert page.run("return document.querySelector('#search').value") == "line 3"
    click_step(page, "Build")

    page.type(ESCAPE, "#search")
    wait_for_count(page, "96 lines")
    page.type("nowhere", "#search")
    page.expect_texts("#matches", "0 found")
    page.click("#only")
    page.expect_texts("#nothing", "No line passes the filter.")
    page.type(ESCAPE, "#search")

    # A line is chosen by its number, whatever the filter.
    page.type("healthy", "#search")
    page.expect_texts("#matches", "1 of 1")
    page.click("#only")
    page.wait_for("document.querySelectorAll('#log .line').length === 1")
    page.click("#L94 .number")
    page.wait_for("location.hash === '#L94'")
    page.run("location.hash = '#L3'")
    page.wait_for("document.querySelector('#L3.target')")
    wait_for_count(page, "96 lines")

    page.expect_texts(".levels b", "1", "2")
    page.run("document.querySelector('.levels [value=warning]').click()")
    page.expect_texts(MESSAGES, "a package is old", FAULT, "Could not undo it")
    page.run("document.querySelector('.levels [value=error]').click()")
    wait_for_count(page, "2 of 96 lines")


def test_a_permalink_leads_to_its_line_and_names_the_attempt(
    browser: Browser, shared: Serving, failed: str
) -> None:
    open_deploy(browser, shared, failed, "#L20")
    browser.expect_texts(OPEN, "Build", "Start web")
    browser.expect_texts("#log .target .number", "20")
    wait_until_seen(browser, "#L20")
    browser.run("location.hash = '#L6'")
    browser.expect_texts("#log .target .name", "Build")
    # One to nothing changes nothing.
    browser.run("location.hash = '#L5000'")
    browser.expect_texts("#log .target .name", "Build")

    browser.run("location.hash = '#L90'")
    wait_until_seen(browser, "#L90.target")
    browser.click("#L91 .number")
    browser.expect("location.href", f"{build_page_url(shared, failed)}?attempt=1#L91")
    browser.expect_texts("#log .target .number", "91")
    place = browser.run("return scrollY")
    browser.click("#L92 .number")
    browser.expect_texts("#log .target .number", "92")
    assert browser.run("return scrollY") == place
    browser.driver.back()
    browser.wait_for("document.querySelector('#L91.target')")
    browser.driver.forward()
    browser.wait_for("document.querySelector('#L92.target')")
    browser.run("document.querySelector('#log h3 .anchor').click()")
    browser.wait_for("location.href.endsWith('?attempt=1#L2')")


def test_keys_lead_to_the_search_and_from_error_to_error(page: Browser) -> None:
    page.type("n")
    page.expect_texts(TARGET, "Could not undo it")
    page.type("N")
    page.type("N")
    page.wait_for("document.querySelector('#L96.target')")
    page.type("k")
    page.wait_for("document.querySelector('#L95.target')")
    page.type("j")
    page.wait_for("document.querySelector('#L96.target')")
    page.type("/")
    page.type("undo", "#search")
    page.wait_for("document.querySelector('#matches').innerText.endsWith('of 2')")
    page.type(ESCAPE, "#search")


def test_what_the_reader_has_chosen_is_kept(page: Browser) -> None:
    page.expect_texts("#log .line time")
    page.click("#times")
    page.click("#wrap")
    page.type("?")
    page.wait_for("document.querySelector('#keys[open]').innerText.includes('next, previous line')")
    page.click("#keys-on")
    page.click("#keys form > button")
    page.driver.refresh()
    page.wait_until_ready()
    page.wait_for("document.querySelector('#log .line time').innerText.split(':').length === 3")
    spaces = "getComputedStyle(document.querySelector('#log .line .message')).whiteSpace"
    page.expect(spaces, "pre")
    page.type("/")
    assert page.run("return document.activeElement.id") != "search"

    page.click("#help")
    page.click("#keys-on")
    page.type(ESCAPE, "#keys")
    page.type("w")
    page.type("t")
    page.expect(spaces, "pre-wrap")
    page.expect_texts("#log .line time")
    page.run("localStorage.clear()")


def test_the_log_is_copied_as_the_text_that_is_downloaded(page: Browser, shared: Serving) -> None:
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.command("Browser.grantPermissions", permissions=allowed)
    page.command("Emulation.setFocusEmulationEnabled", enabled=True)
    button = "document.querySelector('#copy').innerText"
    page.click("#copy")
    page.expect(button, "Copied")
    copied = page.run("return navigator.clipboard.readText()")
    path = page.run("return document.querySelector('[download]').getAttribute('href')")
    assert copied == shared.get(path).data.decode()
    assert copied.count("\n") == 96
    name = page.run("return document.querySelector('[download]').download")
    assert name == "deploys-failed.txt"

    check_copy_of_selection(page)
    # A page that is not served by https has no clipboard object.
    page.run(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });"
        "addEventListener('copy', () => { window.copied = document.activeElement.value })"
    )
    for _ in range(2):
        page.click("#copy")
        page.expect("window.copied", copied)
        page.expect(button, "Copied")
    assert page.run("return document.activeElement.id") == "copy"
    page.expect(button, "Copy")


def check_copy_of_selection(page: Browser) -> None:
    """What is selected is copied without numbers and signs."""
    page.run(
        "const [one, other] = ['#L93', '#L95'].map((id) => document.querySelector(id));"
        "getSelection().setBaseAndExtent(one, 0, other, other.childNodes.length)"
    )
    page.command("Input.dispatchKeyEvent", type="keyDown", key="c", modifiers=2, commands=["copy"])
    lines = page.run("return navigator.clipboard.readText()").strip().split("\n")
    assert lines == ["waiting for web, try 45", FAULT, "Undoing: Start web"]
