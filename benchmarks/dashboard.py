"""How soon a line and a page are in the browser, and how many lines a second the dashboard takes.

Every figure is of the installed ``nvoi dashboard`` in a process of its own, over real HTTP with
both signatures, and of a real headless Chromium. Two dashboards take lines in turns: one that
holds a million already, and one that was new.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from goals import Goals, describe, find_median
from receivers import KEY
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

import nvoi
from nvoi.protocol import sign, sign_webhook

LATENCY_SECONDS = 0.5
#: A page of a project with many runs, and that of a long log, until its first error is seen.
PROJECT_SECONDS, LOG_SECONDS = 0.1, 1.0
RUNS, STEPS, STEP_LINES = 10_000, 20_000, 50
LINES_A_SECOND = 50_000
#: How much slower it may be with a million lines stored: within what rounds differ by anyway.
RATIO = 0.9

#: Deploys that send at the same time, and the lines of one request: the sender gathers for
#: half a second, and a request has 500 at most, which it has at the rate that is the goal.
SENDERS, FULL, SMALL = 4, 500, 100
FILLING_LINES = 10_000

MESSAGE = "web: GET /orders/{number} from 10.0.0.7 took 12.5 ms, status 200 OK, 5120 bytes"

#: Notes when each line that carries a time is in the page, in milliseconds after that time.
OBSERVE = r"""
window.seen = {};
const look = () => {
  const found = document.body.textContent.matchAll(/line (\d+) sent at (\d+) ms/g);
  for (const [, number, sent] of found) {
    if (!(number in window.seen)) window.seen[number] = Date.now() - Number(sent);
  }
};
new MutationObserver(look).observe(document.body, {
  childList: true, characterData: true, subtree: true
});
look();
"""


@dataclass(frozen=True)
class Request:
    """One request as a sender makes it."""

    path: str
    body: bytes
    headers: dict[str, str]


@contextlib.contextmanager
def start_dashboard(folder: Path) -> Iterator[str]:
    """The URL of a new dashboard that keeps its data in ``folder``."""
    folder.mkdir()
    words = ["dashboard", "--port", "0", "--db", str(folder / "dashboard.sqlite3")]
    # What it can do is asked, not what it grants to one project.
    words += ["--rate", "1000000", "--keep", "0"]
    command = [str(Path(sys.executable).parent / "nvoi"), *words]
    environ = {**os.environ, "DEPLOY_KEY": KEY, "NVOI_HOME": str(folder)}
    environ.pop("NVOI_MASTER_KEY", None)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield read_url(process)
        finally:
            process.terminate()
            process.communicate()


def read_url(process: subprocess.Popen[str]) -> str:
    """The address that a dashboard prints when it is ready.

    Raises:
        RuntimeError: it ended before.
    """
    for line in process.stdout or ():
        if found := re.search(r"http://127\.0\.0\.1:\d+", line):
            return found[0]
    raise RuntimeError("the dashboard did not start")


# -- lines a second ------------------------------------------------------------------------


def build_request(deploy_id: str, number: int, body: bytes, **headers: str) -> Request:
    """A signed request of a deploy; ``number`` is its own among that deploy's."""
    kind = "logs" if "X-Nvoi-Sequence" in headers else "status"
    webhook_id, now = f"msg_{deploy_id}_{number}", int(time.time())
    signed = {
        "Content-Type": "application/json",
        "X-Nvoi-Signature": sign(body, KEY),
        "X-Nvoi-Deploy-Id": deploy_id,
        "webhook-id": webhook_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign_webhook(body, KEY, webhook_id, now),
    }
    return Request(f"/api/deploys/{deploy_id}/{kind}", body, signed | headers)


def build_deploy(deploy_id: str, lines: int, batch: int) -> list[Request]:
    """The requests of a whole deploy of so many lines."""
    started = json.dumps({"status": "started", "git_ref": "main"}).encode()
    requests = [build_request(deploy_id, 0, started)]
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    for index, first in enumerate(range(1, lines + 1, batch), 1):
        last = min(first + batch - 1, lines)
        logs = [
            {"level": "info", "message": MESSAGE.format(number=number), "logged_at": moment}
            for number in range(first, last + 1)
        ]
        body = json.dumps({"logs": logs}).encode()
        sequence = {"X-Nvoi-Sequence": f"{first}-{last}"}
        requests.append(build_request(deploy_id, index, body, **sequence))
    ended = {"status": "completed", "tunnels": [], "duration_seconds": 1}
    counts = {"X-Nvoi-Log-Count": str(lines), "X-Nvoi-Log-Dropped": "0"}
    return [*requests, build_request(deploy_id, -1, json.dumps(ended).encode(), **counts)]


