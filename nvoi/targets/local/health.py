"""Is a service well? One look, by HTTP, by TCP or by a command."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from nvoi.config.schema import AppService, Healthcheck
from nvoi.targets.local.together import Cancel
from nvoi.version import __version__
from nvoi.waiting import NotReadyError

ADDRESS = "127.0.0.1"

#: The answers that mean healthy; a redirect is one of them and is not followed.
HEALTHY = range(200, 400)

#: Bytes of a health page that are read, so that the server can finish its answer in peace.
PAGE_BYTES = 64 * 1024

#: Seconds between two looks at whether a check's command has ended.
COMMAND_PAUSE = 0.01

#: What stands for itself in a path and its query (RFC 3986, sections 2.2 and 3.3).
PATH_MARKS = "/?%:@!$&'()*+,;=~"


@dataclass(frozen=True)
class Target:
    """What is looked at.

    Attributes:
        check: how; its ``port`` is never None for http and tcp.
        folder: where a command runs.
        environment: of a command.
    """

    check: Healthcheck
    folder: Path
    environment: Mapping[str, str]


def build_check(service: AppService, port: int | None) -> Healthcheck | None:
    """The check of a service that listens on ``port``; None where there is nothing to check.

    A check that names the service's own port follows it to the port of a trial; one that
    names another port stays there. Without a healthcheck, that the port accepts
    connections is enough.
    """
    check = service.healthcheck
    if check is None:
        return None if port is None else Healthcheck(type="tcp", port=port)
    if check.port in (None, service.port):
        return replace(check, port=port)
    return check


def look(target: Target, cancel: Cancel) -> None:
    """Look once, for no longer than the check's ``timeout``.

    Raises:
        NotReadyError: not healthy; says what was seen.
        CancelledError: by ``cancel``, while a command runs.
    """
    check = target.check
    if check.type == "exec":
        look_by_command(target, cancel)
    elif check.type == "tcp":
        look_by_tcp(check.port or 0, check.timeout)
    else:
        look_by_http(check.port or 0, check.path, check.timeout)


def look_by_tcp(port: int, seconds: float) -> None:
    """Healthy where the port accepts a connection."""
    try:
        socket.create_connection((ADDRESS, port), timeout=seconds).close()
    except OSError as error:
        raise NotReadyError(describe(error, port)) from error


def look_by_http(port: int, path: str, seconds: float) -> None:
    """Healthy where ``GET path`` answers 200 to 399. No proxy is asked."""
    deadline = time.monotonic() + seconds
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=seconds)
    try:
        connection.connect()
        # The connection's own time-out is for each read: a slow answer needs an overall one.
        clock = threading.Timer(seconds, shut, [connection.sock])
        clock.daemon = True
        clock.start()
        try:
            connection.request(
                "GET", quote(path, safe=PATH_MARKS), headers={"User-Agent": f"nvoi/{__version__}"}
            )
            response = connection.getresponse()
            with response, suppress(OSError, http.client.HTTPException):
                response.read(PAGE_BYTES)
        finally:
            clock.cancel()
    except (OSError, http.client.HTTPException) as error:
        is_late = time.monotonic() >= deadline
        raise NotReadyError(describe(TimeoutError() if is_late else error, port)) from error
    finally:
        connection.close()
    if response.status not in HEALTHY:
        raise NotReadyError(f"GET {path} answered {response.status}")


def shut(connection: socket.socket) -> None:
    """End a connection from another thread, whatever it waits for."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def describe(error: Exception, port: int) -> str:
    """What went wrong with a connection, in few words."""
    if isinstance(error, http.client.RemoteDisconnected):
        return f"port {port} closed the connection without an answer"
    if isinstance(error, http.client.HTTPException):
        return f"port {port} did not answer in HTTP"
    if isinstance(error, TimeoutError):
        return f"port {port} gave no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused: nothing listens on port {port}"
    return f"port {port}: {getattr(error, 'strerror', None) or error}"


def look_by_command(target: Target, cancel: Cancel) -> None:
    """Healthy where the command exits with 0. Its process group ends with the look."""
    process = subprocess.Popen(  # noqa: S603 - the user's own command, as configured
        ["/bin/sh", "-c", target.check.command or "false"],
        cwd=target.folder,
        env=dict(target.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + target.check.timeout
    try:
        while (status := process.poll()) is None:
            if time.monotonic() >= deadline:
                raise NotReadyError("the check's command did not end in time")
            cancel.sleep(COMMAND_PAUSE)
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if status != 0:
        raise NotReadyError(f"the check's command exited with {status}")
