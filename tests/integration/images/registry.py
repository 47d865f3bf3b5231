"""A registry for tests: the real one, on loopback, with a folder and a port of its own."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from nvoi.kubernetes.registry import COLLECT_GARBAGE, CONFIG_FILE, LIMIT
from tests.ports import find_port
from tests.waiting import PATIENCE, wait_until

PROGRAM = shutil.which("docker-registry") or "registry"
ACCESS = re.compile(r'"(?P<method>[A-Z]+) (?P<path>/v2/\S*) HTTP/1\.1" (?P<status>\d+)')


@dataclass(frozen=True)
class Asked:
    """One request that the registry was sent."""

    method: str
    path: str
    status: int


class Registry:
    """One registry, which listens once it was made, or once it is told whom to let in.

    Args:
        folder: an empty folder for all that it has.
        deletes: whether it lets images be deleted.
        starts: whether it listens at once.
    """

    def __init__(self, folder: Path, *, deletes: bool = True, starts: bool = True) -> None:
        self.port = find_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"http://{self.address}"
        self.storage = folder / "storage"
        self._log = folder / "log"
        self.config = folder / "config.yml"
        self._process: subprocess.Popen[bytes] | None = None
        self.storage.mkdir(parents=True)
        self._settings: dict[str, object] = {
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": deletes},
            },
            "http": {"addr": self.address},
        }
        self._users = folder / "htpasswd"
        if starts:
            self.start()

    def ask(self, users: str) -> None:
        """Let in nobody but ``users``, an htpasswd(5), from now on."""
        if self._users.exists() and self._users.read_text() == users:
            return
        self.stop()
        self._users.write_text(users)
        access = {"htpasswd": {"realm": "test", "path": str(self._users)}}
        self._settings["auth"] = access
        self.start()

    def start(self) -> None:
        """Listen, on the same port as ever."""
        self.config.write_text(json.dumps(self._settings))
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [PROGRAM, "serve", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        process = self._process
        wait_until(lambda: process.poll() is not None or self.is_up(), "the registry")
        assert process.poll() is None, self._log.read_text(errors="replace")

    def stop(self) -> None:
        """End it at once, with every connection to it."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None

    def is_up(self) -> bool:
        """Whether it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with suppress(OSError, http.client.HTTPException), closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        return False

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def asked(self) -> list[Asked]:
        """All that it has answered so far."""
        text = self._log.read_text(errors="replace")
        return [
            Asked(one["method"], one["path"], int(one["status"])) for one in ACCESS.finditer(text)
        ]

    @property
    def blobs(self) -> set[str]:
        """The digests, in hex, of all that is on its disk."""
        folder = self.storage / "docker/registry/v2/blobs"
        return {found.parent.name for found in folder.glob("*/*/*/data")}

    def collect(self) -> None:
        """Collect its garbage, with the words that are run in its container."""
        names = {"registry": PROGRAM, CONFIG_FILE: str(self.config)}
        subprocess.run(
            [names.get(word, word) for word in (*LIMIT, *COLLECT_GARBAGE)],
            check=True,
            timeout=PATIENCE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
