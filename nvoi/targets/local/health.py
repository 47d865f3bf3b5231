"""One look at a service: does it answer, and is it the new release that does?"""

from __future__ import annotations

import http.client
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from nvoi import process
from nvoi.config.schema import AppService, Healthcheck
from nvoi.targets.local.context import LocalContext
from nvoi.targets.local.processes import describe_process, is_marked, list_lineage, list_listeners
from nvoi.targets.local.programs import find_health_port
from nvoi.targets.local.state import StateFolder
from nvoi.targets.local.supervisor import Program
from nvoi.version import __version__
from nvoi.waiting import NotReadyError

ADDRESS = "127.0.0.1"

#: Seconds that a service must stay up: one without a port from its start, others on trial.
STAY_UP_SECONDS = 3.0

#: The answers that mean healthy; a redirect is one of them and is not followed.
HEALTHY = range(200, 400)

#: Bytes of a health page that are read, so that the server can finish its answer in peace.
PAGE_BYTES = 64 * 1024

#: What stands for itself in a path and its query (RFC 3986, sections 2.2 and 3.3).
PATH_MARKS = "/?%:@!$&'()*+,;=~"


@dataclass(frozen=True)
class Startup:
    """A service that is about to start, as a trial or on its own port.

    Attributes:
        context: the run.
        service: which.
        program: what supervisord calls it.
        environment: what it and its check's command are started with.
        port: where it is told to listen, None where it has no port.
        health_port: where it is told to answer its healthcheck, None where that asks ``port``.
        log_size: the size of its log before the start, in bytes.
        daemon_log_size: the same of supervisord's own log.
    """

    context: LocalContext
    service: AppService
    program: Program
    environment: Mapping[str, str]
    port: int | None
    health_port: int | None
    log_size: int
    daemon_log_size: int

    @property
    def state(self) -> StateFolder:
        return self.context.state

    @property
    def logfile(self) -> Path:
        return self.state.logs / self.program.logfile

    @property
    def check(self) -> Healthcheck | None:
        """How to see whether it is well; None where to stay up is all it must do."""
        if self.service.healthcheck is None and self.port is not None:
            return Healthcheck(type="tcp")
        return self.service.healthcheck

    @property
    def seconds(self) -> float:
        """How long it may take to become healthy: ``interval`` times ``retries``."""
        if self.check is None:
            return STAY_UP_SECONDS
        seconds = self.check.interval * self.check.retries
        return max(seconds, 0.0 if self.port else STAY_UP_SECONDS)

    @property
    def stay_seconds(self) -> float:
        """How long it must stay up once it is well.

        What ends right after its start is seen while the release before it serves.
        """
        return min(self.service.min_ready, STAY_UP_SECONDS) if self.program.trial else 0.0


class PortClosedError(NotReadyError):
    """Nothing listens on the port."""


class HeldError(NotReadyError):
    """A process of an earlier release listens on the port."""


def look(startup: Startup, pid: int) -> None:
    """Look once whether a service, whose process is ``pid``, is well: at its port, by its check.

    A NotReadyError says what was seen instead: a HeldError that an earlier release has the one
    port on which this one answers its healthcheck, though it is there on its own.
    """
    check = startup.check
    if check is None:
        return
    is_beside = check.type == "exec" or startup.health_port is not None
    if startup.port is not None:
        ask(startup, replace(check, type="tcp") if is_beside else check, pid, startup.port)
    if check.type == "exec":
        look_by_command(startup, check)
    elif startup.health_port is not None:
        ask_health_port(startup, check, pid, startup.health_port)


def ask(startup: Startup, check: Healthcheck, pid: int, port: int) -> None:
    """Ask on one port, unless somebody else listens there."""
    with connect(port, check.timeout) as connection:
        # To find out who listens is to look at every process: that anybody does is seen first.
        check_listeners(startup, pid, port)
        if check.type != "tcp":
            look_by_http(connection, port, check)


def ask_health_port(startup: Startup, check: Healthcheck, pid: int, port: int) -> None:
    """Ask on a port beside the service's own.

    An app that cannot be told another one for its trial may answer on its usual one, while the
    release that serves does not.
    """
    try:
        ask(startup, check, pid, port)
    except PortClosedError:
        usual = find_health_port(startup.service)
        if usual is None or usual == port:
            raise
        connect(usual, check.timeout).close()
        if not check_listeners(startup, pid, usual):
            raise build_holder_error(usual, "another program") from None
        ask(startup, check, pid, usual)