def send(url: str, requests: Sequence[Request]) -> None:
    """Send them one after the other; only what is acknowledged counts.

    Raises:
        RuntimeError: one is refused.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    with contextlib.closing(connection):
        for request in requests:
            connection.request("POST", request.path, request.body, request.headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{request.path} answered {answer.status}: {text!r}")


def measure_rate(url: str, names: Iterator[int], lines: int, batch: int) -> float:
    """Acknowledged lines a second, of deploys that send at the same time.

    Raises:
        RuntimeError: not all that was acknowledged is there.
    """
    ids = [f"run-{next(names)}" for _ in range(SENDERS)]
    deploys = [build_deploy(deploy_id, lines, batch) for deploy_id in ids]
    with ThreadPoolExecutor(SENDERS) as pool:
        began = time.perf_counter()
        for sent in [pool.submit(send, url, requests) for requests in deploys]:
            sent.result()
        seconds = time.perf_counter() - began
    for deploy_id in ids:
        (attempt,) = (find_deploy(url, deploy_id) or {})["attempts"]
        if attempt["lines"] != lines or attempt["status"] != "completed":
            raise RuntimeError(f"{deploy_id} is not stored as it was sent: {attempt}")
    return SENDERS * lines / seconds


def find_deploy(url: str, deploy_id: str) -> dict[str, Any] | None:
    """What the dashboard has of a deploy, or None."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", f"/api/projects/default/deploys/{deploy_id}.json")
        answer = connection.getresponse()
        text = answer.read()
    return dict(json.loads(text)) if answer.status == 200 else None


