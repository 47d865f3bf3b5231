"""The demo's dashboard: started, waited for, and asked what it has seen."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import urllib3

from nvoi.demo.place import GREETING, Place, start
from nvoi.errors import NvoiError, UsageError
from nvoi.log.levels import get_logger
from nvoi.secret import Secret
from nvoi.targets.local.processes import is_port_free
from nvoi.waiting import NotReadyError, wait_for

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

    process: subprocess.Popen[bytes]
    url: str

    @property
    def callback_url(self) -> str:
        return f"{self.url}/api/deploys"

    @property
    def page(self) -> str:
        """The page with all deploys."""
        return f"{self.url}/projects/{PROJECT}"

    def build_page(self, deploy_id: str) -> str:
        """The page of a deploy, whose id needs no quoting."""
        return f"{self.page}/deploys/{deploy_id}"

    def get_deploy(self, deploy_id: str) -> tuple[dict[str, Any], list[str]]:
        """The newest attempt of a deploy, and its messages."""
        path = f"{self.url}/api/projects/{PROJECT}/deploys/{deploy_id}"
        attempt = max(
            get_json(f"{path}.json")["attempts"], key=lambda attempt: int(attempt["number"])
        )
        lines = get_json(f"{path}/lines.json?attempt={attempt['number']}&limit=5000")["lines"]
        return attempt, [line["message"] for line in lines]

    def knows(self, deploy_id: str) -> bool:
        answer = ask(f"{self.url}/api/projects/{PROJECT}/deploys/{deploy_id}.json")
        return answer.status == HTTPStatus.OK


@contextmanager
def watch(place: Place, port: int | None) -> Iterator[Watcher]:
    """The place's dashboard, ready; it ends with the ``with`` block.

    Args:
        port: 0 lets the system choose, None takes the usual one where it is free.
    """
    with ExitStack() as stack:
        try:
            watcher = start_dashboard(place, choose_port() if port is None else port, stack)
        except UsageError:
            if port is not None:
                raise
            # Another program was quicker.
            watcher = start_dashboard(place, 0, stack)
        yield watcher


def choose_port() -> int:
    """The usual port of a dashboard where that is free, else 0 for any."""
    return DASHBOARD_PORT if is_port_free(DASHBOARD_PORT) else 0


def start_dashboard(place: Place, port: int, stack: ExitStack) -> Watcher:
    """The place's dashboard once it answers; it ends with ``stack``."""
    output = place.dashboard / "output.log"
    words = ["dashboard", "--port", str(port), "--db", str(place.dashboard / "dashboard.sqlite3")]
    words += ["--key-file", str(place.key_file)]
    process = stack.enter_context(start(place, words, output=output))
    return Watcher(process, wait_for_dashboard(process, output))


def wait_for_dashboard(process: subprocess.Popen[bytes], output: Path) -> str:
    """The URL of an ``nvoi dashboard`` that prints to ``output``, once it answers.

    Raises:
        NvoiError: it has ended, or does not answer in time.
    """

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


def check_deploy(watcher: Watcher, deploy_id: str, *, status: str, token: Secret) -> str:
    """See that the dashboard has all of a deploy.

    Returns:
        The reason of a failed one, in one line; else nothing.
    """
    (attempt, messages), page = watcher.get_deploy(deploy_id), watcher.build_page(deploy_id)
    if attempt["status"] != status:
        raise NvoiError(f"{page} shows {attempt['status']}, and {status} was expected")
    count = len(messages)
    if attempt["gaps"] or attempt["log_dropped"] or count != attempt["log_count"]:
        raise NvoiError(f"{page} has {count} of {attempt['log_count']} lines")
    text = "\n".join([*messages, attempt["error"] or ""])
    if token.reveal() in text or "API_TOKEN=[REDACTED]" not in text:
        raise NvoiError(f"{page} does not have the app's secret masked")
    if status == "failed" and not attempt["error"]:
        raise NvoiError(f"{page} gives no reason")
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


def get_json(url: str) -> Any:
    answer = ask(url)
    try:
        return json.loads(answer.data)
    except ValueError as error:
        raise NvoiError(f"{url} answered {answer.status}, and no JSON") from error