def check_listeners(startup: Startup, pid: int, port: int) -> bool:
    """See that it is the new release that listens on a port, where that can be known.

    What it has started is known by its process, or by the release's mark. Whether a process of
    it was seen there: none may be where another user's does it, as with containers.

    Raises:
        HeldError: a process of an earlier release listens there.
        NotReadyError: a stranger does, and none of this one.
    """
    listeners, state = list_listeners(port), startup.state
    marks = state.build_marks(startup.context.release)
    own = {other for other in listeners if is_marked(other, marks) or pid in list_lineage(other)}
    strange = [other for other in listeners if other not in own]
    wrong = [other for other in strange if not own or is_ours(other, state)]
    if wrong:
        error = build_holder_error(port, describe_process(wrong[0]))
        raise HeldError(str(error)) if is_ours(wrong[0], state) else error
    return bool(own)


def is_held(startup: Startup) -> bool:
    """Whether a process of an earlier release listens on the health port of the config."""
    usual, state = find_health_port(startup.service), startup.state
    marks = state.build_marks(startup.context.release)
    listeners = list_listeners(usual) if usual else []
    return any(is_ours(one, state) and not is_marked(one, marks) for one in listeners)


def build_holder_error(port: int, holder: str) -> NotReadyError:
    return NotReadyError(f"port {port} is held by {holder}, not by this release")


def is_ours(pid: int, state: StateFolder) -> bool:
    # A process that sets its own title may have overwritten what it was started with.
    return any(is_marked(one, state.build_marks()) for one in list_lineage(pid))


def connect(port: int, seconds: float) -> socket.socket:
    """A connection whose reads may take ``seconds`` each."""
    try:
        return socket.create_connection((ADDRESS, port), timeout=seconds)
    except OSError as error:
        raise build_connection_error(error, port) from error


def look_by_http(connection: socket.socket, port: int, check: Healthcheck) -> None:
    """Healthy where ``GET`` of the check's path answers 200 to 399. No proxy is asked."""
    deadline = time.monotonic() + check.timeout
    client = http.client.HTTPConnection(ADDRESS, port)
    client.sock = connection
    # The connection's own time-out is for each read: a slow answer needs an overall one.
    clock = threading.Timer(check.timeout, shut, [connection])
    clock.daemon = True
    clock.start()
    path, headers = quote(check.path, safe=PATH_MARKS), {"User-Agent": f"nvoi/{__version__}"}
    try:
        client.request("GET", path, headers=headers)
        response = client.getresponse()
        with response, suppress(OSError, http.client.HTTPException):
            response.read(PAGE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        is_late = time.monotonic() >= deadline
        raise build_connection_error(TimeoutError() if is_late else error, port) from error
    finally:
        clock.cancel()
    if response.status not in HEALTHY:
        raise NotReadyError(f"GET {check.path} answered {response.status}")


def shut(connection: socket.socket) -> None:
    """End a connection from another thread, whatever it waits for."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def build_connection_error(error: Exception, port: int) -> NotReadyError:
    if isinstance(error, ConnectionRefusedError):
        return PortClosedError(f"connection refused: nothing listens on port {port}")
    if isinstance(error, http.client.RemoteDisconnected):
        return NotReadyError(f"port {port} closed the connection without an answer")
    if isinstance(error, http.client.HTTPException):
        return NotReadyError(f"port {port} did not answer in HTTP")
    if isinstance(error, TimeoutError):
        return NotReadyError(f"port {port} gave no answer in time")
    return NotReadyError(f"port {port}: {getattr(error, 'strerror', None) or error}")


def look_by_command(startup: Startup, check: Healthcheck) -> None:
    """Healthy where the command exits with 0. Its process group ends with the look."""

    def wait(child: process.Process) -> int:
        status = process.join(child, check.timeout)
        process.kill_tree(child)
        return status

    try:
        status = process.work_with(
            ["/bin/sh", "-c", check.command or "false"],
            startup.environment,
            wait,
            folder=startup.state.releases / startup.context.release,
            output=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise NotReadyError("the check's command did not end in time") from None
    if status != 0:
        raise NotReadyError(f"the check's command exited with {status}")
