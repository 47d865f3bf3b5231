"""The login in a real browser."""

from __future__ import annotations

from pathlib import Path

from tests.integration.dashboard.browser import Browser
from tests.integration.dashboard.readers import PASSWORD
from tests.integration.dashboard.test_access import LINE, build_guarded, send_run
from tests.integration.dashboard.watching import expect_network_errors

#: Logs out as another tab would; the status of the answer.
LOG_OUT = """
const body = new URLSearchParams(new FormData(document.querySelector(".top form")));
return fetch("/logout", { method: "POST", body }).then((answer) => answer.status);
"""


def test_a_reader_logs_in_arrives_at_the_line_of_the_link_and_logs_out(
    tmp_path: Path, browser: Browser
) -> None:
    # Chromium tells every answer of 400 and above.
    expect_network_errors(browser)
    with build_guarded(tmp_path) as serving:
        send_run(serving)
        page = f"{serving.url}/projects/default/deploys/run-1"
        browser.open(f"{page}#L1")
        browser.wait_for("document.activeElement.id === 'password'")
        browser.type(f"{PASSWORD}\n", "#password")
        browser.wait_until_ready()
        assert browser.driver.current_url == f"{page}#L1"
        assert LINE in browser.run("return document.body.innerText")
        # No script of a page, be it ours, can read the session.
        assert browser.run("return document.cookie") == ""

        assert browser.run(LOG_OUT) == 200
        with serving.build_client("run-1") as client:
            assert client.logs(2, "not for everybody") == 200
        browser.expect_texts("#connection a", "Load it again")
        browser.click("#connection a")
        browser.wait_for("location.pathname === '/login'")
