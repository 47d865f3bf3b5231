"""The demo's dashboard: started, waited for, and asked what it has seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import urllib3

from nvoi.demo.place import GREETING, Place, start
from nvoi.errors import NvoiError, UsageError
from nvoi.log.levels import get_logger
from nvoi.process import Process
from nvoi.targets.local.processes import is_port_free
from nvoi.waiting import NotReadyError, wait_for

T = TypeVar("T")

log = get_logger(__name__)

#: Where `nvoi dashboard` is found unless told otherwise.
DASHBOARD_PORT = 8787

#: Seconds for the dashboard to start and to answer.
START_SECONDS, ANSWER_SECONDS = 60.0, 30.0

#: The dashboard's own project, which needs no token.
PROJECT = "default"

#: The dashboard names its address when it is ready. An error, which may name one too, begins
#: with the command's name.
URL = re.compile(r"^(?!nvoi: ).*?(http://127\.0\.0\.1:\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Watcher:
    """The dashboard that runs; ``url`` has no slash at its end."""

    process: Process
    url: str

    @property
    def callback_url(self) -> str:
        return f"{self.url}/api/deploys"

    @property
    def page(self) -> str:
        return f"{self.url}/projects/{PROJECT}"

    def build_page(self, deploy_id: str) -> str:
        """The page of a deploy, whose id needs no quoting."""
        return f"{self.page}/deploys/{deploy_id}"

    def ask_for(self, deploy_id: str) -> urllib3.BaseHTTPResponse:
        return ask(f"{self.url}/api/projects/{PROJECT}/deploys/{deploy_id}.json")


@contextmanager
def watch(place: Place, port: int | None) -> Iterator[Watcher]:
    """The place's dashboard, ready, on any port for 0, and on the usual one, if free, for None."""
    with ExitStack() as stack:
        begin = partial(start_dashboard, place, stack)
        yield start_on_free_port(begin) if port is None else begin(port)


def start_on_free_port(begin: Callable[[int], T]) -> T:
    """What ``begin`` gives for the usual port of a dashboard, if that is free, else for any."""
    if is_port_free(DASHBOARD_PORT):
        # Another program may be quicker.
        with suppress(UsageError):
            return begin(DASHBOARD_PORT)
    return begin(0)


def start_dashboard(place: Place, stack: ExitStack, port: int) -> Watcher:
    """The place's dashboard once it answers; it ends with ``stack``."""
    output = place.dashboard / "output.log"
    words = ["dashboard", "--port", str(port), "--db", str(place.dashboard / "dashboard.sqlite3")]
    words += ["--key-file", str(place.key_file)]
    process = stack.enter_context(start(place, words, output=output))
    return Watcher(process, wait_for_dashboard(process, output))


def wait_for_dashboard(process: Process, output: Path) -> str:
    """The URL of an ``nvoi dashboard`` that prints to ``output``, once it answers."""

    def look() -> str:
        if process.poll() is not None:
            raise build_start_error(process.returncode, output)
        found = URL.search(read(output))
        if found is None:
            raise NotReadyError("it has not named its address")
        try:
            answer = ask(f"{found[1]}/healthz")
        except NvoiError as error:
            raise NotReadyError(error.message) from error
        if answer.status != HTTPStatus.OK:
            raise NotReadyError(f"it is not well: {answer.status}")
        return found[1]

    try:
        return wait_for(look, what="the dashboard to start", seconds=START_SECONDS, log=log)
    except NotReadyError as seen:
        raise NvoiError(
            f"the dashboard did not start in {START_SECONDS:.0f} s: {seen}\n{read(output)}"
        ) from seen


def check_app(place: Place) -> str:
    """The page that the app answers with, which names its release."""
    page = ask(f"{place.app_url}/").data.decode("utf-8", "replace")
    if GREETING not in page:
        raise NvoiError(f"{place.app_url} does not greet")
    return page


def check_deploy(watcher: Watcher, deploy_id: str, *, status: str) -> str:
    """See that the dashboard has all of a deploy; the reason of a failed one, in one line."""
    page, answer = watcher.build_page(deploy_id), watcher.ask_for(deploy_id)
    try:
        attempt = max(answer.json()["attempts"], key=lambda attempt: int(attempt["number"]))
    except (ValueError, KeyError) as error:
        raise NvoiError(f"{page} answered {answer.status}, and no deploy") from error
    if attempt["status"] != status:
        raise NvoiError(f"{page} shows {attempt['status']}, and {status} was expected")
    if attempt["gaps"] or attempt["log_dropped"]:
        raise NvoiError(f"{page} lacks lines of the log")
    # Where its log is follows in brackets: it is about to go.
    return (attempt["error"] or "").partition("\n")[0].partition(" (")[0]


def build_start_error(code: int, output: Path) -> NvoiError:
    """The error for a dashboard that has ended, in its own words."""
    said = [line.removeprefix("nvoi: ") for line in read(output).splitlines()]
    if code == UsageError.exit_code and said:
        return UsageError("\n".join(said))
    return NvoiError("\n".join([f"the dashboard ended with exit code {code}", *said]))


def read(path: Path) -> str:
    """All of a file that is being written to."""
    return path.read_text("utf-8", "replace")


def ask(url: str) -> urllib3.BaseHTTPResponse:
    """The answer to GET, with no proxy between."""
    try:
        return urllib3.request("GET", url, timeout=ANSWER_SECONDS, retries=False, redirect=False)
    except urllib3.exceptions.HTTPError as error:
        raise NvoiError(f"{url} does not answer: {error}") from error