def fill(url: str, names: Iterator[int], lines: int) -> float:
    """Store ``lines``, and return how many a second that were."""
    began = time.perf_counter()
    for _ in range(lines // FILLING_LINES):
        send(url, build_deploy(f"run-{next(names)}", FILLING_LINES, FULL))
    return lines / (time.perf_counter() - began)


def compare_rates(goals: Goals, folder: Path, options: argparse.Namespace) -> None:
    """Lines a second, alone and beside a million that are stored."""
    names = count(1)
    with start_dashboard(folder / "new") as new, start_dashboard(folder / "full") as full:
        rate = fill(full, names, options.stored)
        goals.note(f"{options.stored} lines stored by one deploy after another: {rate:.0f} lines/s")
        measure_rate(new, names, options.lines, FULL)  # warms it up, as filling did the other
        rates = {batch: measure_both(new, full, names, batch, options) for batch in (SMALL, FULL)}
    for batch, (fresh, stored) in rates.items():
        goals.note(f"{SENDERS} deploys at once, {batch} lines a request, on a new database:")
        goals.note(f"  {describe(fresh, digits=0)} lines/s, beside those stored")
        goals.note(f"  {describe(stored, digits=0)}")
    fresh, stored = rates[FULL]
    goals.at_least("lines a second", find_median(fresh), LINES_A_SECOND)
    goals.at_least("lines a second, beside those stored", find_median(stored), LINES_A_SECOND)
    ratios = [beside / alone for alone, beside in zip(fresh, stored, strict=True)]
    goals.at_least("the latter against the former", find_median(ratios), RATIO)


def measure_both(
    new: str, full: str, names: Iterator[int], batch: int, options: argparse.Namespace
) -> tuple[list[float], list[float]]:
    """The rates of all rounds, of the new database and of the full one."""
    fresh: list[float] = []
    stored: list[float] = []
    for number in range(options.rounds):
        # Each goes first as often as the other.
        turns = [(new, fresh), (full, stored)]
        for url, rates in reversed(turns) if number % 2 else turns:
            rates.append(measure_rate(url, names, options.lines, batch))
    return fresh, stored


# -- from the call to the browser ----------------------------------------------------------


@contextlib.contextmanager
def open_browser(folder: Path) -> Iterator[Chrome]:
    """A headless Chromium."""
    options = ChromeOptions()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    options.binary_location = program or "chromium"
    for name in ("headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run"):
        options.add_argument(f"--{name}")
    for name in ("disable-background-networking", "disable-component-update", "disable-sync"):
        options.add_argument(f"--{name}")
    options.add_argument(f"--user-data-dir={folder / 'browser'}")
    driver = Chrome(options, Service(shutil.which("chromedriver") or "chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


def measure_latencies(url: str, folder: Path, lines: int) -> list[float]:
    """Seconds from each call of ``log.info`` until its line is in the browser's page.

    Raises:
        RuntimeError: not all lines came.
    """
    log, pause = logging.getLogger("nvoi.web"), threading.Event()
    with (
        open_browser(folder) as browser,
        nvoi.CallbackStream(
            "nvoi", f"{url}/api/deploys", KEY, "watched", undelivered=folder
        ) as stream,
    ):
        log.info("the page is opened at its first line")
        wait_for_page(url)
        browser.get(f"{url}/projects/default/deploys/watched")
        wait_for_log(browser)
        browser.execute_script("document.querySelector('#follow').click()")
        browser.execute_script(OBSERVE)
        for number in range(lines):
            # Uneven, so that calls come at every moment of the sender's own intervals.
            pause.wait(0.05 + 0.37 * (number % 7) / 6)
            log.info("line %d sent at %d ms", number, time.time() * 1000)
        deadline = time.monotonic() + 10
        while len(seen := browser.execute_script("return window.seen")) < lines:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{len(seen)} of {lines} lines came to the browser")
            pause.wait(0.1)
        stream.completed()
    return [milliseconds / 1000 for milliseconds in seen.values()]


def wait_for_page(url: str) -> None:
    """Wait until the dashboard knows the deploy.

    Raises:
        RuntimeError: it never does.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if find_deploy(url, "watched"):
            return
        time.sleep(0.05)
    raise RuntimeError("the deploy did not come to the dashboard")


def wait_for_log(browser: Chrome) -> None:
    """Wait until the page shows the deploy live.

    Raises:
        RuntimeError: it never does.
    """
    deadline = time.monotonic() + 10
    while browser.execute_script("return document.documentElement.dataset.ready") is None:
        if time.monotonic() > deadline:
            raise RuntimeError("the page is not ready")
        time.sleep(0.05)


# -- pages of much ---------------------------------------------------------------------------


def build_long_deploy(deploy_id: str) -> list[Request]:
    """A deploy of many steps, of which one in the middle has an error."""
    requests = build_deploy(deploy_id, 0, 1)[:1]
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    per_request = FULL // STEP_LINES
    for index in range(0, STEPS, per_request):
        logs = []
        for step in range(index, index + per_request):
            levels = ["step", *["info"] * (STEP_LINES - 2), "error" if step == STEPS // 2 else "ok"]
            logs += [
                {"level": level, "message": f"Step {step}, line {line}", "logged_at": moment}
                for line, level in enumerate(levels)
            ]
        first = index * STEP_LINES + 1
        sequence = {"X-Nvoi-Sequence": f"{first}-{first + len(logs) - 1}"}
        body = json.dumps({"logs": logs}).encode()
        requests.append(build_request(deploy_id, index + 1, body, **sequence))
    ended = json.dumps({"status": "failed", "error": "it broke"}).encode()
    counts = {"X-Nvoi-Log-Count": str(STEPS * STEP_LINES), "X-Nvoi-Log-Dropped": "0"}
    return [*requests, build_request(deploy_id, -1, ended, **counts)]


def measure_page(url: str, path: str) -> float:
    """Seconds until a page has come whole.

    Raises:
        RuntimeError: it does not.
    """
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    with contextlib.closing(connection):
        began = time.perf_counter()
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}")
        return time.perf_counter() - began


def compare_pages(goals: Goals, folder: Path, options: argparse.Namespace) -> None:
    """The page of a project with many runs, and of a deploy with many lines."""
    with start_dashboard(folder / "pages") as url, open_browser(folder) as browser:
        send(url, build_long_deploy("long"))
        opened: list[float] = []
        for _ in range(options.rounds):
            browser.get("about:blank")
            began = time.perf_counter()
            browser.get(f"{url}/projects/default/deploys/long")
            wait_for_log(browser)
            opened.append(time.perf_counter() - began)
        for number in range(RUNS):
            send(url, build_deploy(f"small-{number}", 1, 1))
        pages = [measure_page(url, "/projects/default") for _ in range(options.rounds)]
    goals.note(
        f"a log of {STEPS * STEP_LINES} lines at its first error: {describe(opened, digits=2)} s"
    )
    goals.at_most("a long log, median", find_median(opened), LOG_SECONDS, "s")
    goals.note(f"the page of a project with {RUNS} runs: {describe(pages, digits=3)} s")
    goals.at_most("the page of a project, median", find_median(pages), PROJECT_SECONDS, "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument(
        "--lines", type=int, default=10_000, help="of each deploy of a round (10000)"
    )
    parser.add_argument("--stored", type=int, default=1_000_000, help="lines stored (1000000)")
    parser.add_argument("--watched", type=int, default=100, help="lines timed in the browser (100)")
    options = parser.parse_args()
    goals = Goals(f"dashboard, {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with start_dashboard(folder / "watched") as url:
            latencies = measure_latencies(url, folder, options.watched)
        goals.note(f"from log.info to the browser: {describe(latencies, digits=2)} s")
        goals.at_most(
            "from log.info to the browser, median", find_median(latencies), LATENCY_SECONDS, "s"
        )
        compare_pages(goals, folder, options)
        compare_rates(goals, folder, options)
    goals.leave()


if __name__ == "__main__":
    main()
