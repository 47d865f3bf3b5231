"""A real ``nvoi dashboard`` in a process of its own, and what speaks to it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import urllib3

from tests.fakes.client import Client
from tests.integration.commands import call_nvoi
from tests.integration.forkserver import ForkedProcess
from tests.integration.streams import KEY
from tests.waiting import PATIENCE, wait_for_end, wait_until

TIMEOUT = urllib3.Timeout(connect=5.0, read=20.0)

_URL = re.compile(r"^nvoi dashboard: (\S+)$", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """What was answered to one request."""

    status: int
    data: bytes
    headers: Message

    @property
    def text(self) -> str:
        return self.data.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def location(self) -> str:
        """Where it leads."""
        return self.headers["Location"] or ""


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterable[bytes] = b"",
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request, its path and headers as they are; a body in parts is chunked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    with contextlib.closing(connection):
        chunked = not isinstance(body, bytes)
        connection.request(method, path, body, dict(headers or {}), encode_chunked=chunked)
        response = connection.getresponse()
        return Answer(response.status, response.read(), response.headers)


class Sender(Client):
    def started(self, **keys: str) -> int:
        """Begin a run, another one each time."""
        self._run_id = str(uuid.uuid4())
        return super().started(**keys)


class Serving:
    """A dashboard on a loopback port, from ``with`` to its end.

    Args:
        folder: where its database, key file and output lie.
        options: further options of the command.
        environ: adds to its environment, which has the default project's key.
        port: where it listens; 0 lets the system choose, and a restart takes the same again.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        environ: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.folder = folder
        self.database = folder / "dashboard.sqlite3"
        self.options = options
        self.port = port
        self.url = ""
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "NVOI_HOME": str(folder / "home"),
            "DEPLOY_KEY": KEY,
            # A warning of Python's is a fault of ours.
            "PYTHONWARNINGS": "error",
            **(environ or {}),
        }
        self.process: ForkedProcess | None = None
        self._starts = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def callback_url(self) -> str:
        """The default project's."""
        return f"{self.url}/api/deploys"

    @property
    def output(self) -> str:
        """What the process that runs, or ran last, has printed."""
        return self._output_file.read_text("utf-8")

    @property
    def _output_file(self) -> Path:
        return self.folder / f"dashboard-{self._starts}.out"

    def start(self) -> None:
        """Start it, and wait until it says that it answers."""
        self._starts += 1
        words = ["dashboard", "--port", str(self.port), "--db", str(self.database), *self.options]
        with self._output_file.open("wb") as output:
            self.process = ForkedProcess(words, output, output, self.environ, self.folder)
        wait_until(lambda: self._find_url() or self._has_ended(), "the dashboard to start")
        self.url = self._find_url() or ""
        assert self.url, self.output
        self.port = urlsplit(self.url).port or 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return wait_for_end(self.process)

    def kill(self) -> None:
        """End it by SIGKILL, without a word."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """``nvoi dashboard --db … WORDS`` to its end."""
        whole = ("dashboard", "--db", str(self.database), *words)
        return call_nvoi(*whole, folder=self.folder, environ=self.environ | environ)

    def get(self, path: str, **headers: str) -> Answer:
        """``GET path``; a redirect is not followed."""
        return ask(self.port, "GET", path, headers=headers)

    def post(
        self,
        path: str,
        body: bytes | Iterable[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        *,
        method: str = "POST",
    ) -> Answer:
        return ask(self.port, method, path, body, headers)

    def get_json(self, path: str) -> Any:
        """The JSON at ``path``, which must be there."""
        response = self.get(path)
        assert response.status == 200, (path, response.status, response.data)
        return response.json

    def get_attempts(self, deploy_id: str = "run-1", project: str = "default") -> Any:
        """A deploy's attempts, the newest first; none where it is not known."""
        response = self.get(f"{build_path(deploy_id, project)}.json")
        return response.json["attempts"] if response.status == 200 else []

    def wait_for_deploy(self, deploy_id: str = "run-1", least: int = 0) -> None:
        """Wait until it is known and has so many lines."""

        def has_them() -> bool:
            attempts = self.get_attempts(deploy_id)
            return bool(attempts) and attempts[0]["lines"] >= least

        wait_until(has_them, f"{least} lines of {deploy_id}")

    def get_lines(self, deploy_id: str = "run-1", attempt: int | None = None) -> list[Any]:
        """All lines of an attempt in the order of their arrival."""
        lines: list[Any] = []
        which = "" if attempt is None else f"&attempt={attempt}"
        while True:
            after = lines[-1]["number"] if lines else 0
            path = f"{build_path(deploy_id)}/lines.json?limit=5000&after={after}{which}"
            page = self.get_json(path)
            lines += page["lines"]
            if not page["more"]:
                return lines

    def build_client(self, deploy_id: str = "run-1", *, key: str = KEY, url: str = "") -> Sender:
        """What sends single requests by hand."""
        return Sender(url or self.callback_url, key, deploy_id=deploy_id)

    def _find_url(self) -> str | None:
        match = _URL.search(self.output)
        return match[1] if match else None

    def _has_ended(self) -> bool:
        return self.process is None or self.process.poll() is not None


def build_path(deploy_id: str, project: str = "default") -> str:
    """The path of a deploy's JSON, without its ``.json``."""
    return f"/api/projects/{project}/deploys/{quote(deploy_id, safe='')}"


class Events:
    """An open stream of server-sent events, read as the HTML standard has it."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self.response = response
        self.last_id = ""
        #: The lines of every ``lines`` event so far, in the order of their coming.
        self.lines: list[Any] = []
        #: The data of every ``attempt`` event so far.
        self.attempts: list[Any] = []
        self._events = self._read()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Each event's name and data, from where the last reading stopped to the end."""
        return self._events

    def _read(self) -> Iterator[tuple[str, Any]]:
        rest = b""
        for chunk in self.response.stream(65536, decode_content=False):
            *blocks, rest = (rest + chunk).split(b"\n\n")
            for block in blocks:
                if event := self._parse(block.decode()):
                    yield event

    def read_until(self, is_enough: Callable[[Events], object]) -> None:
        """Read events until ``is_enough(self)``."""
        for _ in self:
            if is_enough(self):
                return
        raise AssertionError(f"the stream ended after {len(self.lines)} lines")

    def _parse(self, block: str) -> tuple[str, Any] | None:
        fields: dict[str, str] = {}
        for line in block.split("\n"):
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self.last_id = fields.get("id", self.last_id)
        if "data" not in fields:
            return None
        name, data = fields["event"], json.loads(fields["data"])
        if name == "lines":
            self.lines += data
        else:
            self.attempts.append(data)
        return name, data


@contextmanager
def open_events(
    serving: Serving, deploy_id: str = "run-1", query: str = "", **headers: str
) -> Iterator[Events]:
    """A stream of a deploy's events."""
    with urllib3.PoolManager() as pool:
        response = pool.request(
            "GET",
            f"{serving.url}{build_path(deploy_id)}/events{query}",
            headers=headers,
            preload_content=False,
            retries=False,
            timeout=TIMEOUT,
        )
        try:
            assert response.status == 200, (response.status, response.data)
            yield Events(response)
        finally:
            response.close()


def get_messages(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The messages alone."""
    return [str(line["message"]) for line in lines]
