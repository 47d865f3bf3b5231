"""Asking supervisord: XML-RPC over its Unix socket.

The calls are those of its manual, "XML-RPC API Documentation".
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nvoi.errors import NvoiError
from nvoi.folders import check_way

#: Seconds an answer may take. Every call is answered at once: none of them waits.
ANSWER_SECONDS = 10.0
ALIVE = frozenset({"STARTING", "RUNNING"})
#: supervisord leaves a program in these alone. EXITED is one of them for a trial only: a
#: service that has exited is about to be started again, as is one in BACKOFF.
ENDED = frozenset({"STOPPED", "FATAL", "UNKNOWN"})
STOPPABLE = ALIVE | {"BACKOFF"}

# Fault codes, supervisor.xmlrpc.Faults.
SHUTTING_DOWN = 6
BAD_NAME = 10
SPAWN_ERROR = 50
ALREADY_STARTED = 60
NOT_RUNNING = 70
ALREADY_ADDED = 90


class GoneError(NvoiError):
    """supervisord is not there."""


class EndingError(GoneError):
    """supervisord is still there, but has been told to shut down."""


@dataclass(frozen=True)
class Info:
    """A program, and its process; ``pid`` is 0 where it does not run."""

    name: str
    state: str
    pid: int

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, as far as supervisord has seen."""
        return self.state in ALIVE and self.pid > 0


class UnixConnection(http.client.HTTPConnection):
    """HTTP over the Unix socket at ``path``."""

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        check_way(self._path.parent)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self.timeout)
            connection.connect(str(self._path))
            check_peer(connection, os.getuid())
        except BaseException:
            connection.close()
            raise
        self.sock = connection


def check_peer(connection: socket.socket, user: int) -> None:
    """Make sure that ``user`` is on the other side, where that is told: SO_PEERCRED, unix(7)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return
    size = struct.calcsize("3i")
    _, peer, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, size))
    if peer != user:
        raise NvoiError(
            f"the supervisord that answers is that of user {peer}, not of user {user}",
            hint="deploy as that user, or set NVOI_HOME",
        )


class Supervisor:
    """The supervisord behind the socket at ``path``; an answer may take ``seconds``."""

    def __init__(self, path: Path, seconds: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._seconds = seconds

    def call(self, name: str, *args: str | bool, ignore: tuple[int, ...] = ()) -> Any:
        """Call a method of supervisord's; None for a fault whose code is in ``ignore``."""
        # A connection of its own for every call, so that threads may call at once.
        connection = UnixConnection(self._path, self._seconds)
        body = xmlrpc.client.dumps(args, f"supervisor.{name}").encode()
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            answer, _ = xmlrpc.client.loads(connection.getresponse().read())
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in ignore:
                return None
            if fault.faultCode == SHUTTING_DOWN:
                raise EndingError("supervisord is ending", hint="deploy again") from None
            raise NvoiError(f"supervisord refuses {name}: {fault.faultString}") from None
        except TimeoutError:
            raise NvoiError(
                f"supervisord does not answer on {self._path}",
                hint="end it, then deploy again",
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise GoneError(
                f"supervisord is not to be reached on {self._path}: {error}",
                hint="deploy again: it is started anew",
            ) from error
        finally:
            connection.close()
        return answer[0]

    def get_pid(self) -> int:
        pid: int = self.call("getPID")
        return pid

    def list_infos(self) -> dict[str, Info]:
        return {raw["name"]: build_info(raw) for raw in self.call("getAllProcessInfo")}

    def get_info(self, program: str) -> Info:
        return build_info(self.call("getProcessInfo", program))

    def start(self, program: str) -> None:
        """Start a program; nothing where it runs. That it could not start is seen in its state."""
        self.call("startProcess", program, False, ignore=(ALREADY_STARTED, SPAWN_ERROR))

    def begin_stop(self, program: str) -> None:
        """Send SIGTERM to a program; nothing where it does not run."""
        self.call("stopProcess", program, False, ignore=(NOT_RUNNING, BAD_NAME))

    def reload(self) -> tuple[list[str], list[str], list[str]]:
        """Read the config again; the programs that are new in it, changed, and gone from it."""
        [[added, changed, removed]] = self.call("reloadConfig")
        return added, changed, removed

    def add(self, program: str) -> None:
        self.call("addProcessGroup", program, ignore=(ALREADY_ADDED,))

    def remove(self, program: str) -> None:
        """Forget a program that has ended."""
        self.call("removeProcessGroup", program, ignore=(BAD_NAME,))

    def shut_down(self) -> None:
        """Stop all programs, then end. Returns at once."""
        self.call("shutdown", ignore=(SHUTTING_DOWN,))


def build_info(raw: dict[str, Any]) -> Info:
    return Info(raw["name"], raw["statename"], raw["pid"])
