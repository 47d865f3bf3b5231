"""The log of a deploy that has ended: folds, filters, permalinks and keys."""

from __future__ import annotations

from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.serving import Serving
from tests.integration.dashboard.watching import (
    build_page_url,
    is_in_view,
    list_messages,
    open_deploy,
)
from tests.waiting import wait_until


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


def test_a_search_marks_what_it_finds_and_leads_from_match_to_match(page: Browser) -> None:
    page.type("LINE 3", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 12'")
    assert set(page.list_texts("#log mark")) == {"line 3"}
    assert page.list_texts("#log .target .message") == ["Check: line 3"]
    assert is_open(page, "Check")

    page.type("\ue007", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '2 of 12'")
    assert page.list_texts("#log .target .message") == ["Build: line 3"]
    page.click("#copy")
    page.type("N")
    page.type("N")
    page.wait_for("document.querySelector('#matches').innerText === '12 of 12'")
    page.type("n")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 12'")

    page.type("\ue00c", "#search")
    page.wait_for("document.querySelector('#matches').hidden")
    assert page.list_texts("#log mark") == []


def test_all_lines_but_those_that_were_found_are_left_out_on_demand(page: Browser) -> None:
    click_step(page, "Start web")
    page.type("line 3", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 12'")
    page.click("#only")
    page.wait_for("document.querySelector('#count').innerText === '12 of 96 lines'")
    assert list_messages(page)[:2] == ["Check: line 3", "Build: line 3"]
    assert page.list_texts("#log h3 .name") == ["Check", "Build"]

    page.type("\ue00c", "#search")
    page.wait_for("document.querySelector('#count').innerText === '96 lines'")
    assert not is_open(page, "Start web")


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
    page.wait_for("document.querySelector('#count').innerText === '2 of 96 lines'")


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
    page.type("healthy", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 1'")
    page.click("#only")
    page.wait_for("document.querySelectorAll('#log .line').length === 1")
    page.click("#L94 .number")
    assert page.driver.current_url.endswith("#L94")

    page.run("location.hash = '#L3'")
    page.wait_for("document.querySelector('#L3.target')")
    assert page.list_texts("#count") == ["96 lines"]


def test_a_permalink_names_the_attempt_and_leaves_the_page_where_it_is(
    page: Browser, shared: Serving, failed: str
) -> None:
    wait_until(lambda: is_in_view(page, "#L94"), "the error")
    place = page.run("return scrollY")
    page.click("#L90 .number")
    assert page.driver.current_url == build_page_url(shared, failed) + "?attempt=1#L90"
    page.click("#L91 .number")
    assert page.list_texts("#log .target .number") == ["91"]
    assert page.run("return scrollY") == place

    page.driver.back()
    page.wait_for("document.querySelector('#L90.target')")
    page.driver.forward()
    page.wait_for("document.querySelector('#L91.target')")
    page.run("document.querySelector('#log h3 .anchor').click()")
    assert page.driver.current_url.endswith("?attempt=1#L2")


def test_a_reload_keeps_the_search(page: Browser) -> None:
    page.type("line 3", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 12'")
    page.click("#only")
    page.wait_for("document.querySelector('#count').innerText === '12 of 96 lines'")
    page.driver.refresh()
    page.wait_until_ready()

    assert page.list_texts("#count") == ["12 of 96 lines"]
    assert page.run("return document.querySelector('#search').value") == "line 3"


def test_a_filter_that_nothing_passes_says_so_and_finds_steps_by_their_names(page: Browser) -> None:
    page.type("nowhere", "#search")
    page.wait_for("document.querySelector('#matches').innerText === '0 found'")
    page.click("#only")
    page.wait_for("!document.querySelector('#nothing').hidden")
    assert page.list_texts("#nothing") == ["No line passes the filter."]

    page.type("\ue00c", "#search")
    page.type("start w", "#search")
    page.wait_for("document.querySelector('#matches').innerText.endsWith('of 2')")
    page.click("#next")
    page.wait_for("document.querySelector('#matches').innerText === '1 of 2'")
    assert page.list_texts("#log .target .name") == ["Start web"]


def test_a_permalink_to_nothing_changes_nothing(
    browser: Browser, shared: Serving, failed: str
) -> None:
    open_deploy(browser, shared, failed, "#L5000")

    assert browser.list_texts("#log .target") == []


def test_keys_lead_to_the_search_and_from_error_to_error(page: Browser) -> None:
    page.type("n")
    assert page.list_texts("#log .target .message") == ["Could not undo it"]
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


def test_keys_can_be_turned_off_for_good(page: Browser) -> None:
    page.type("?")
    assert "next, previous line" in page.list_texts("#keys[open]")[0]
    page.click("#keys-on")
    page.click("#keys form > button")
    page.driver.refresh()
    page.wait_until_ready()
    page.type("/")
    assert page.run("return document.activeElement.id") != "search"

    page.click("#help")
    page.click("#keys-on")
    page.type("\ue00c", "#keys")
    page.type("/")
    assert page.run("return document.activeElement.id") == "search"


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
    name = page.run("return document.querySelector('[download]').download")
    assert name == "deploys-failed.txt"


def test_the_log_is_copied_also_where_there_is_no_clipboard_object(page: Browser) -> None:
    page.run(
        "Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true });"
        "addEventListener('copy', () => { window.copied = document.activeElement.value })"
    )
    for _ in range(2):
        page.click("#copy")
        page.wait_for("document.querySelector('#copy').innerText === 'Copied'")

    assert page.run("return window.copied").count("\n") == 96
    assert page.run("return document.activeElement.id") == "copy"
    page.wait_for("document.querySelector('#copy').innerText === 'Copy'")


def test_times_and_long_lines_are_shown_as_the_reader_chose(page: Browser) -> None:
    assert page.list_texts("#log .line time") == []
    page.click("#times")
    page.click("#wrap")
    page.driver.refresh()
    page.wait_until_ready()
    assert page.list_texts("#log .line time")[0].count(":") == 2
    spaces = "getComputedStyle(document.querySelector('#log .line .message')).whiteSpace"
    assert page.run(f"return {spaces}") == "pre"

    page.type("w")
    page.type("t")
    assert page.run(f"return {spaces}") == "pre-wrap"
    assert page.list_texts("#log .line time") == []
    page.run("localStorage.clear()")


def test_a_selection_is_copied_without_numbers_and_signs(page: Browser) -> None:
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.command("Browser.grantPermissions", permissions=allowed)
    page.command("Emulation.setFocusEmulationEnabled", enabled=True)
    page.run(
        "const [one, other] = ['#L93', '#L95'].map((id) => document.querySelector(id));"
        "getSelection().setBaseAndExtent(one, 0, other, other.childNodes.length)"
    )
    page.command("Input.dispatchKeyEvent", type="keyDown", key="c", modifiers=2, commands=["copy"])
    assert page.run("return navigator.clipboard.readText()").strip().split("\n") == [
        "waiting for web, try 45",
        "web did not become healthy: GET /up answered 500",
        "Undoing: Start web",
    ]


def test_the_head_sticks_and_leads_to_the_first_error(page: Browser) -> None:
    click_step(page, "Build")
    page.run("scrollTo(0, document.documentElement.scrollHeight)")
    wait_until(lambda: is_in_view(page, "#state .badge"), "the head")
    assert page.list_texts("#bar .what") == ["main 3f2a9c1"]
    assert page.list_texts("#current bdi") == ["Start web"]
    page.run("scrollTo(0, 0)")
    page.click("#first-error")
    wait_until(lambda: is_in_view(page, "#L94.target"), "the first error")
