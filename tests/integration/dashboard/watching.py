"""What the tests of the pages share: deploys to look at, and a browser that looks."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from nvoi import protocol
from nvoi.log.levels import Logger
from tests.integration.dashboard.browser import NETWORK, Browser
from tests.integration.dashboard.serving import Serving
from tests.integration.streams import KEY, Run

CONTEXT = {
    "git_sha": "3f2a9c1be0d4a5f6e7b8c9d0e1f2a3b4c5d6e7f8",
    "git_ref": "main",
    "ci_provider": "github_actions",
    "ci_run_url": "https://github.com/acme/shop/actions/runs/1234",
}

#: The messages of the lines that can be seen.
MESSAGES = "#log .line:not(.pending) .message"

#: What a page wide and high enough to show a short log whole is.
WHOLE = (1200, 9000)


def expect_network_errors(browser: Browser) -> None:
    """The server will be away: Chromium's own words on that are no fault of the page."""
    browser.expected = frozenset({NETWORK})


def build_page_url(serving: Serving, deploy_id: str, project: str = "default") -> str:
    return f"{serving.url}/projects/{project}/deploys/{quote(deploy_id, safe='')}"


def open_deploy(browser: Browser, serving: Serving, deploy_id: str, suffix: str = "") -> None:
    """Open a deploy's page and wait for its log."""
    browser.open(build_page_url(serving, deploy_id) + suffix)
    browser.wait_until_ready()


@contextmanager
def start_run(
    serving: Serving, folder: Path, deploy_id: str = "", **settings: Any
) -> Iterator[Run]:
    """A deploy that streams to the dashboard."""
    name = deploy_id or uuid.uuid4().hex[:8]
    settings = {"budget": 20.0, "context": CONTEXT, **settings}
    with Run(serving.callback_url, folder, deploy_id=name, **settings) as run:
        yield run


def log_steps(log: Logger, steps: Mapping[str, int]) -> None:
    """Log each step and this many lines below it."""
    for step, lines in steps.items():
        log.step("%s", step)
        for number in range(1, lines + 1):
            log.info("%s: line %d", step, number)


def post(
    serving: Serving,
    deploy_id: str,
    request: protocol.Request,
    counts: tuple[int, int] | None = None,
) -> None:
    """Send one request of a deploy's one run, as the protocol has it."""
    body = request.encode()
    headers = protocol.build_headers(
        request,
        body,
        key=KEY,
        deploy_id=deploy_id,
        run=protocol.Run("shop", "deploy", str(uuid.uuid5(uuid.NAMESPACE_URL, deploy_id))),
        timestamp=int(time.time()),
        counts=counts,
    )
    url = protocol.build_url("/api/deploys", deploy_id, request.kind)
    assert serving.post(url, body, headers).status == 200


def post_lines(
    serving: Serving, deploy_id: str, *messages: str, first: int = 0, level: int = 20
) -> None:
    """Send lines whose first has the sequence number ``first``; 0 gives them none."""
    lines = [protocol.encode_line((level, time.time(), message)) for message in messages]
    post(serving, deploy_id, protocol.LogBatch(lines, first))


def wait_until_seen(browser: Browser, selector: str) -> None:
    """Wait until an element is within the window."""
    box = "document.querySelector(arguments[0]).getBoundingClientRect()"
    browser.wait_for(f"{box}.top >= 0 && {box}.bottom <= innerHeight", selector, what=selector)


def wait_for_count(browser: Browser, text: str) -> None:
    """Wait until the page says that this many lines are shown."""
    browser.expect_texts("#count", text)
